"""Finds the scan or slice that each row of a CSV of labels is about."""

import itertools
import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ichformer.cohorts.folder.columns import KEYS, VERY_LIKE
from ichformer.errors import nearest, one_line

_SUFFIX = re.compile(r"\.(nii|nii\.gz|dcm|zip|png|jpg)$")


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """A scan that can get labels.

    Attributes:
      series: its name in the index.
      keys: for each of ``KEYS`` what a row may call it.
      slices: whatever a row may call a slice -> its name in ``Volume.source``; all its slices.
    """

    series: str
    keys: dict[str, set[str]]
    slices: dict[str, str]


def scan_keys(meanings: Sequence[str]) -> tuple[str, ...]:
    """Returns the columns that say which scan a row is about."""
    exact = tuple(key for key in ("path", "series") if key in meanings)
    return exact or tuple(key for key in KEYS if key in meanings)[:1]


def match_rows(
    table: pd.DataFrame,
    keys: tuple[str, ...],
    scans: Sequence[Labelled],
    by_slice: bool,
    folder: Path,
    problems: list[str],
    *,
    scan_rows: bool,
) -> dict[str, dict[str, int]]:
    """Finds the row of each scan or slice: by series, then by slice, "" for the scan itself.

    A path may also start at the CSV's ``folder``. A scan without a SeriesInstanceUID is known by its path alone.

    Args:
      table: the CSV's fields by their meaning.
      keys: the columns that say which scan a row is about (``scan_keys``).
      scans: that can get labels.
      by_slice: whether rows are about slices.
      folder: that the CSV lies in.
      problems: what is wrong with rows is added here.
      scan_rows: whether a row without a slice is about its scan in a table of slices too.
    """
    called: dict[str, dict[str, set[int]]] = {key: defaultdict(set) for key in keys}
    for number, scan in enumerate(scans):
        for key in keys:
            for name in scan.keys[key] - {""}:
                called[key][name].add(number)
    if keys == ("path", "series"):
        without_uid = {number for number, scan in enumerate(scans) if "" in scan.keys["series"]}
        for value in {value for value in table["series"] if not value.startswith("S-")}:  # S-...: a name of ours
            called["series"][value] |= without_uid
    for value in {value for value in table["path"] if value and "path" in keys and value not in called["path"]}:
        if there := called["path"].get(os.path.abspath(folder / value)):
            called["path"][value] = there
    rows_of: dict[str, dict[str, int]] = defaultdict(dict)
    for row, values in enumerate(table[[*keys, "slice"]].itertuples(index=False, name=None)):
        line, given = f"line {table.index[row]}", dict(zip(keys, values, strict=False))
        found = [called[key].get(value, set()) for key, value in given.items() if value]
        matched = [scans[number] for number in sorted(set.intersection(*found))] if found else []
        if by_slice and matched and not (scan_rows and not values[-1]):
            named, matched = matched[0], [scan for scan in matched if values[-1] in scan.slices]
            if not matched:
                such = f", such as {one_line(next(iter(named.slices)), max_chars=80)!r}" if named.slices else ""
                slice_name = one_line(values[-1], max_chars=80)
                problems.append(f"{line}: its scan has no slice {slice_name!r}; it has {len(named.slices)}{such}")
        elif not matched:
            text = one_line(" ".join(filter(None, values if by_slice else values[:-1])), max_chars=80)
            near = "" if len(problems) > 20 else _near_key(given, called)
            problems.append(f"{line}: matches no series: {text!r}{near}")
        for scan in matched:
            name = scan.slices[values[-1]] if by_slice and values[-1] else ""
            if name in rows_of[scan.series]:
                earlier = table.index[rows_of[scan.series][name]]
                problems.append(f"{line}: labels what an earlier line labels (line {earlier}): keep one of them")
            else:
                rows_of[scan.series][name] = row
    return {series: own for series, own in rows_of.items() if own}


def _near_key(given: Mapping[str, str], called: Mapping[str, Mapping[str, set[int]]]) -> str:
    """ " (is it ...?)" where one scan, or two, have nearly that name: without a folder or a suffix, or with lost zeros.

    Where more are as near, none is named: whoever takes the wrong one labels another patient.
    """
    for key, value in given.items():
        names = [name for name in called[key] if not name.startswith("/")][:20000] if value else []
        near = _one_or_two([name for name in names if _without_zeros(name) == _without_zeros(value)], called[key])
        same = [name for name in names if _bare(name) == _bare(value)]
        if not near and same:
            most = max(_same_folders(name, value) for name in same)
            near = _one_or_two([name for name in same if _same_folders(name, value) == most], called[key])
        elif not near and value and key != "patient":  # the like of one patient's name is another patient's
            alike = [name for name in names[:2000] if _numbers(name) == _numbers(value)]
            near = [name for name in [nearest(value, alike, likeness=VERY_LIKE)] if name]
        if near:
            zeros = "? Spreadsheets drop leading zeros" if near[0].lstrip("0") == value else "?"
            return f" (is it {' or '.join(repr(one_line(name, max_chars=80)) for name in near)}{zeros})"
    return ""


def _one_or_two(names: Sequence[str], scans: Mapping[str, set[int]]) -> list[str]:
    """The longest of some names of each scan, which has its suffix; none where they are of more than two scans."""
    longest = {number: name for name in sorted(names, key=len) for number in sorted(scans[name])}
    return list(dict.fromkeys(longest.values())) if len(longest) <= 2 else []


def _numbers(name: str) -> list[int]:
    """In a name: whoever differs in one of them is somebody else."""
    return [int(digits) for digits in re.findall(r"\d+", name)]


def _without_zeros(name: str) -> str:
    """A path in small letters, without its suffix and the zeros in front of its numbers."""
    return re.sub(r"(?<!\d)0+(?=\d)", "", _SUFFIX.sub("", name.lower()))


def _same_folders(name: str, other: str) -> int:
    """How many folders above the last part are the same, from the last one up."""
    folders = (reversed(path.split("/")[:-1]) for path in (name, other))
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(*folders, strict=False)))


def _bare(name: str) -> str:
    return _SUFFIX.sub("", name.rpartition("/")[2].lower()).lstrip("0")
