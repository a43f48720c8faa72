"""Tables of predictions as files: CSV, or Parquet where the extra ``parquet`` is there."""

import csv
import os
import pathlib

import numpy as np
import pandas as pd
from jaxtyping import Float64

from ichformer import LABELS
from ichformer.errors import InputError, one_line
from ichformer.evaluation.table import (
    ID_COLUMNS,
    NOT_SCORED,
    WEIGHT,
    check_columns,
    check_predictions,
    group_columns,
    score_column,
    table_columns,
)

_UNKNOWN = ["", "nan", "NaN", "NA"]
"""How NumPy, pandas and R write what is not known."""


def read_predictions(path: str | os.PathLike[str], *, labels: tuple[str, ...] = LABELS) -> pd.DataFrame:
    """Read and check a file of predictions: CSV, or Parquet (extra ``parquet``) where its name ends so.

    Columns of ``ID_COLUMNS`` other than ``patient`` may be missing and are then empty; ``weight``, ``not_scored`` and
    those named ``group_...`` are kept, further columns are left out. An empty field, ``NaN`` or ``NA`` is unknown,
    whatever the column: R writes ``NA`` for the empty ``slice`` of a scan's row. Blanks around a field do not belong to
    it.

    Raises:
      InputError: the file cannot be read, or ``check_predictions`` objects.
    """
    table = _read_parquet(path) if pathlib.Path(path).suffix == ".parquet" else _read_text(path)
    table = table.rename(columns=str.strip)
    if table.columns.has_duplicates:
        raise InputError("names a column twice", where=path, mend="give every column its own name")
    table = table.apply(lambda column: column.str.strip())
    check_columns(table, ["patient", *labels, *map(score_column, labels)], where=path)
    numeric = [*labels, *map(score_column, labels), WEIGHT]
    absent = [name for name in ID_COLUMNS if name not in table]
    numbers = {name: _numbers(table[name], f"{path}, column {name}") for name in numeric if name in table}
    names = [name for name in (*ID_COLUMNS, NOT_SCORED, *group_columns(table)) if name in table]
    named = {name: table[name].mask(table[name].isin(_UNKNOWN), "") for name in names}
    table = table.assign(**dict.fromkeys(absent, ""), **named, **numbers)
    check_predictions(table, labels=labels, where=path)
    return table[table_columns(table, labels)]


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


def _read_text(path: str | os.PathLike[str]) -> pd.DataFrame:
    # pandas shifts rows that are too long and fills those that are too short, in silence.
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot be read as CSV ({reason})", where=path, mend="give a CSV file in UTF-8") from error
    header, *rows = rows or [[]]
    for number, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise InputError(
                f"{len(row)} fields under {len(header)} names",
                where=f"{path}, row {number}",
                mend="give every row all its fields",
            )
    return pd.DataFrame(rows, columns=header)


def _numbers(text: pd.Series, where: str) -> Float64[np.ndarray, " n"]:
    # NumPy parses to the nearest double, which pandas' own fast parser does not.
    values = text.mask(text.isin(_UNKNOWN), "nan").to_numpy(object)
    try:
        return values.astype(np.float64)
    except ValueError:
        value = next(value for value in values if not _is_number(value))
        found = f"{one_line(value, max_chars=40)!r} is no number"
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
