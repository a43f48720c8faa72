"""Tables of predictions as files: CSV, or Parquet where the extra ``parquet`` is there."""

import os
import pathlib
import re
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import pandas as pd
from jaxtyping import Float64

from ichformer.cohorts.csv_text import line_of, read_numbers, read_text_table
from ichformer.cohorts.folder.fields import as_digits
from ichformer.cohorts.index import group_columns
from ichformer.errors import InputError, one_line
from ichformer.evaluation.tables.checked import check_table, choose_split, scored_labels
from ichformer.evaluation.tables.checks import check_columns
from ichformer.evaluation.tables.parquet import read_parquet
from ichformer.evaluation.tables.table import (
    ID_COLUMNS,
    NOT_SCORED,
    WEIGHT,
    CheckedTable,
    needed_columns,
    predicted_column,
    score_column,
    target_names,
)
from ichformer.files.csv_fields import csv_bytes
from ichformer.files.folders import folder_kind
from ichformer.settings import as_names, fit

Source: TypeAlias = pd.DataFrame | CheckedTable | str | os.PathLike[str]
"""A table of predictions as people give it: a DataFrame, or the path of a CSV or Parquet file."""

_UNKNOWN = ["", "nan", "NaN", "NA"]
"""How NumPy, pandas and R write a missing value."""

_DECIMAL_COMMA = re.compile(r"^([+-]?\d*),(\d+(?:[eE][+-]?\d+)?)$")
"""A number as spreadsheets of many countries write it, in files that commas do not separate."""

_NOT_ZERO = re.compile(r"^[^eE]*[1-9]")


def open_table(
    source: Source,
    *,
    labels: str | Sequence[str] | None = None,
    split: str | None = None,
    where: object = "predictions",
) -> CheckedTable:
    """Check a table of predictions that is a DataFrame or a file, and choose the rows of a split.

    Args:
      source: a DataFrame (``check_table``), a table that was checked before, or a file (``read_predictions``).
      labels: the label or labels to evaluate; all that have scores where None.
      split: the split to evaluate; all rows where None.
      where: what to call a DataFrame in an error; a file is called by its path.

    Raises:
      InputError: the table cannot be read, is faulty, or has no row of the split.
    """
    if labels is not None:
        labels = as_names(labels, where="labels")
    split = fit(str | None, split, where="split")
    if isinstance(source, str | os.PathLike):
        if kind := folder_kind(pathlib.Path(source)):
            fix = (
                "name a table of predictions" if kind == "store" else "call ichformer.open_run(folder).evaluate(store)"
            )
            raise InputError(f"is the folder of one {kind}, not a table of predictions", where=source, fix=fix)
        return choose_split(read_predictions(source, labels=labels), split, where=source)
    return choose_split(check_table(source, labels=labels, where=where), split, where=where)


def read_predictions(path: str | os.PathLike[str], *, labels: tuple[str, ...] | None = None) -> CheckedTable:
    """Read and check a file of predictions: CSV (``read_text_table``), or Parquet (extra ``parquet``) by its name.

    Columns of ``ID_COLUMNS`` other than ``patient`` may be missing and are then empty; ``weight``, ``not_scored`` and
    those named ``group_...`` are kept, further columns are left out. An empty field, ``NaN`` or ``NA`` is unknown,
    whatever the column: R writes ``NA`` for the empty ``slice`` of a scan's row. Blanks around a field do not belong to
    it. Where semicolons or tabs separate the fields, numbers may have a decimal comma. Only plain decimal numbers are
    numbers (``csv_fields.is_number``).

    Args:
      path: the file.
      labels: the labels to evaluate; all that have a column of scores where None.

    Raises:
      InputError: the file cannot be read, or ``check_table`` objects.
    """
    if pathlib.Path(path).suffix == ".parquet":
        wanted = {*ID_COLUMNS, WEIGHT, NOT_SCORED}
        table, decimal_comma = read_parquet(path, labels=labels, wanted=wanted), False
    else:
        read = read_text_table(pathlib.Path(path))
        table, decimal_comma = read.rows, read.separator != ","
    table = table.rename(columns=str.strip)
    labels = scored_labels(list(table), where=path) if labels is None else labels
    check_columns(list(table), needed_columns(labels), where=path)
    targets = target_names(table, labels)
    numeric = [*labels, *map(score_column, labels), *targets, *map(predicted_column, targets), WEIGHT]
    numeric = [name for name in numeric if name in table]
    names = [name for name in (*ID_COLUMNS, NOT_SCORED, *group_columns(table)) if name in table]
    table = table[list(dict.fromkeys([*names, *numeric]))].apply(lambda column: column.str.strip())
    table = table.assign(**{name: as_digits(table[name]) for name in labels})
    numbers = {name: _numbers(table, name, path, decimal_comma=decimal_comma) for name in numeric}
    named = {name: table[name].mask(table[name].isin(_UNKNOWN), "") for name in names}
    return check_table(pd.DataFrame({**named, **numbers}, index=table.index), labels=labels, where=path)


def _numbers(table: pd.DataFrame, name: str, path: object, *, decimal_comma: bool) -> Float64[np.ndarray, " n"]:
    text = table[name]
    if decimal_comma:
        text = text.str.replace(_DECIMAL_COMMA, r"\1.\2", regex=True)
    values = read_numbers(text)

    def refuse(wrong: np.ndarray, what: str) -> None:
        if wrong.any():
            row = int(wrong.argmax())
            found = f"{one_line(table[name].iloc[row], max_chars=40)!r} {what}"
            where = f"{path}{line_of(table, row)}, column {one_line(name)}"
            raise InputError(found, where=where, fix="give numbers, and 0, 1, yes, no, true or false for labels")

    refuse(np.isnan(values) & ~text.isin(_UNKNOWN).to_numpy(), "is no number")
    refuse(np.isinf(values), "is too large for a number")
    if name == WEIGHT:  # a row of weight 0 counts as no row at all
        refuse((values == 0) & text.str.contains(_NOT_ZERO).to_numpy(bool), "is too small for a number")
    return values


def predictions_csv(table: CheckedTable) -> bytes:
    """A table as CSV, with plain fields only (``csv_fields.csv_bytes``)."""
    return csv_bytes({str(name): table.rows[name].tolist() for name in table.rows})
