"""Tables of several models for the same rows, put in the same order and reduced to the rows that all models scored."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float64

from ichformer.errors import InputError, one_line
from ichformer.evaluation.tables.not_scored import check_scored
from ichformer.evaluation.tables.table import (
    NOT_SCORED,
    ROW_ID,
    WEIGHT,
    CheckedTable,
    only_split,
    reasons_of,
    score_columns,
)


def paired(tables: Mapping[str, CheckedTable]) -> dict[str, CheckedTable]:
    """Put the rows of all tables in the same order, and remove the scores of rows that some model has no score for.

    The reasons of all models that lack a score are joined.

    Args:
      tables: predictions by the name of the model.

    Raises:
      InputError: a table has other labels, other rows, other weights or another truth than the first one, or holds
        several splits; or there is no row that all models scored.
    """
    ordered = _in_order(tables)
    names = score_columns(next(iter(ordered.values())).labels)
    lacks = np.any([table.rows[names].isna().to_numpy() for table in ordered.values()], axis=0)
    of_models = zip(*(reasons_of(table.rows) for table in ordered.values()), strict=True)
    reasons = [" / ".join(dict.fromkeys(filter(None, of_row))) for of_row in of_models]
    found = {
        name: CheckedTable(
            rows=table.rows.assign(**{NOT_SCORED: reasons}, **table.rows[names].mask(lacks).to_dict("series")),
            labels=table.labels,
        )
        for name, table in ordered.items()
    }
    for name, table in found.items():
        check_scored(table, where=name)
    return found


def _in_order(tables: Mapping[str, CheckedTable]) -> dict[str, CheckedTable]:
    """The tables with their rows sorted, if all have the same."""
    ordered = {
        name: CheckedTable(rows=table.rows.sort_values(ROW_ID, ignore_index=True), labels=table.labels)
        for name, table in tables.items()
    }
    first_name, first = next(iter(ordered.items()))
    for name, table in ordered.items():
        only_split(table, where=name)
        _check_same(first, table, f"those in {one_line(first_name)}", where=name)
    return ordered


def _check_same(first: CheckedTable, table: CheckedTable, those: str, *, where: str) -> None:
    if table.labels != first.labels:
        raise InputError(
            f"has scores for {_listed(table)}, and {those} are for {_listed(first)}",
            where=where,
            fix="name the labels to compare, which every table must have",
        )
    if len(table.rows) != len(first.rows) or (table.rows[ROW_ID].to_numpy() != first.rows[ROW_ID].to_numpy()).any():
        there, here = (set(map(tuple, one.rows[ROW_ID].to_numpy().tolist())) for one in (first, table))
        raise InputError(
            f"its rows are not {those}: {len(there - here)} rows are only there, {len(here - there)} only here",
            where=where,
            fix="give both models' scores for the same patient, study, series and slice",
        )
    if (_weights(table) != _weights(first)).any():
        raise InputError(
            f"weights differ from {those}", where=where, fix="give the rows of both tables the same weights"
        )
    theirs, ours = (one.rows[list(first.labels)].to_numpy(np.float64) for one in (first, table))
    differing = ~((ours == theirs) | (np.isnan(ours) & np.isnan(theirs))).all(axis=1)
    if differing.any():
        raise InputError(
            f"labels of {differing.sum()} rows differ from {those}",
            where=where,
            fix="give both tables the same labels",
        )


def _weights(table: CheckedTable) -> Float64[np.ndarray, " n"]:
    return table.rows[WEIGHT].to_numpy(np.float64) if WEIGHT in table.rows else np.ones(len(table.rows))


def _listed(table: CheckedTable) -> str:
    return ", ".join(map(one_line, table.labels))
