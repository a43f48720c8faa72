"""Reads CSV files strictly, as text, and writes them whole or not at all."""

from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64

from ichformer import LABELS
from ichformer.cohorts.csv_text import line_of, read_numbers, read_text_table
from ichformer.errors import InputError, one_line
from ichformer.files.csv_fields import is_number, write_csv
from ichformer.labels import MAX_TARGET, SIX, LabelSet

SLICE_KEYS = ("series", "slice", "file")
"""What a table of slice labels has beside the labels: ``slice`` is what ``Volume.source`` calls it, ``file`` its path
below the series' path.

Where ``file`` is given for a series, those files are the series; where it is "", the series is all that lies there.
"""

SLICE_COLUMNS = (*SLICE_KEYS, *LABELS)
"""The columns of a table of slice labels of the six labels."""

BOX_LABELS = (*LABELS[:-1], "chronic")
"""What a box can be drawn round. "chronic" is an old bleed, which none of ``LABELS`` counts."""

BOX_COLUMNS = ("series", "slice", "label", "x", "y", "width", "height")
"""A table of boxes: ``slice`` as in ``SLICE_COLUMNS``, ``label`` of ``BOX_LABELS``, the left upper corner and the
size in pixels of the picture as it lies in the file, columns and rows counted from 0 at the left and at the top."""

