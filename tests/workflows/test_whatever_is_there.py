"""Prediction of folders that hold more than one good series: what is chosen, what fails, what is not scored."""

import json
from pathlib import Path

import numpy as np
import pytest

from ichformer import LABELS
from ichformer.cli import main
from ichformer.evaluation.scorable import NO_BRAIN
from ichformer.training.runs.outputs import TRAINED_NAME
from ichformer.training.runs.run import Run
from ichformer.workflows.predict_scans import predict
from ichformer.workflows.prediction import read_scan as module
from tests.ct.builders import write_series
from tests.reporting.pages import mapped_labels
from tests.workflows.counter import open_counter, write_head

SCANS_ONLY = {"slice": [], "scan": ["intraparenchymal", "any"]}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    return open_counter(tmp_path / "runs" / "counter", monkeypatch)


def whole_head(folder: Path, **tags: object) -> Path:
    """A head that is long enough to be chosen."""
    return write_head(folder, step_mm=9.0, degrees=0.0, **tags)


def study_of_three(folder: Path) -> Path:
    """A plain head, the same for bone, and the same with contrast medium."""
    whole_head(folder / "a", series_uid="1.2.1", ConvolutionKernel="BONE")
    whole_head(folder / "b", series_uid="1.2.2", ConvolutionKernel="STANDARD", SeriesDescription="PLAIN")
    whole_head(folder / "c", series_uid="1.2.3", ContrastBolusAgent="IOPAMIDOL")
    return folder


def write_flask(folder: Path, **tags: object) -> Path:
    """Water in air: no skull, no brain."""
    rows, columns = np.indices((150, 160)) - 75
    stored = np.where(np.hypot(rows, columns) < 60, 1024, 24).astype(np.int16)
    write_series(folder, np.repeat(stored[None], 20, axis=0), **tags)
    return folder


def write_chest(folder: Path) -> Path:
    """Soft tissue with two lungs, ribs all round and a spine."""
    rows, columns = np.indices((160, 160)) - 80
    body = (rows / 55) ** 2 + (columns / 75) ** 2
    hu = np.full((24, 160, 160), -1000, np.int16)
    hu[:, body < 1] = 45
    for side in (-1, 1):
        hu[:, (rows / 38) ** 2 + ((columns - side * 36) / 26) ** 2 < 1] = -850
    angle = np.arctan2(rows, columns)
    for s in range(24):
        hu[s, (body > 0.8) & (body < 0.92) & (np.sin(14 * angle + s) > 0.3)] = 400
    hu[:, np.hypot(rows - 38, columns) < 9] = 500
    write_series(folder, (hu + 1024).astype(np.int16), PixelSpacing=[2.2, 2.2], SliceThickness=5)
    return folder


