"""``predict --dicom``: objects beside the numbers, of DICOM series alone."""

import json
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest

from ichformer.cli import main
from ichformer.ct.nifti_out import nifti_bytes
from ichformer.workflows.predict_scans import predict
from ichformer.workflows.prediction import predict_series
from ichformer.workflows.prediction.read_scan import read_scan
from tests.ct.enhanced import PLANE, write_enhanced
from tests.workflows.counter import open_counter, write_head


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return open_counter(tmp_path / "runs" / "counter", monkeypatch).path


@pytest.mark.slow
def test_the_report_has_the_scores_of_the_numbers_and_the_same_uids_again(run, tmp_path) -> None:
    scan = write_head(tmp_path / "scan", PatientName="DOE^JANE")
    given = {"run": run, "out": tmp_path / "out", "report": False, "dicom": True}
    (first,) = predict(scan, **given).series
    names = {"prediction.json", "report.dcm", "explanation.dcm", "presentation.dcm"}
    assert {path.name for path in first.folder.iterdir()} == names
    report = pydicom.dcmread(first.folder / "report.dcm")
    content = hd.sr.Comprehensive3DSR.from_dataset(report).content
    scores = {
        group.tracking_identifier: measured.value
        for group in content.get_image_measurement_groups()
        for measured in group.get_measurements()
        if measured.name.meaning == "Probability"
    }
    assert scores == pytest.approx(json.loads(first.numbers.read_text())["scan"], abs=1e-4)
    assert (
        len(report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence) == 11
    )
    (again,) = predict(scan, skip_existing=True, **given).series
    assert not again.is_new
    (anew,) = predict(scan, **given).series
    assert anew.folder == first.folder
    assert pydicom.dcmread(anew.folder / "report.dcm").SOPInstanceUID == report.SOPInstanceUID


@pytest.mark.slow
def test_uids_that_are_none_are_told(run, tmp_path) -> None:
    scan = write_head(tmp_path / "scan", FrameOfReferenceUID=None)
    (found,) = predict(scan, run=run, out=tmp_path / "out", report=False, dicom=True).series
    assert "no legal FrameOfReferenceUID" in json.loads(found.numbers.read_text())["remarks"][-1]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_a_scan_that_is_no_dicom_is_refused_unread_and_others_are_predicted(run, tmp_path, monkeypatch, workers):
    scan = write_head(tmp_path / "scan")
    (tmp_path / "head.nii").write_bytes(nifti_bytes(np.zeros((11, 8, 8), np.int16), np.eye(4)))
    read = []
    monkeypatch.setattr(predict_series, "read_scan", lambda task: read.append(task.scan.path) or read_scan(task))
    monkeypatch.setattr(predict_series, "run_all", lambda function, tasks, **_: ((t, function(t)) for t in tasks))
    given = [scan, tmp_path / "head.nii"]
    found = predict(given, run=run, out=tmp_path / "out", report=False, dicom=True, workers=workers, progress=False)
    assert len(found.series) == 1
    assert [(one.code, "is no DICOM series" in one.text) for one in found.left_out] == [("unreadable", True)]
    assert found.table["error"].notna().tolist() == [False, True]
    assert read == [scan]


def as_frames(folder: Path, file: Path, slices: slice) -> None:
    """Some slices of a series as frames of an enhanced CT."""
    made = [pydicom.dcmread(one) for one in sorted(folder.iterdir())][slices]
    plane = PLANE | {"PixelMeasuresSequence": {"PixelSpacing": made[0].PixelSpacing, "SliceThickness": 5}}
    plane["PlaneOrientationSequence"] = {"ImageOrientationPatient": made[0].ImageOrientationPatient}
    own = [{"PlanePositionSequence": {"ImagePositionPatient": one.ImagePositionPatient}} for one in made]
    stored = np.stack([one.pixel_array for one in made])
    write_enhanced(file, stored, own, plane, sop_uid=f"1.2.9.{len(made)}", FrameOfReferenceUID="1.2.4")


@pytest.mark.slow
def test_an_enhanced_ct_has_results_and_a_stack_of_two_files_is_refused_unread(run, tmp_path, monkeypatch) -> None:
    head = write_head(tmp_path / "head")
    as_frames(head, tmp_path / "one" / "e.dcm", slice(None))
    for name, part in (("a", slice(0, 5)), ("b", slice(5, None))):
        as_frames(head, tmp_path / "two" / f"{name}.dcm", part)
    read = []
    monkeypatch.setattr(predict_series, "read_scan", lambda task: read.append(task.scan.path) or read_scan(task))
    given = {"run": run, "out": tmp_path / "out", "report": False, "dicom": True, "progress": False}
    found = predict([tmp_path / "one", tmp_path / "two"], **given)
    assert read == [tmp_path / "one" / "e.dcm"]
    assert ["11 of 11 frames in 2 files" in one.text for one in found.left_out] == [True]
    (only,) = found.series
    explanation = pydicom.dcmread(only.folder / "explanation.dcm")
    frames = [
        group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
        for group in explanation.PerFrameFunctionalGroupsSequence
    ]
    assert sorted(frames) == [*range(1, 12)]


@pytest.mark.parametrize("workers", [0, 2])
def test_nothing_but_a_scan_that_is_no_dicom_ends_in_one_line(run, tmp_path, capsys, workers) -> None:
    (tmp_path / "head.nii").write_bytes(nifti_bytes(np.zeros((11, 8, 8), np.int16), np.eye(4)))
    given = ["predict", str(tmp_path / "head.nii"), "--run", str(run), "--out", str(tmp_path / "out"), "--dicom"]
    with pytest.raises(SystemExit) as ended:
        main([*given, "--workers", str(workers)])
    assert ended.value.code == 2
    assert "is no DICOM series, to which results could belong; leave out --dicom" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