_ANY = LABELS.index("any")
_LABEL_VALUES = {"": np.nan, "0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0}


def read_table(path: Path, *, columns: Collection[str]) -> pd.DataFrame:
    """Reads a CSV file with a header, every field as text; see ``csv_text.read_text_table``.

    Args:
      path: the file.
      columns: what it must have.

    Returns:
      The rows; the index is the line of the file on which each begins.

    Raises:
      InputError: no such file, not a table, a column missing or there twice, a line of another length.
    """
    table = read_text_table(path).rows
    names = list(table.columns)
    if missing := [name for name in columns if name not in names]:
        raise InputError(f"lacks the column {missing[0]!r}", where=path, fix=f"its columns are {', '.join(names)}")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise InputError(f"has the column {twice[0]!r} twice", where=path, fix="keep one of them")
    return table


def parse_labels(table: pd.DataFrame, *, where: Path, label_set: LabelSet = SIX) -> Float64[np.ndarray, "rows labels"]:
    """Converts the labels and targets of a table of text to numbers, NaN where a field is empty.

    Raises:
      InputError: a label that is not 0, 1 or nothing; a target that is no number (``read_target``) or nothing.
    """
    columns = []
    for name in label_set.columns:
        texts, is_label = table[name].str.strip(), name in label_set.names
        if is_label:
            values = texts.map(_LABEL_VALUES).astype(np.float64).to_numpy()
        else:
            values = np.array([read_target(text) for text in texts], np.float64)
        wrong = np.isnan(values) & (texts != "").to_numpy()
        if wrong.any():
            row = int(wrong.argmax())
            found = one_line(table[name].iloc[row])
            raise InputError(
                f"{name} is {found!r}",
                where=f"{where}{line_of(table, row)}",
                fix=f"write {'0, 1' if is_label else 'a number'}, or nothing for unknown",
            )
        columns.append(values)
    return np.stack(columns, axis=1)


def read_target(text: str) -> float:
    """Converts a field to a number; NaN for all but plain decimal numbers up to ``MAX_TARGET`` in size."""
    value = float(text) if is_number(text) else np.nan
    return value + 0.0 if abs(value) <= MAX_TARGET else np.nan  # there is no -0


def read_slice_table(path: Path, *, label_set: LabelSet = SIX) -> pd.DataFrame:
    """Reads a table of slice labels: ``SLICE_KEYS``, then labels and targets as float, NaN where unknown.

    Raises:
      InputError: a label that is not 0, 1 or nothing, a target that is no number; "any" of 0 beside a positive subtype.
    """
    columns = [*SLICE_KEYS, *label_set.columns]
    table = read_table(path, columns=columns)[columns]
    labels = parse_labels(table, where=path, label_set=label_set)
    if (wrong := contradicts(labels, label_set)).any():
        raise InputError(
            "any is 0 beside a subtype that is 1",
            where=f"{path}{line_of(table, int(wrong.argmax()))}",
            fix="correct the line",
        )
    table[list(label_set.columns)] = labels
    return table.reset_index(drop=True)


def read_box_table(path: Path) -> pd.DataFrame:
    """Reads a table with ``BOX_COLUMNS``, places and sizes as float.

    Raises:
      InputError: a label that is none of ``BOX_LABELS``, a place that is no number, a box without area.
    """
    table = read_table(path, columns=BOX_COLUMNS)[list(BOX_COLUMNS)]

    def refuse(bad: np.ndarray, what: str) -> None:
        if bad.any():
            row = int(bad.argmax())
            said = one_line(", ".join(table.iloc[row]))
            raise InputError(
                f"{what}: {said}", where=f"{path}{line_of(table, row)}", fix="correct the line or take it out"
            )

    refuse(~table["label"].isin(BOX_LABELS).to_numpy(), f"the label is none of {', '.join(BOX_LABELS)}")
    numbers = pd.DataFrame({name: read_numbers(table[name]) for name in BOX_COLUMNS[3:]}, index=table.index)
    refuse(~np.isfinite(numbers.to_numpy()).all(1), "a place or size is no number")
    refuse((numbers[["width", "height"]] <= 0).any(axis=1).to_numpy(), "the box has no area")
    return table.assign(**numbers).reset_index(drop=True)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Writes a table as CSV (``csv_fields.write_csv``): labels as 0, 1 or nothing, other numbers with 9 digits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_csv({name: table[name].tolist() for name in table}, path, float_format=".9g")


def scan_labels(slice_labels: Float64[np.ndarray, "s labels"]) -> Float64[np.ndarray, "labels"]:
    """Returns the maximum over slices: 1 where one is positive, 0 where all are known negative, NaN otherwise."""
    return np.where((slice_labels == 1).any(0), 1.0, np.where((slice_labels == 0).all(0), 0.0, np.nan))


def fill_any(
    labels: Float64[np.ndarray, "rows labels"], label_set: LabelSet = SIX
) -> Float64[np.ndarray, "rows labels"]:
    """Returns a copy with "any" filled in wherever it follows from the subtypes; without subtypes nothing changes."""
    if not label_set.has_subtypes:
        return labels.copy()
    subtypes, stated = labels[:, :_ANY], labels[:, _ANY]
    implied = np.where((subtypes == 1).any(1), 1.0, np.where((subtypes == 0).all(1), 0.0, np.nan))
    return np.column_stack([subtypes, np.where(np.isnan(stated), implied, stated), labels[:, _ANY + 1 :]])


def contradicts(labels: Float64[np.ndarray, "rows labels"], label_set: LabelSet = SIX) -> Bool[np.ndarray, " rows"]:
    """Returns which rows have an "any" of 0 although a subtype is 1; none in a set without subtypes."""
    if not label_set.has_subtypes:
        return np.zeros(len(labels), bool)
    return np.asarray((labels[:, _ANY] == 0) & (labels[:, :_ANY] == 1).any(1), bool)


def find_below(source: Path, names: Collection[str]) -> Path | None:
    """Returns the first of some names that lies in the source or, as archives unpack, one folder deeper."""
    for name in names:
        for path in (source / name, *sorted(source.glob(f"*/{name}"))):
            if path.exists():
                return path
    return None


def write_left_out(reasons: Mapping[str, str], path: Path) -> None:
    """Writes the table of what an adapter left out and why; no file where nothing was left out."""
    if reasons:
        write_table(pd.DataFrame({"name": list(reasons), "reason": list(reasons.values())}), path)
    else:
        path.unlink(missing_ok=True)


def read_left_out(path: Path) -> dict[str, str]:
    """Reads what ``write_left_out`` wrote; empty where there is no such file."""
    if not path.exists():
        return {}
    table = read_table(path, columns=("name", "reason"))
    return dict(zip(table["name"], table["reason"], strict=True))
