"""The Study index: one table over all cohorts, one row per series."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from ichformer import LABELS
from ichformer.cohorts.tables import fill_any, parse_labels, read_table, write_table
from ichformer.errors import InputError, one_line

SPLITS = ("train", "val", "test")
PATH_COLUMNS = ("path", "slice_labels", "mask", "boxes")
TEXT_COLUMNS = ("cohort", "site", "patient", "study", "series", "split", "origin")
COLUMNS = (
    *("cohort", "site", "patient", "study", "series", "path", "split"),
    *LABELS,
    *("slice_labels", "mask", "boxes", "origin"),
)
"""``series`` is unique; ``path`` is the series' folder or file; ``slice_labels`` a table with ``tables.SLICE_COLUMNS``;
``mask`` a NIfTI file; ``origin`` the set that the pixels come from, by which sets made from others are told. Labels are
float, NaN where unknown; everything else is text, "" where there is none; paths are absolute."""

_REQUIRED = ("cohort", "patient", "series", "path", "origin")


def make_index(rows: Iterable[Mapping[str, object]]) -> pd.DataFrame:
    """A checked index from rows that name what they know.

    Columns that a row leaves out are "" or NaN. An unknown "any" is filled in where the subtypes tell it.
    """
    rows = list(rows)
    if unknown := sorted({name for row in rows for name in row} - set(COLUMNS)):
        raise ValueError(f"no column of the index: {unknown}")
    columns: dict[str, object] = {
        name: np.array([row.get(name, np.nan) for row in rows], np.float64)
        if name in LABELS
        else [str(row.get(name, "")) for row in rows]
        for name in COLUMNS
    }
    index = pd.DataFrame(columns, columns=list(COLUMNS))
    index[list(LABELS)] = fill_any(index[list(LABELS)].to_numpy())
    return check_index(index)


def check_index(index: pd.DataFrame, *, where: object = "Study index") -> pd.DataFrame:
    """The index itself, if it keeps the schema.

    "any" may be 1 while every subtype is 0: readers can agree that there is a bleed and differ on which (CQ500).

    Raises:
      InputError: a column missing, a field that must not be empty, a series there twice, a label that is not 0, 1 or
        NaN, "any" of 0 beside a positive subtype, or an unknown split.
    """
    if missing := [name for name in COLUMNS if name not in index.columns]:
        raise InputError(f"lacks the column {missing[0]!r}", where=where, mend=f"it needs {', '.join(COLUMNS)}")
    if not len(index):
        raise InputError("holds no series", where=where, mend="check the source")

    def refuse(bad: np.ndarray, column: str, mend: str) -> None:
        if bad.any():
            row = int(bad.argmax())
            found = one_line(index[column].iloc[row])
            raise InputError(f"{column} is {found!r}", where=f"{where} row {row + 1}", mend=mend)

    for column in _REQUIRED:
        refuse((index[column] == "").to_numpy(), column, f"every series needs its {column}")
    refuse(index["series"].duplicated().to_numpy(), "series", "that series stands twice: keep one row")
    refuse(~index["split"].isin(["", *SPLITS]).to_numpy(), "split", f"use {', '.join(SPLITS)} or nothing")
    labels = index[list(LABELS)].to_numpy(np.float64)
    for column, values in zip(LABELS, labels.T, strict=True):
        refuse(~(np.isnan(values) | np.isin(values, (0, 1))), column, "a label is 0, 1 or unknown")
    refuse((labels[:, -1] == 0) & (labels[:, :-1] == 1).any(1), "any", "a subtype is 1, so any is 1")
    return index


def read_index(path: Path | str) -> pd.DataFrame:
    """The index from a CSV file; relative paths in it start at the file's folder."""
    path = Path(path)
    table = read_table(path, columns=COLUMNS)[list(COLUMNS)]
    table[list(LABELS)] = parse_labels(table, where=path)
    for column in PATH_COLUMNS:
        table[column] = [os.path.abspath(path.parent / value) if value else "" for value in table[column]]
    return check_index(table, where=path)


def write_index(index: pd.DataFrame, path: Path | str) -> None:
    """The index as a CSV file; paths below the file's folder become relative, so that both can be moved together."""
    path = Path(os.path.abspath(path))
    table = check_index(index)[list(COLUMNS)].copy()
    for column in PATH_COLUMNS:
        table[column] = [_relative(value, path.parent) for value in table[column]]
    write_table(table, path)


def _relative(value: str, folder: Path) -> str:
    return Path(value).relative_to(folder).as_posix() if value and Path(value).is_relative_to(folder) else value
