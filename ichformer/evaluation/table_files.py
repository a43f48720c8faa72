"""Tables of predictions as files: CSV, or Parquet where the extra ``parquet`` is there."""

import os
import pathlib
import re

import numpy as np
import pandas as pd
from jaxtyping import Float64

from ichformer import LABELS
from ichformer.cohorts.csv_text import line_of, read_text_table
from ichformer.cohorts.index import group_columns
from ichformer.errors import InputError, one_line
from ichformer.evaluation.table import (
    ID_COLUMNS,
    NOT_SCORED,
    WEIGHT,
    check_columns,
    check_predictions,
    score_column,
    table_columns,
)

_UNKNOWN = ["", "nan", "NaN", "NA"]
"""How NumPy, pandas and R write what is not known."""

_DECIMAL_COMMA = re.compile(r"^([+-]?\d*),(\d+(?:[eE][+-]?\d+)?)$")
"""A number as spreadsheets of many countries write it, in files that commas do not separate."""


def read_predictions(path: str | os.PathLike[str], *, labels: tuple[str, ...] = LABELS) -> pd.DataFrame:
    """Read and check a file of predictions: CSV (``read_text_table``), or Parquet (extra ``parquet``) by its name.

    Columns of ``ID_COLUMNS`` other than ``patient`` may be missing and are then empty; ``weight``, ``not_scored`` and
    those named ``group_...`` are kept, further columns are left out. An empty field, ``NaN`` or ``NA`` is unknown,
    whatever the column: R writes ``NA`` for the empty ``slice`` of a scan's row. Blanks around a field do not belong to
    it. Where semicolons or tabs separate the fields, numbers may have a decimal comma.

    Raises:
      InputError: the file cannot be read, or ``check_predictions`` objects.
    """
    if pathlib.Path(path).suffix == ".parquet":
        table, decimal_comma = _read_parquet(path).rename(columns=str.strip), False
    else:
        read = read_text_table(pathlib.Path(path))
        table, decimal_comma = read.rows, read.separator != ","
    if table.columns.has_duplicates:
        twice = one_line(table.columns[table.columns.duplicated()][0])
        raise InputError(f"names a column twice: {twice!r}", where=path, mend="give every column its own name")
    table = table.apply(lambda column: column.str.strip())
    check_columns(table, ["patient", *labels, *map(score_column, labels)], where=path)
    numeric = [*labels, *map(score_column, labels), WEIGHT]
    absent = [name for name in ID_COLUMNS if name not in table]
    numbers = {name: _numbers(table, name, path, decimal_comma=decimal_comma) for name in numeric if name in table}
    names = [name for name in (*ID_COLUMNS, NOT_SCORED, *group_columns(table)) if name in table]
    named = {name: table[name].mask(table[name].isin(_UNKNOWN), "") for name in names}
    table = table.assign(**dict.fromkeys(absent, ""), **named, **numbers)
    check_predictions(table, labels=labels, where=path)
    return table[table_columns(table, labels)].reset_index(drop=True)


def _read_parquet(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Every value as text, so that what follows is the same for both kinds of file."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise InputError(
            "pyarrow, which reads Parquet, is missing", where=path, mend="pip install 'ichformer[parquet]', or give CSV"
        ) from None
    try:
        file = pyarrow.parquet.read_table(path)
        found = {name: file[name].to_pylist() for name in file.column_names}
    except (OSError, ValueError, KeyError, pyarrow.ArrowException) as error:
        raise InputError(
            f"cannot be read as Parquet ({error})", where=path, mend="give a Parquet or a CSV file"
        ) from error
    return pd.DataFrame({name: ["" if v is None else _text(v) for v in column] for name, column in found.items()})


def _text(value: object) -> str:
    # True is no number to NumPy's parser; str gives back every bit of a float.
    return str(int(value)) if isinstance(value, bool) else str(value)


def _numbers(table: pd.DataFrame, name: str, path: object, *, decimal_comma: bool) -> Float64[np.ndarray, " n"]:
    # NumPy parses to the nearest double, which pandas' own fast parser does not.
    text = table[name].mask(table[name].isin(_UNKNOWN), "nan")
    if decimal_comma:
        text = text.str.replace(_DECIMAL_COMMA, r"\1.\2", regex=True)
    values = text.to_numpy(object)
    try:
        return values.astype(np.float64)
    except ValueError:
        row = next(row for row, value in enumerate(values) if not _is_number(value))
        found = f"{one_line(table[name].iloc[row], max_chars=40)!r} is no number"
        where = f"{path}{line_of(table, row)}, column {name}"
        raise InputError(found, where=where, mend="give numbers, 0 or 1 for labels") from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def write_predictions(
    table: pd.DataFrame, path: str | os.PathLike[str], *, labels: tuple[str, ...] = LABELS
) -> pathlib.Path:
    """Check ``table`` and write it as CSV, whole or not at all; reading it back gives the same bits."""
    check_predictions(table, labels=labels)
    path = pathlib.Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        table[table_columns(table, labels)].to_csv(temporary, index=False)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
