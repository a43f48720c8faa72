import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from ichformer.ct.io.dicom.reader import read_series
from ichformer.ct.io.dicom.series import find_series
from ichformer.ct.io.nifti import NiftiFile
from ichformer.errors import InputError
from ichformer.reporting.scan.outputs import (
    FORMAT,
    NUMBERS_NAME,
    REPORT_NAME,
    folder_name,
    free_name,
    series_key,
    write_folder,
)
from tests.ct.builders import write_series

OURS = {REPORT_NAME: "<p>", NUMBERS_NAME: json.dumps({"format": FORMAT})}


def contents(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir()}


def test_names_are_safe_stable_and_differ(tmp_path: Path) -> None:
    pixels = np.zeros((2, 8, 8), np.int16)
    descriptions = ("../../HEAD 5mm\u202e /etc", "../../HEAD 5mm\u202e /etc", "\u5934")
    for folder, uid, description in zip("abc", ("1.2.3", "1.2.4", "1.2.5"), descriptions, strict=True):
        tags = {"SpecificCharacterSet": "ISO_IR 192", "SeriesDescription": description, "PatientName": "DOE"}
        write_series(tmp_path / folder, pixels, series_uid=uid, **tags)
    found = find_series(tmp_path).series
    names = [folder_name(series, series_key(series, read_series(series))) for series in found]
    assert len(set(names)) == 3
    assert all(re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name) for name in names)
    assert not any("doe" in name for name in names)
    assert names[2].startswith("series-")
    (tmp_path / "a").rename(tmp_path / "moved")
    (moved,) = find_series(tmp_path / "moved").series
    assert folder_name(moved, series_key(moved, read_series(moved))) == names[0]


def test_names_differ_where_the_uids_do_not(tmp_path: Path) -> None:
    """By any slice's UID, by the matrix and by the pixels alone; by the path where there are no UIDs."""
    pixels = np.full((3, 8, 8), 1064, np.int16)
    other = pixels + np.arange(8, dtype=np.int16)
    made = {"a": pixels, "b": other, "c": pixels[:, :, :4].copy(), "d": pixels[:2]}
    names = set()
    for name, stored in made.items():
        write_series(tmp_path / name, stored)
        (series,) = find_series(tmp_path / name).series
        names.add(folder_name(series, series_key(series, read_series(series))))
    assert len(names) == len(made)
    volume = read_series(series)
    paths = (tmp_path / "x.nii", Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.nii")))
    assert len({series_key(NiftiFile(path=path), volume) for path in paths}) == 2
    assert all(re.fullmatch(r"[a-z0-9-]+-[0-9a-f]{20}", name) for name in names)


def test_a_name_that_is_taken_gets_a_number() -> None:
    assert free_name("head", ()) == "head"
    assert free_name("head", {"head"}) == "head-2"
    assert free_name("head", {"head", "head-2", "skull"}) == "head-3"


def test_an_earlier_prediction_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "out" / "deep" / "scan"
    write_folder(folder, OURS)
    write_folder(folder, OURS | {REPORT_NAME: "<p>new"})
    assert contents(folder)[REPORT_NAME] == "<p>new"
    assert [path.name for path in folder.parent.iterdir()] == ["scan"]


@pytest.mark.parametrize("foreign", [{"notes.txt": "mine"}, OURS | {"notes.txt": "mine"}, {NUMBERS_NAME: "[]"}])
def test_foreign_folders_stay(tmp_path: Path, foreign: dict[str, str]) -> None:
    folder = tmp_path / "scan"
    folder.mkdir()
    for name, text in foreign.items():
        (folder / name).write_text(text)
    with pytest.raises(InputError, match="no earlier prediction"):
        write_folder(folder, OURS)
    assert contents(folder) == foreign
    assert [path.name for path in tmp_path.iterdir()] == ["scan"]


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        write_folder(tmp_path / "new" / "scan", OURS | {"n" * 300: ""})
    assert not list(tmp_path.iterdir())
