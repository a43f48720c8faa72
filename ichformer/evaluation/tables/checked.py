"""From a DataFrame to a ``CheckedTable``: missing columns are filled in, and everything is checked once."""

from typing import Any

import numpy as np
import pandas as pd

from ichformer import LABELS
from ichformer.cohorts.folder.fields import as_digits
from ichformer.cohorts.index import group_columns
from ichformer.errors import InputError, one_line
from ichformer.evaluation.tables.checks import check_columns, check_labels, check_predictions, check_weights
from ichformer.evaluation.tables.table import (
    ID_COLUMNS,
    NOT_SCORED,
    PREDICTED_PREFIX,
    SCORE_PREFIX,
    WEIGHT,
    CheckedTable,
    needed_columns,
    predicted_column,
    score_column,
    table_columns,
    target_names,
)
from ichformer.settings import described

MAX_WHOLE = 2**53
"""The largest whole number that a float column can hold without losing a digit."""


def check_table(
    table: pd.DataFrame | CheckedTable, *, labels: tuple[str, ...] | None = None, where: object = "predictions"
) -> CheckedTable:
    """Fill in the missing optional columns of a table of predictions, and check it.

    A table needs the column ``patient`` and, for each label, a column with its name and one called ``score_`` and its
    name. Missing columns of ``ID_COLUMNS`` become empty. Whole numbers in them become text, and missing values become
    "", as they do in the columns ``not_scored`` and ``group_...``. All other columns are left out.

    Args:
      table: one row for each slice or scan. A table that was checked for the same labels is returned as it is.
      labels: the labels to evaluate; all that have a column of scores where None.
      where: what to call the table in an error.

    Raises:
      InputError: it is no DataFrame, it has no column of scores, or ``checks.check_predictions`` objects.
    """
    if isinstance(table, CheckedTable):
        if labels is None or labels == table.labels:
            return table
        table = table.rows
    if not isinstance(table, pd.DataFrame):
        raise InputError(
            f"is {described(table)}",
            where=where,
            fix="give a pandas DataFrame, or the path of a CSV or Parquet file",
        )
    if labels is None:
        labels = scored_labels([str(name) for name in table.columns], where=where)
    targets = target_names(table, labels)
    check_labels(labels, targets)
    check_columns([str(name) for name in table], needed_columns(labels), where=where)
    texts = {name: _id_text(table[name]) if name in table else np.full(len(table), "", object) for name in ID_COLUMNS}
    texts |= {name: _text(table[name]).array for name in (NOT_SCORED, *group_columns(table)) if name in table}
    numeric = [*labels, *map(score_column, labels), *targets, *map(predicted_column, targets), WEIGHT]
    numbers = {
        name: _numbers(_of_words(table[name]) if name in labels else table[name]) for name in numeric if name in table
    }
    rows = pd.DataFrame({**texts, **numbers}, index=table.index)
    rows = rows[table_columns(rows, labels)]
    check_predictions(rows, labels=labels, where=where)
    return CheckedTable(rows=rows.reset_index(drop=True), labels=labels)


def scored_labels(names: list[str], *, where: object) -> tuple[str, ...]:
    """The labels that a table has a column of scores for: those of ``LABELS`` in their order, then the others.

    Raises:
      InputError: there is none, and no column of predicted quantities either.
    """
    there = ", ".join(map(one_line, names[:50])) or "none"
    found = [name.removeprefix(SCORE_PREFIX) for name in names if name.startswith(SCORE_PREFIX)]
    if not found and not any(name.startswith(PREDICTED_PREFIX) for name in names):
        raise InputError(
            "has no column of scores",
            where=where,
            fix=f"call the scores of a label X {SCORE_PREFIX}X; found {there}",
        )
    known = [label for label in LABELS if label in found]
    return (*known, *[label for label in found if label not in known])


def choose_split(table: CheckedTable, split: str | None, *, where: object = "predictions") -> CheckedTable:
    """The rows of a split; all rows where None is named. No patient is in two splits, so the rows need no other check.

    Raises:
      InputError: the split has no row, or no row with a weight above 0.
    """
    if split is None:
        return table
    rows = table.rows[table.rows["split"] == split]
    if rows.empty:
        found = ", ".join(sorted(map(one_line, set(table.rows["split"]))))
        raise InputError(f"no row of the split {one_line(split)!r}", where=where, fix=f"it has: {found or '(unnamed)'}")
    if WEIGHT in rows:
        check_weights(rows, where=where)
    return CheckedTable(rows=rows.reset_index(drop=True), labels=table.labels)


def _id_text(column: pd.Series) -> Any:
    """Ids as text: pandas makes floats of the numbers of slices where the rows of scans have none."""
    column = _text(column)
    if pd.api.types.is_bool_dtype(column) or not pd.api.types.is_numeric_dtype(column):
        return column.array
    values = column.to_numpy(np.float64, na_value=np.nan)
    missing = np.isnan(values)
    if ((values != np.round(values)) | (np.abs(values) > MAX_WHOLE))[~missing].any():
        return column.array  # these are no ids, and the check says so
    return np.array(["" if lacks else str(int(v)) for v, lacks in zip(values, missing, strict=True)], object)


def _text(column: pd.Series) -> pd.Series:
    """The column with "" for missing values, where it holds texts or nothing at all."""
    missing = column.isna()
    is_number = pd.api.types.is_numeric_dtype(column) and not missing.all()
    return column if is_number or not missing.any() else column.astype(object).mask(missing, "")


def _of_words(label: pd.Series) -> pd.Series:
    """A column of a label with numbers for yes and no, where its texts say nothing else."""
    if pd.api.types.is_numeric_dtype(label):
        return label
    digits = as_digits(_text(label))
    values = {"0": 0.0, "1": 1.0, "": np.nan}
    return digits.map(values).astype(np.float64) if set(digits) <= set(values) else label


def _numbers(column: pd.Series) -> Any:
    """The column as floats, with NaN for missing values; what is no number stays as it is, and the check says so."""
    if not pd.api.types.is_numeric_dtype(column):
        return column.array
    return column.to_numpy(np.float64, na_value=np.nan)