@pytest.mark.slow
def test_the_chosen_series_alone_is_predicted(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = study_of_three(tmp_path / "study")
    result = predict(study, run=run.path, out=tmp_path / "out")
    assert [one.number for one in result.series] == [2]
    (of_the_small_head,) = result.series[0].values["remarks"]
    assert of_the_small_head.startswith("Its scores may mean nothing: the brain's largest section measures 54 x 48 mm")
    assert [(one.number, one.code, one.text.split(":")[0]) for one in result.left_out] == [
        (1, "not_chosen", "bone_kernel"),
        (3, "not_chosen", "contrast"),
    ]
    main(["predict", str(study), "--run", str(run.path), "--out", str(tmp_path / "printed")])
    said = capsys.readouterr().out
    assert "series 3 not scored: contrast: ContrastBolusAgent IOPAMIDOL" in said
    assert "--all-series" in said
    main(["predict", str(study), "--run", str(run.path), "--out", str(tmp_path / "printed"), "--all-series", "--json"])
    values = json.loads(capsys.readouterr().out)
    assert [one["number"] for one in values["series"]] == [1, 2, 3]
    assert values["left_out"] == []
    assert ["contrast" in " ".join(one["remarks"]) for one in values["series"]] == [False, False, True]


def test_a_study_of_one_series_is_predicted_and_what_speaks_against_it_is_said(run: Run, tmp_path: Path) -> None:
    scan = whole_head(tmp_path / "scan", ContrastBolusAgent="IOPAMIDOL")
    (only,) = predict(scan, run=run.path, out=tmp_path / "out").series
    remark, of_the_small_head = only.values["remarks"]
    assert of_the_small_head.startswith("Its scores may mean nothing: the brain's largest section measures 54 x 48 mm")
    assert remark.endswith("contrast: ContrastBolusAgent IOPAMIDOL")
    assert remark in only.report.read_text()


def test_each_study_has_a_series_of_its_own(run: Run, tmp_path: Path) -> None:
    for number in (1, 2):
        folder = tmp_path / "studies" / str(number)
        uids = {"StudyInstanceUID": f"1.{number}"}
        whole_head(folder / "a", series_uid=f"1.{number}.1", SeriesDescription="PLAIN", **uids)
        whole_head(folder / "b", series_uid=f"1.{number}.2", ConvolutionKernel="BONE", **uids)
    result = predict(tmp_path / "studies", run=run.path, out=tmp_path / "out")
    assert [one.number for one in result.series] == [1, 3]


@pytest.mark.parametrize(
    "error", [MemoryError("no room"), RecursionError("too deep"), KeyError("x\x1b[31m"), OSError(5, "x")]
)
def test_whatever_happens_to_one_series_the_others_get_their_reports(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    study, read = study_of_three(tmp_path / "study"), module.read_volume

    def fails_for_the_first(scan: object, **options: object) -> object:
        if scan.uid == "1.2.1":
            raise error
        return read(scan, **options)

    monkeypatch.setattr(module, "read_volume", fails_for_the_first)
    result = predict(study, run=run.path, out=tmp_path / "out", all_series=True)
    assert [one.number for one in result.series] == [2, 3]
    code = "no_memory" if isinstance(error, MemoryError) else "failed"
    assert [(one.number, one.code) for one in result.left_out] == [(1, code)]
    assert type(error).__name__ in result.left_out[0].text
    assert "\x1b" not in result.left_out[0].text


def test_files_that_cannot_be_read_are_listed(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = whole_head(tmp_path / "study")
    (study / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\x02\x00\x00\x00UL\xff\xff")
    (study / "notes.txt").write_text("no picture")
    aside = {one.path.name: one.code for one in predict(study, run=run.path, out=tmp_path / "out").set_aside}
    assert aside.keys() == {"broken.dcm", "notes.txt"}
    assert aside["notes.txt"] == "not_dicom"
    main(["predict", str(study), "--run", str(run.path), "--out", str(tmp_path / "printed")])
    said = capsys.readouterr().out
    assert "2 files were not read:" in said
    assert "broken.dcm" in said
    assert "not_dicom" in said


@pytest.mark.parametrize("write", [write_flask, write_chest])
def test_a_scan_without_a_brain_is_not_scored(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], write
) -> None:
    scan = write(tmp_path / "scan")
    (only,) = predict(scan, run=run.path, out=tmp_path / "out").series
    assert only.values["scored"] is False
    assert only.values["reason"] == {"code": "no_brain", "text": NO_BRAIN.text}
    assert set(only.values["scan"].values()) == {None}
    assert {score for one in only.values["slices"] for score in one["scores"].values()} == {None}
    assert only.values["thresholds"]["scan"] == {}
    page = only.report.read_text()
    assert f"<strong>Not scored</strong> {NO_BRAIN.text}" in page
    assert 'class="bar"' not in page
    assert "any" not in mapped_labels(page)
    assert 'id="suspicious"' not in page
    main(["predict", str(scan), "--run", str(run.path), "--out", str(tmp_path / "printed")])
    said = capsys.readouterr().out
    assert f"series 1: NOT SCORED. {NO_BRAIN.text}" in said
    assert "any 0" not in said


def test_scores_of_outputs_that_were_never_trained_are_not_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = open_counter(tmp_path / "run", monkeypatch, **{TRAINED_NAME: SCANS_ONLY})
    # The counter counts pixels over a threshold, and such a step has no gradient at the input.
    monkeypatch.setattr("ichformer.workflows.prediction.score_scan.DEFAULT_METHOD", "hires_cam")
    scan = whole_head(tmp_path / "scan")
    (only,) = predict(scan, run=run.path, out=tmp_path / "out").series
    assert only.values["scored"] is True
    assert {label for label in LABELS if only.values["scan"][label] is not None} == {"intraparenchymal", "any"}
    assert {score for one in only.values["slices"] for score in one["scores"].values()} == {None}
    assert only.values["model"]["trained_outputs"] == SCANS_ONLY
    page = only.report.read_text()
    assert "slice scores were never trained" in page
    assert page.count('class="bar"') == 2
    assert "any" in mapped_labels(page)
    assert "subdural" not in mapped_labels(page)
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert data["slice_labels"] == []
    # The map is that of the scan's score, which is the highest slice's.
    assert data["opening"] == data["heat"][0]["strongest"] == 6
    main(["predict", str(scan), "--run", str(run.path), "--out", str(tmp_path / "printed")])
    said = capsys.readouterr().out
    assert "series 1: any 0.82, intraparenchymal 0.82\n" in said
    assert "never trained for epidural, intraventricular, subarachnoid or subdural: no scans" in said


def test_a_run_without_the_record_says_that_it_is_unknown(run: Run, tmp_path: Path) -> None:
    (only,) = predict(whole_head(tmp_path / "scan"), run=run.path, out=tmp_path / "out").series
    assert only.values["model"]["trained_outputs"] is None
    assert "unknown: the run was trained before" in only.report.read_text()
    assert only.values["scan"]["epidural"] is not None


def test_series_of_one_uid_get_a_folder_each(run: Run, tmp_path: Path) -> None:
    """Anonymisers give one UID to everybody: no report may take another one's place."""
    folder = tmp_path / "study"
    whole_head(folder / "a", series_uid="1.2.3")
    rows = np.full((11, 100, 100), 1064, np.int16)
    write_series(folder / "b", rows, [9.0 * s for s in range(11)], series_uid="1.2.3")
    result = predict(folder, run=run.path, out=tmp_path / "out", all_series=True)
    assert len(result.series) == 2
    assert len({one.report for one in result.series}) == len(list((tmp_path / "out").iterdir())) == 2
    # Neither in another call, though all UIDs are the same.
    again = predict(whole_head(tmp_path / "other", series_uid="1.2.3"), run=run.path, out=tmp_path / "out")
    other = predict(write_flask(tmp_path / "flask", series_uid="1.2.3"), run=run.path, out=tmp_path / "out")
    assert again.series[0].report in {one.report for one in result.series}
    assert other.series[0].report not in {one.report for one in result.series}
