"""From a row of the Study index to the Volume that it names."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ichformer.cohorts.folder import named_series
from ichformer.cohorts.tables import read_slice_table
from ichformer.ct.dicom import read_series
from ichformer.ct.nifti import SUFFIXES, read_nifti
from ichformer.ct.series import find_series
from ichformer.ct.volume import Volume


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a series lies: its name, ``path`` of the index, and the files below it where a table names them."""

    series: str
    path: str
    files: tuple[str, ...]


def places(index: pd.DataFrame) -> Sequence[Place]:
    """The place of each row, in the order of the index."""
    files: dict[str, dict[str, tuple[str, ...]]] = {}
    for path in sorted(set(index["slice_labels"]) - {""}):
        table = read_slice_table(Path(path))
        named = table[table["file"] != ""].groupby("series")["file"]
        files[path] = {str(series): tuple(sorted(names)) for series, names in named}
    return [
        Place(series=series, path=path, files=files.get(table, {}).get(series, ()))
        for series, path, table in zip(index["series"], index["path"], index["slice_labels"], strict=True)
    ]


def read_place(place: Place) -> Volume:
    """The volume, as it was written; InputError where it cannot be read."""
    if place.path.endswith(SUFFIXES):
        return read_nifti(place.path)
    if place.files:
        return read_series([Path(place.path) / name for name in place.files])
    found = find_series(place.path)
    return read_series(named_series(found).get(place.series, found))
