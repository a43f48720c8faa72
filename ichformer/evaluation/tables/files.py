"""Tables of predictions as files: CSV, or Parquet where the extra ``parquet`` is there."""

import os
import pathlib
import re

import numpy as np
import pandas as pd
from jaxtyping import Float64

from ichformer import LABELS
from ichformer.cohorts.csv_text import line_of, read_numbers, read_text_table
from ichformer.cohorts.index import group_columns
from ichformer.errors import InputError, one_line
from ichformer.evaluation.tables.checks import check_columns, check_predictions
from ichformer.evaluation.tables.parquet import read_parquet
from ichformer.evaluation.tables.table import (
    ID_COLUMNS,
    NOT_SCORED,
    WEIGHT,
    predicted_column,
    score_column,
    table_columns,
    target_names,
)
from ichformer.files.csv_fields import csv_bytes
from ichformer.files.writing import write_bytes

_UNKNOWN = ["", "nan", "NaN", "NA"]
"""How NumPy, pandas and R write what is not known."""

_DECIMAL_COMMA = re.compile(r"^([+-]?\d*),(\d+(?:[eE][+-]?\d+)?)$")
"""A number as spreadsheets of many countries write it, in files that commas do not separate."""

_NOT_ZERO = re.compile(r"^[^eE]*[1-9]")


def read_predictions(path: str | os.PathLike[str], *, labels: tuple[str, ...] = LABELS) -> pd.DataFrame:
    """Read and check a file of predictions: CSV (``read_text_table``), or Parquet (extra ``parquet``) by its name.

    Columns of ``ID_COLUMNS`` other than ``patient`` may be missing and are then empty; ``weight``, ``not_scored`` and
    those named ``group_...`` are kept, further columns are left out. An empty field, ``NaN`` or ``NA`` is unknown,
    whatever the column: R writes ``NA`` for the empty ``slice`` of a scan's row. Blanks around a field do not belong to
    it. Where semicolons or tabs separate the fields, numbers may have a decimal comma. Only plain decimal numbers are
    numbers (``csv_fields.is_number``).

    Raises:
      InputError: the file cannot be read, or ``check_predictions`` objects.
    """
    needed = ["patient", *labels, *map(score_column, labels)]
    if pathlib.Path(path).suffix == ".parquet":
        table, decimal_comma = read_parquet(path, needed=needed, wanted={*ID_COLUMNS, WEIGHT, NOT_SCORED}), False
    else:
        read = read_text_table(pathlib.Path(path))
        table, decimal_comma = read.rows, read.separator != ","
    table = table.rename(columns=str.strip)
    check_columns(list(table), needed, where=path)
    table = table.apply(lambda column: column.str.strip())
    targets = target_names(table, labels)
    numeric = [*labels, *map(score_column, labels), *targets, *map(predicted_column, targets), WEIGHT]
    absent = [name for name in ID_COLUMNS if name not in table]
    numbers = {name: _numbers(table, name, path, decimal_comma=decimal_comma) for name in numeric if name in table}
    names = [name for name in (*ID_COLUMNS, NOT_SCORED, *group_columns(table)) if name in table]
    named = {name: table[name].mask(table[name].isin(_UNKNOWN), "") for name in names}
    table = table.assign(**dict.fromkeys(absent, ""), **named, **numbers)
    check_predictions(table, labels=labels, where=path)
    return table[table_columns(table, labels)].reset_index(drop=True)


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
            raise InputError(found, where=where, mend="give numbers, 0 or 1 for labels")

    refuse(np.isnan(values) & ~text.isin(_UNKNOWN).to_numpy(), "is no number")
    refuse(np.isinf(values), "is too large for a number")
    if name == WEIGHT:  # a row of weight 0 counts as no row at all
        refuse((values == 0) & text.str.contains(_NOT_ZERO).to_numpy(bool), "is too small for a number")
    return values


def write_predictions(
    table: pd.DataFrame, path: str | os.PathLike[str], *, labels: tuple[str, ...] = LABELS
) -> pathlib.Path:
    """Check ``table`` and write it as CSV, whole or not at all; reading it back gives the same bits."""
    path = pathlib.Path(path)
    write_bytes(predictions_csv(table, labels=labels), path)
    return path


def predictions_csv(table: pd.DataFrame, *, labels: tuple[str, ...] = LABELS) -> bytes:
    """What ``write_predictions`` writes: the checked table as CSV (``csv_fields.csv_bytes``)."""
    check_predictions(table, labels=labels)
    return csv_bytes({name: table[name].tolist() for name in table_columns(table, labels)})
