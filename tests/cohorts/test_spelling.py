"""Patients whose names are spelled in several ways, as spreadsheets and people leave them."""

import nibabel as nib
import numpy as np
import pytest

from ichformer.cohorts.folder.adapter import read_folder
from ichformer.cohorts.spelling import one_spelling
from ichformer.errors import InputError

ALIKE = [
    ("Anna", "anna"),
    ("An na", "An  na"),
    ("Anna", "Anna\u200b"),
    ("J\u00f6rg", "Jo\u0308rg"),
    ("0042", "42"),
    ("42.0", "42"),
]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    for name in ("a", "b"):
        hu = np.random.default_rng(0).integers(-1000, 1000, (4, 4, 3)).astype(np.int16)
        nib.save(nib.Nifti1Image(hu, np.diag([1.0, 1, 5, 1])), folder / f"{name}.nii")
    return folder


def read(source, tmp_path, first, second, splits=("train", "train")):
    path = tmp_path / "labels.csv"
    rows = [f"a.nii,{first},{splits[0]},1", f"b.nii,{second},{splits[1]},0"]
    path.write_text("\n".join(["path,patient,split,any", *rows]) + "\n")
    return read_folder(source, cache=tmp_path, labels=path)


@pytest.mark.parametrize(("first", "second"), ALIKE)
def test_one_patient_spelled_in_two_ways(source, tmp_path, first, second):
    folder = read(source, tmp_path, first, second)
    assert folder.index["patient"].nunique() == 1
    assert "taken for the same one: 1" in " ".join(folder.notes)
    with pytest.raises(InputError, match=r"one patient into two splits: a\.nii \(line 2\) is in train, b\.nii"):
        read(source, tmp_path, first, second, ("train", "test"))


@pytest.mark.parametrize(("first", "second"), [("P1", "P01"), ("Anna", "Anne"), ("4.2", "42"), ("1", "10"), ("-", "_")])
def test_two_patients_stay_two(source, tmp_path, first, second):
    folder = read(source, tmp_path, first, second, ("train", "test"))
    assert folder.index["patient"].nunique() == 2
    assert "taken for the same" not in " ".join(folder.notes)


@pytest.mark.parametrize("word", ["nan", "NaN", "unknown", "N/A", "None", "anonymous"])
def test_a_word_for_nobody_is_no_patient(source, tmp_path, word):
    folder = read(source, tmp_path, word, word, ("train", "test"))
    assert folder.index["patient"].nunique() == 2
    assert set(folder.index["patient_source"]) == {"guessed"}


def test_the_first_spelling_stands_for_all():
    assert one_spelling(["b", "B", "7", "007", "7.0"]) == {"007": "007", "7": "007", "7.0": "007", "B": "B", "b": "B"}
