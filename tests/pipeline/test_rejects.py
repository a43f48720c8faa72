from pathlib import Path

import pytest

from ichformer.errors import InputError
from ichformer.pipeline.preparation.rejects import full_reason, hide_names, reason_without_names


@pytest.fixture
def scan(tmp_path):
    path = tmp_path / "ward 7" / "Quaxley_Orsolya"
    (path / "slices").mkdir(parents=True)
    for name in ("IMG 0001", "Orsolya", "\u202eevil.dcm"):
        (path / "slices" / name).touch()
    return path


def test_an_unforeseen_error_says_its_kind_alone(scan):
    error = ValueError("no number: QUAXLEY, born 19430217")
    assert "a fault of ichformer (ValueError: no number: QUAXLEY, born 19430217)" in full_reason(error, scan)
    said = "the scan: cannot be read, a fault of ichformer (ValueError); see `ichformer inspect`"
    assert reason_without_names(error, scan) == said


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("Modality (0008,0060) is MR, not CT", "Modality (0008,0060) is MR, not CT"),
        ("12 of 30 slices stand twice, such as IMG 0001", "12 of 30 slices stand twice, such as ..."),
        ("holds nothing called Orsolya", "holds nothing called ..."),
        ("lies in Quaxley_Orsolya with others", "lies in ... with others"),
        ("found 'ANNA' in it", "found '...' in it"),
        ("see /data/anna/7.dcm and b.nii.gz", "see ... and a file"),
        ("cannot be read (ImageFileError: Cannot work out type of /x/Quaxley)", "cannot be read (ImageFileError)"),
        ("has the UID 1.2.826.0.1.9981.4", "has the UID a UID"),
        ("of 20230911, number 90417731", "of ..., number ..."),
        ("the sform lies 0.5 mm off, 5.0 x 3.25 mm", "the sform lies 0.5 mm off, 5.0 x 3.25 mm"),
        ("Rows/Columns differ", "... differ"),
    ],
)
def test_names_are_taken_out_and_sentences_stay(scan, what, said):
    error = InputError(what, where=scan / "slices" / "IMG 0001", fix="export it again")
    assert reason_without_names(error, scan) == f"the scan: {said}; export it again"


def test_a_scan_that_is_gone_has_the_names_on_its_way():
    assert hide_names("no ward9 and no Quaxley", Path("/none/ward9/Quaxley.nii.gz")) == "no ... and no ..."
