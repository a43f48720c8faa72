"""Reads the Volume that a row of the Study index names."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from ichformer.cohorts.folder.adapter import named_series
from ichformer.cohorts.tables import read_table
from ichformer.ct.geometry.missing import Missing
from ichformer.ct.io.dicom.series import group_files
from ichformer.ct.io.display import WindowHU
from ichformer.ct.io.found import Found
from ichformer.ct.io.scans import Scan, find_scans, read_volume
from ichformer.ct.volume import Volume
from ichformer.files.writing import text_path


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a series lies: its name, ``path`` of the index, and the files below it where a table names them."""

    series: str
    path: str
    files: tuple[str, ...]


def places(index: pd.DataFrame) -> Sequence[Place]:
    """Returns the place of each row, in the order of the index."""
    files: dict[str, dict[str, tuple[str, ...]]] = {}
    for path in sorted(set(index["slice_labels"]) - {""}):
        table = read_table(text_path(path), columns=("series", "file"))
        named = table[table["file"] != ""].groupby("series")["file"]
        files[path] = {str(series): tuple(sorted(names)) for series, names in named}
    return [
        Place(series=series, path=path, files=files.get(table, {}).get(series, ()))
        for series, path, table in zip(index["series"], index["path"], index["slice_labels"], strict=True)
    ]


def read_place(place: Place, *, missing: Missing = "keep", window_hu: WindowHU | None = None) -> Volume:
    """Reads the volume of a place with ``ct.io.scans.read_volume``; InputError where that is not possible."""
    return read_volume(find_place(place), missing=missing, window_hu=window_hu)


def find_place(place: Place) -> Scan | Found[Scan]:
    """Returns the scan of a place, or all that was found there where none has its name."""
    path = text_path(place.path)
    if place.files:
        files = [path / text_path(name) for name in place.files]
        found: Found[Scan] = group_files(files, path=files[0])
        return found
    found = find_scans(path)
    return named_series(found).get(place.series, found)
