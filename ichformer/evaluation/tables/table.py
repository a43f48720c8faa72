"""The table of predictions, from which a model of any library is evaluated, and its rows as arrays.

It has one row for each slice, and one row for each scan, whose ``slice`` is empty. Where there are no scan rows, a
scan's label and score are the maximum over its slices. A column ``weight`` says how much a row counts. Columns named
``group_...`` (``group_sex``, ``group_age``) sort the scans into subgroups. A column ``not_scored`` says why a row has
no score: a scan in which no brain was found has a reason in place of scores, and is in no figure. A column
``pred_volume_ml`` holds predictions of the quantity in the column ``volume_ml``, a regression target.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64, Shaped

from ichformer import LABELS
from ichformer.cohorts.index import GROUP_PREFIX, group_columns
from ichformer.errors import InputError, one_line

ID_COLUMNS = ("patient", "study", "series", "slice", "site", "split")
"""Columns of text. ``slice`` is empty in rows that are about a whole scan; only ``patient`` may never be empty."""

WEIGHT = "weight"
"""A column of numbers from 0, such as one over the chance that the row was sampled. Without it all rows count the same.
Only ratios of weights matter: every figure stays the same where all weights are doubled."""

NOT_SCORED = "not_scored"
"""A column of text: why a row has no score for some or all labels, "" where it has every score."""

PREDICTED_PREFIX = "pred_"
"""The name of a column of predicted quantities begins with it, the name of the target follows."""

SCORE_PREFIX = "score_"
"""The name of a column of scores begins with it, the name of the label follows."""

ROW_ID = ["patient", "study", "series", "slice"]
"""The columns that identify a row."""

SCAN_ID = ROW_ID[:-1]
"""The columns that identify a scan."""

LevelName = Literal["slice", "scan"]


@dataclass(frozen=True, kw_only=True, eq=False)
class CheckedTable:
    """A table of predictions that was checked once (``checked.check_table``), so that nobody checks it again.

    Attributes:
      rows: one row a slice or scan, with the columns that ``table_columns`` names and no others.
      labels: the labels to evaluate, each with a column of labels and a column of scores.
    """

    rows: pd.DataFrame
    labels: tuple[str, ...]

    @property
    def targets(self) -> tuple[str, ...]:
        """The regression targets that the rows have predictions of."""
        return target_names(self.rows, self.labels)

    @property
    def patients(self) -> set[str]:
        """The patients that the rows belong to."""
        return set(self.rows["patient"])


def only_split(table: CheckedTable, *, where: object = "predictions") -> str:
    """The split that all rows of a table belong to, "" where it names none.

    Raises:
      InputError: there are several; one figure over them would mean nothing.
    """
    names = sorted(table.rows["split"].unique())
    if len(names) > 1:
        found = ", ".join(map(one_line, names))
        raise InputError(f"rows of the splits {found}", where=where, fix="choose the rows of one")
    return str(names[0])


@dataclass(frozen=True, kw_only=True, eq=False)
class Level:
    """The rows of one level as arrays. Rows without any score are left out.

    Attributes:
      name: "slice" or "scan".
      labels: [n, labels] 0 or 1, NaN where unknown and where there is no score.
      scores: [n, labels] probabilities, NaN where there is no score.
      patients: [n] from 0 to the number of patients - 1: rows of one patient are not independent.
      sites: [n] of each row, "" where unknown.
      weights: [n] above 0, the largest from 1 to 2; 1 where the table has none.
      groups: [n] of each row, by the column's name without its prefix, "" where unknown.
      derived: whether the scans were made as the maximum over slices.
    """

    name: LevelName
    labels: Float64[np.ndarray, "n labels"]
    scores: Float64[np.ndarray, "n labels"]
    patients: Int64[np.ndarray, " n"]
    sites: Shaped[np.ndarray, " n"]
    weights: Float64[np.ndarray, " n"]
    groups: Mapping[str, Shaped[np.ndarray, " n"]]
    derived: bool

    @property
    def weighted(self) -> bool:
        """Whether rows have different weights."""
        return bool((self.weights != self.weights[0]).any())


def score_column(label: str) -> str:
    """Name of the column with the scores of ``label``."""
    return f"{SCORE_PREFIX}{label}"


def score_columns(labels: tuple[str, ...] = LABELS) -> list[str]:
    """Names of the columns with scores, in the order of ``labels``."""
    return [score_column(label) for label in labels]


def needed_columns(labels: tuple[str, ...]) -> list[str]:
    """The columns without which a table cannot be evaluated."""
    return ["patient", *labels, *score_columns(labels)]


def predicted_column(target: str) -> str:
    """Name of the column with the predicted values of a regression target."""
    return f"{PREDICTED_PREFIX}{target}"


def target_names(table: pd.DataFrame, labels: tuple[str, ...] = LABELS) -> tuple[str, ...]:
    """The regression targets of a table: columns of true values that have one of predicted values beside them."""
    return tuple(name for name in map(str, table) if predicted_column(name) in table and name not in labels)


def output_columns(table: pd.DataFrame, labels: tuple[str, ...] = LABELS) -> list[str]:
    """Names of the columns with what a model gave: scores of labels, then predictions of targets."""
    return [*score_columns(labels), *map(predicted_column, target_names(table, labels))]


def columns(labels: tuple[str, ...] = LABELS) -> list[str]:
    """The columns of a table of predictions, in order."""
    return [*ID_COLUMNS, *labels, *score_columns(labels)]


def table_columns(table: pd.DataFrame, labels: tuple[str, ...] = LABELS) -> list[str]:
    """The columns of a table that an evaluation uses, in order."""
    optional = [name for name in (WEIGHT, NOT_SCORED) if name in table]
    targets = target_names(table, labels)
    return [*columns(labels), *targets, *map(predicted_column, targets), *optional, *group_columns(table)]


def reasons_of(table: pd.DataFrame) -> Shaped[np.ndarray, " n"]:
    """Why scores of each row are missing; "" where none is."""
    return table[NOT_SCORED].to_numpy(object) if NOT_SCORED in table else np.full(len(table), "", object)


def levels(table: CheckedTable) -> tuple[Level, ...]:
    """The slice level and the scan level of a table, each where it has a row with a score.

    Where the labels of one of them are known, the other is left out if not one of its labels is.
    """
    rows_of, derived = rows_of_levels(table)
    scored = _scored(rows_of, table.labels)
    unlabelled = _without_labels(scored, table.labels)
    return tuple(
        _level(name, rows, table.labels, derived=derived and name == "scan")
        for name, rows in scored.items()
        if name not in unlabelled
    )


def levels_without_labels(table: CheckedTable) -> tuple[LevelName, ...]:
    """The levels with scores and without one known label, in a table that knows labels beside scores of the other."""
    return _without_labels(_scored(rows_of_levels(table)[0], table.labels), table.labels)


def _scored(rows_of: dict[LevelName, pd.DataFrame], labels: tuple[str, ...]) -> dict[LevelName, pd.DataFrame]:
    """The rows with a score, of each level that has some."""
    scored = {name: rows[rows[score_columns(labels)].notna().any(axis=1)] for name, rows in rows_of.items()}
    return {name: rows for name, rows in scored.items() if len(rows)}


def _without_labels(scored: dict[LevelName, pd.DataFrame], labels: tuple[str, ...]) -> tuple[LevelName, ...]:
    without = tuple(name for name, rows in scored.items() if rows[list(labels)].isna().all(axis=None))
    return without if len(without) < len(scored) else ()


def rows_of_levels(table: CheckedTable) -> tuple[dict[LevelName, pd.DataFrame], bool]:
    """The rows of each level, and whether the scans were made as the maximum over slices."""
    is_scan = table.rows["slice"] == ""
    slices, scans = table.rows[~is_scan], table.rows[is_scan]
    derived = scans.empty
    found: dict[LevelName, pd.DataFrame] = {} if slices.empty else {"slice": slices}
    found["scan"] = _maximum(slices, table.labels) if derived else scans
    # A row of no weight is no row: neither it nor its patient is counted.
    return {name: rows[rows[WEIGHT] > 0] if WEIGHT in rows else rows for name, rows in found.items()}, derived


def _maximum(slices: pd.DataFrame, labels: tuple[str, ...]) -> pd.DataFrame:
    # A bleed in one slice is a bleed in the scan; "none" is known only where every slice is known.
    numeric = [*labels, *score_columns(labels)]
    scan = slices.groupby(SCAN_ID, sort=False)
    most = scan[["site", *[WEIGHT] * (WEIGHT in slices), *group_columns(slices)]].first().join(scan[numeric].max())
    unknown = slices[numeric].isna().groupby([slices[name] for name in SCAN_ID], sort=False).any()
    for label in labels:
        most[label] = most[label].mask(unknown[label] & (most[label] != 1))
        # A slice without a score may be the one that bleeds.
        most[score_column(label)] = most[score_column(label)].mask(unknown[score_column(label)])
    if NOT_SCORED in slices:
        most[NOT_SCORED] = scan[NOT_SCORED].max()  # texts: the last one in the alphabet, "" only where all are
    return most.reset_index()


def _level(name: LevelName, rows: pd.DataFrame, labels: tuple[str, ...], *, derived: bool) -> Level:
    scores = rows[score_columns(labels)].to_numpy(np.float64)
    return Level(
        name=name,
        labels=np.where(np.isnan(scores), np.nan, rows[list(labels)].to_numpy(np.float64)),
        scores=scores,
        patients=pd.factorize(rows["patient"], sort=True)[0].astype(np.int64),
        sites=rows["site"].to_numpy(object),
        weights=scaled_weights(rows[WEIGHT].to_numpy(np.float64)) if WEIGHT in rows else np.ones(len(rows)),
        groups={name.removeprefix(GROUP_PREFIX): rows[name].to_numpy(object) for name in group_columns(rows)},
        derived=derived,
    )


def scaled_weights(weights: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """Weights divided by a power of two, the largest from 1 to 2: sums and squares of them are numbers.

    Nothing is rounded, so that figures are the same for weights and for twice the weights, to the bit.
    """
    return np.ldexp(weights, 1 - np.frexp(weights.max())[1])
