"""The Study index: one table over all cohorts, one row per series."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ichformer.cohorts.patients import PATIENT_SOURCES
from ichformer.cohorts.tables import contradicts, fill_any, parse_labels, read_table
from ichformer.errors import InputError, one_line
from ichformer.files.writing import path_text
from ichformer.labels import MAX_TARGET, SIX, LabelSet

SPLITS = ("train", "val", "test")
PATH_COLUMNS = ("path", "slice_labels", "mask", "boxes")


def index_columns(label_set: LabelSet = SIX) -> tuple[str, ...]:
    """Returns the columns of a Study index with these labels and targets, in their order.

    ``series`` is unique; ``patient_source`` is one of ``patients.PATIENT_SOURCES`` and says how the patient is known;
    ``path`` is the series' folder or file; ``slice_labels`` is a table of labels by slice (``tables.SLICE_KEYS``);
    ``mask`` is a NIfTI file; ``origin`` is the set that the pixels come from, which shows sets that were made from
    others. Labels and targets are float, NaN where unknown; everything else is text, "" where there is none. Paths are
    absolute (``files.path_text``).
    """
    return (
        *("cohort", "site", "patient", "patient_source", "study", "series", "path", "split"),
        *label_set.columns,
        *("slice_labels", "mask", "boxes", "origin"),
    )


GROUP_PREFIX = "group_"
"""Further columns of text whose names begin so sort the scans into subgroups; "" where unknown."""

MAX_GROUPS = 30
"""Most values of such a column: more are numbers that want to be put into classes first."""

FEW_VALUES = 5
"""As many values of a column may be those of a scanner or a kernel; more of them may be names or numbers of persons."""

MAX_SITES = 100
"""Of more sites than this only those with the most rows have figures of their own."""

_REQUIRED = ("cohort", "patient", "series", "path", "origin")


def group_columns(columns: Iterable[object]) -> list[str]:
    """Returns the columns of a table that sort its scans into subgroups."""
    return [name for name in columns if isinstance(name, str) and name.startswith(GROUP_PREFIX)]


def tells_scans_apart(groups: pd.Series) -> bool:
    """Whether a column of subgroups has nearly a value for each scan: it divides nothing, and may name persons."""
    known = groups[groups != ""]
    n_values = known.nunique()
    return 2 < n_values == len(known) or (n_values > FEW_VALUES and 2 * n_values >= len(known))


def shown_sites(sites: Sequence[str]) -> list[str]:
    """Returns each row's site for figures: of more than ``MAX_SITES``, the smallest become "other (12 sites)".

    "" is no site and stays.
    """
    rows_of = Counter(sites)
    names = sorted(set(rows_of) - {""}, key=lambda name: (-rows_of[name], name))
    if len(names) <= MAX_SITES:
        return list(sites)
    own = {"", *[name for name in names if not is_other_sites(name)][:MAX_SITES]}
    other = f"other ({len(set(names) - own)} sites)"
    return [site if site in own else other for site in sites]


def is_other_sites(name: str) -> bool:
    """Returns whether a name stands for many sites, as ``shown_sites`` writes it."""
    return re.fullmatch(r"other \([0-9]+ sites\)", name) is not None


def make_index(rows: Iterable[Mapping[str, object]], *, label_set: LabelSet = SIX) -> pd.DataFrame:
    """Builds a checked Study index from rows.

    Columns that a row leaves out are "" or NaN; a ``patient_source`` that it leaves out is "unknown". An unknown "any"
    is filled in where the subtypes tell it. Columns of ``GROUP_PREFIX`` follow ``index_columns``, sorted.

    Example:
      >>> row = {"cohort": "mine", "origin": "mine", "patient": "1", "series": "1", "path": "/scans/1.nii.gz"}
      >>> make_index([{**row, "subdural": 1.0}])["any"].tolist()
      [1.0]
    """
    known, rows = index_columns(label_set), [{"patient_source": "unknown", **row} for row in rows]
    more = sorted({name for row in rows for name in row} - set(known))
    if unknown := [name for name in more if not name.startswith(GROUP_PREFIX)]:
        raise ValueError(f"no column of the index: {unknown}")
    columns: dict[str, object] = {
        name: np.array([row.get(name, np.nan) for row in rows], np.float64)
        if name in label_set.columns
        else [path_text(str(row.get(name, ""))) for row in rows]
        for name in (*known, *more)
    }
    index = pd.DataFrame(columns, columns=[*known, *more])
    labels = list(label_set.columns)
    index[labels] = fill_any(index[labels].to_numpy(), label_set)
    return check_index(index, label_set=label_set)


def check_index(index: pd.DataFrame, *, label_set: LabelSet = SIX, where: object = "Study index") -> pd.DataFrame:
    """Returns the index itself if it follows the schema of this label set.

    "any" may be 1 while every subtype is 0: readers can agree that there is a bleed and differ on which (CQ500).

    Raises:
      InputError: a column missing, a field that must not be empty, a series there twice, a label that is not 0, 1 or
        NaN, a target that is larger than ``MAX_TARGET``, "any" of 0 beside a positive subtype, boxes beside other
        labels than the six, an unknown split or source of the patient, or more than ``MAX_GROUPS`` values of a group.
    """
    columns = index_columns(label_set)
    if missing := [name for name in columns if name not in index.columns]:
        raise InputError(f"lacks the column {missing[0]!r}", where=where, fix=f"it needs {', '.join(columns)}")
    if not len(index):
        raise InputError("holds no series", where=where, fix="check the source")

    def refuse(bad: np.ndarray, column: str, fix: str) -> None:
        if bad.any():
            row = int(bad.argmax())
            found = one_line(index[column].iloc[row])
            raise InputError(f"{column} is {found!r}", where=f"{where} row {row + 1}", fix=fix)

    for column in _REQUIRED:
        refuse((index[column] == "").to_numpy(), column, f"every series needs its {column}")
    refuse(index["series"].duplicated().to_numpy(), "series", "that series stands twice: keep one row")
    refuse(~index["split"].isin(["", *SPLITS]).to_numpy(), "split", f"use {', '.join(SPLITS)} or nothing")
    labels = index[list(label_set.columns)].to_numpy(np.float64)
    for column, values in zip(label_set.columns, labels.T, strict=True):
        if column in label_set.names:
            refuse(~(np.isnan(values) | np.isin(values, (0, 1))), column, "a label is 0, 1 or unknown")
        else:
            refuse(np.abs(values) > MAX_TARGET, column, f"a target is a number up to {MAX_TARGET:g}, or unknown")
    refuse(contradicts(labels, label_set), "any", "a subtype is 1, so any is 1")
    if not label_set.is_default:
        refuse((index["boxes"] != "").to_numpy(), "boxes", "boxes go with the six labels alone: leave them out")
    sources = ", ".join(PATIENT_SOURCES)
    refuse(~index["patient_source"].isin(list(PATIENT_SOURCES)).to_numpy(), "patient_source", f"use {sources}")
    for column in group_columns(index):
        if (n_values := index[column].nunique()) > MAX_GROUPS:
            raise InputError(
                f"has {n_values} values",
                where=f"{where} column {one_line(column)}",
                fix=f"put them into at most {MAX_GROUPS} classes",
            )
    return index


def read_index(path: Path | str, *, label_set: LabelSet = SIX) -> pd.DataFrame:
    """Reads an index from a CSV file; relative paths in it start at the file's folder.

    A file without the column ``patient_source`` does not say how patients are known, so they are "unknown".
    """
    path, columns = Path(path), index_columns(label_set)
    table = read_table(path, columns=[name for name in columns if name != "patient_source"])
    labels = parse_labels(table, where=path, label_set=label_set)
    table = table.reset_index(drop=True)
    if "patient_source" not in table:
        table["patient_source"] = "unknown"
    table = table[[*columns, *sorted(group_columns(table))]].copy()
    table[list(label_set.columns)] = labels
    for column in PATH_COLUMNS:
        table[column] = [path_text(os.path.abspath(path.parent / value)) if value else "" for value in table[column]]
    return check_index(table, label_set=label_set, where=path)
