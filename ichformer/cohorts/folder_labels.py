"""A CSV of labels, written by people, laid over the series of a folder."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from ichformer import LABELS
from ichformer.cohorts.tables import SLICE_COLUMNS, fill_any, parse_labels, read_table, scan_labels, write_table
from ichformer.errors import InputError, one_line

KEYS = ("series", "study", "patient", "path")
"""What a row of labels can be tied to: SeriesInstanceUID, StudyInstanceUID, PatientID (or the hash of it that the index
shows), or a path below the folder."""

_OF_SERIES = ("site", "split", "origin")
_ALSO = ("slice", *_OF_SERIES)


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """A series that can get labels.

    Attributes:
      series: its name in the index.
      keys: for each of ``KEYS`` what a row may call it.
      slices: whatever a row may call a slice -> its name in ``Volume.source``; all its slices.
    """

    series: str
    keys: dict[str, set[str]]
    slices: dict[str, str]


def read_labels(path: Path, scans: Sequence[Labelled], *, cache: Path) -> dict[str, dict[str, object]]:
    """Labels, site, split, origin and ``slice_labels`` of the series that the CSV names, by series.

    The CSV has one key of ``KEYS``, any of ``LABELS``, and may have ``site``, ``split``, ``origin`` (the set that the
    scans come from, "hemseg200" say; "folder" otherwise) and ``slice`` (SOPInstanceUID or file name). With ``slice`` a
    row labels that slice, and the scan's labels are the maximum over its slices. A row of a study or a patient goes to
    each of its series.

    Raises:
      InputError: a row that matches nothing, two that label the same, a column that it cannot have.
    """
    table = read_table(path, columns=())
    key = _key(table, path)
    for name in (*LABELS, *_ALSO):
        if name not in table:
            table[name] = ""
    labels = fill_any(parse_labels(table, where=path))
    by_slice = bool((table["slice"] != "").any())
    named: dict[str, list[Labelled]] = defaultdict(list)
    for scan in scans:
        for called in scan.keys[key] - {""}:
            named[called].append(scan)
    matches = [
        (scan, row, slice_name)
        for row, (value, given) in enumerate(zip(table[key].str.strip(), table["slice"].str.strip(), strict=True))
        for scan, slice_name in _matches(
            str(PurePosixPath(value.replace("\\", "/"))) if key == "path" and value else value,
            given if by_slice else None,
            named,
            where=f"{path} line {row + 2}",
        )
    ]
    rows_of: dict[str, dict[str, int]] = defaultdict(dict)
    for scan, row, slice_name in matches:
        if slice_name in rows_of[scan.series]:
            raise InputError(
                "labels what an earlier line labels", where=f"{path} line {row + 2}", mend="keep one of them"
            )
        rows_of[scan.series][slice_name] = row

    said: dict[str, dict[str, object]] = {}
    tables = []
    for scan in scans:
        if not (rows := rows_of.get(scan.series)):
            continue
        own = table.iloc[list(rows.values())]
        for name in _OF_SERIES:
            if own[name].nunique() > 1:
                raise InputError(f"gives one series several {name}s", where=path, mend="make them the same")
        said[scan.series] = {name: text for name in _OF_SERIES if (text := own[name].iloc[0].strip())}
        if by_slice:
            unknown = np.full(len(LABELS), np.nan)
            everywhere = {name: labels[rows[name]] if name in rows else unknown for name in scan.slices.values()}
            stacked = np.stack(list(everywhere.values()))
            told = scan_labels(stacked)
            frame = pd.DataFrame(stacked, columns=list(LABELS)).assign(
                series=scan.series, slice=list(everywhere), file=""
            )
            tables.append(frame[list(SLICE_COLUMNS)])
            said[scan.series]["slice_labels"] = str((cache / "slice_labels.csv").absolute())
        else:
            told = labels[rows[""]]
        said[scan.series] |= dict(zip(LABELS, told.tolist(), strict=True))
    if by_slice:
        write_table(pd.concat(tables), cache / "slice_labels.csv")
    return said


def _key(table: pd.DataFrame, path: Path) -> str:
    keys = [key for key in KEYS if key in table]
    if len(keys) != 1:
        raise InputError(f"has {len(keys)} key columns", where=path, mend=f"keep exactly one of {', '.join(KEYS)}")
    allowed = (keys[0], *LABELS, *_ALSO)
    if unknown := [name for name in table if name not in allowed]:
        raise InputError(f"has a column {unknown[0]!r}", where=path, mend=f"it may have {', '.join(allowed)}")
    if not set(LABELS) & set(table):
        raise InputError("has no labels", where=path, mend=f"add columns of {', '.join(LABELS)}")
    return keys[0]


def _matches(
    value: str, given: str | None, named: Mapping[str, Sequence[Labelled]], *, where: str
) -> Iterator[tuple[Labelled, str]]:
    """The series that a row is about, and its slice's name in each ("" where rows are about series, ``given`` None)."""
    matched = [scan for scan in named.get(value, ()) if given is None or given in scan.slices]
    if not matched:
        found = one_line(value if given is None else f"{value} {given}")
        raise InputError(f"matches no series: {found!r}", where=where, mend="correct the line or take it out")
    for scan in matched:
        yield scan, "" if given is None else scan.slices[given]
