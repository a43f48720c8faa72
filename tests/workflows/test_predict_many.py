"""Many scans in one call: the table of all, what it may tell, workers, and what an interrupted call leaves to do."""

import csv
import os
import re
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from ichformer.cli import main
from ichformer.cohorts.tables import read_table
from ichformer.ct.io.scans import read_volume
from ichformer.errors import InputError
from ichformer.evaluation.thresholds import THRESHOLDS_NAME, Threshold, Thresholds
from ichformer.reporting.scan.results import PredictionResult
from ichformer.reporting.scan.scores_table import ANOTHER_CHOSEN
from ichformer.reporting.worklist.order import NEEDED, order_scans
from ichformer.training.runs.run import Run
from ichformer.workflows.predict_scans import predict
from ichformer.workflows.prediction import predict_series as module
from tests.ct.builders import ramp, write_series
from tests.evaluation.tables import write_thresholds
from tests.workflows.counter import open_counter, write_head

UID = "1.2.826.77"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    return open_counter(tmp_path / "runs" / "counter", monkeypatch)


def head(folder: Path, number: int, **tags: object) -> Path:
    tags = {"series_uid": f"{UID}.{number}", "StudyInstanceUID": f"{UID}.{number}.0"} | tags
    return write_head(folder, step_mm=9.0, degrees=0.0, PatientName="QUAXLEY", **tags)


def as_nifti(folder: Path, file: Path) -> Path:
    volume = read_volume(folder)
    to_ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine[:, [2, 1, 0, 3]]
    nibabel.save(nibabel.Nifti1Image(volume.hu.transpose(2, 1, 0), to_ras), file)
    return file


def everything(folder: Path) -> list[Path]:
    """A study of two series, an archive, NIfTI, a folder without scans, and one series that cannot be read."""
    head(folder / "quaxley" / "plain", 1)
    head(folder / "quaxley" / "contrast", 2, StudyInstanceUID=f"{UID}.1.0", ContrastBolusAgent="IOPAMIDOL")
    write_series(
        folder / "quaxley" / "scout", ramp(1), series_uid=f"{UID}.9", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]
    )
    archive = Path(shutil.make_archive(str(folder / "quaxley_zip"), "zip", head(folder / "packed", 3)))
    nifti = as_nifti(folder / "packed", folder / "quaxley.nii.gz")
    (folder / "empty_quaxley").mkdir()
    write_series(
        folder / "bad_quaxley", ramp(), [0, 5, 15_000, 15], series_uid=f"{UID}.5", StudyInstanceUID=f"{UID}.5.0"
    )
    return [folder / "quaxley", archive, nifti, folder / "empty_quaxley", folder / "bad_quaxley"]


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


@pytest.mark.slow
def test_every_series_has_a_row_in_the_order_of_the_paths(run: Run, tmp_path: Path, capsys) -> None:
    paths, out = everything(tmp_path / "scans"), tmp_path / "out"
    words = [*map(str, paths), "--run", str(run.path), "--out", str(out), "--csv", str(out / "scores.csv")]
    with pytest.raises(SystemExit) as ended:
        main(["predict", *words, "--no-report"])
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert "2 of 5 series were not predicted; series 5: " in said.err.splitlines()[-1]
    assert "3 predicted, 1 not chosen, 2 failed" in said.out
    assert "rows are named by a key; --with-uids adds the path" in said.out
    rows = rows_of(out / "scores.csv")
    assert [row["number"] for row in rows] == ["1", "2", "3", "4", "5", "6", ""]
    kinds = [row["not_scored"].split(":")[0] or row["error"].split(":")[0] for row in rows]
    # Series are in the order of their folders: that with contrast medium comes first.
    assert kinds == ["not_chosen", "", "", "", "unreadable", "unreadable", "localizer"]
    assert "contrast" in rows[0]["not_scored"]
    assert rows[0]["not_scored"].endswith(ANOTHER_CHOSEN)  # by which the list of scans puts it last
    listed = order_scans(read_table(out / "scores.csv", columns=NEEDED), where="scores.csv").entries
    assert [entry.number for entry in listed] == ["5", "6", "2", "3", "4", "1", ""]
    for row in rows:
        is_predicted = bool(row["folder"])
        assert is_predicted == bool(row["score_any"]) == bool(row["seconds"])
        assert row["positive_any"] == row["threshold_any"] == row["ml_any"] == ""  # nothing is frozen or measured
        if is_predicted:
            assert [file.name for file in (out / row["folder"]).iterdir()] == ["prediction.json"]
    # An archive of the same files is the same scan, and so is NIfTI, but for its UIDs.
    assert rows[2]["score_any"] == rows[3]["score_any"] == rows[1]["score_any"]
    assert len({row["key"] for row in rows if row["key"]}) == 6
    written = b"".join(file.read_bytes() for file in out.rglob("*") if file.is_file()).decode()
    assert "quaxley" not in written.lower()
    assert UID not in written
    assert str(tmp_path) not in written


@pytest.mark.slow
def test_uids_and_names_of_files_where_they_are_asked_for(run: Run, tmp_path: Path) -> None:
    source = head(tmp_path / "scans" / "quaxley", 1).parent
    (plain,) = predict(source, run=run.path, out=tmp_path / "plain", report=False).series
    result = predict(source, run=run.path, out=tmp_path / "out", report=False, with_uids=True)
    (row,) = result.table.to_dict("records")
    assert (row["path"], row["study"], row["series"]) == ("quaxley", f"{UID}.1.0", f"{UID}.1")
    assert len(row["files"].split("; ")) == 11
    assert result.series[0].values["source"] == {name: row[name] for name in ("path", "study", "series", "files")}
    assert "source" not in plain.values
    assert row["key"] == plain.values["key"] == plain.folder.name[-20:]


def new_ones(result: PredictionResult) -> list[bool]:
    return [one.is_new for one in result.series]


@pytest.mark.slow
def test_an_interrupted_call_is_continued(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths, out = [head(tmp_path / "scans" / str(k), k) for k in range(1, 4)], tmp_path / "out"
    asked = {"run": run.path, "out": out, "csv": out / "scores.csv", "skip_existing": True, "progress": False}
    scored, score_scan = [], module.score_scan

    def counted(*given, **options):
        if len(scored) == 2:
            raise KeyboardInterrupt
        scored.append(given)
        return score_scan(*given, **options)

    monkeypatch.setattr(module, "score_scan", counted)
    with pytest.raises(KeyboardInterrupt):
        predict(paths, **asked, report=False)
    assert len(list(out.glob("*/prediction.json"))) == 2
    part = out / "scores.csv.part"
    assert [row["number"] for row in rows_of(part)] == ["1", "2"]
    assert not (out / "scores.csv").exists()
    scored.pop()
    first = predict(paths, **asked, report=False)
    assert new_ones(first) == [False, False, True]
    assert not part.exists()
    monkeypatch.setattr(module, "score_scan", lambda *_, **__: pytest.fail("was predicted again"))
    again = predict(paths, **asked, report=False)
    assert new_ones(again) == [False, False, False]
    assert again.table.drop(columns="seconds").equals(first.table.drop(columns="seconds"))
    assert rows_of(out / "scores.csv")[2]["score_any"] == str(again.table["score_any"][2])
    monkeypatch.setattr(module, "score_scan", score_scan)
    # A file that has changed, a report that was not made, another option.
    os.utime(next(paths[0].iterdir()), ns=(0, 0))
    assert new_ones(predict(paths, **asked, report=False)) == [True, False, False]
    assert new_ones(predict(paths[:1], **asked)) == [True]
    assert new_ones(predict(paths[:1], **asked)) == [False]
    assert new_ones(predict(paths[:1], **asked, with_identity=True)) == [True]
    # One path twice is two series, each with a folder, and both are there the next time.
    assert new_ones(predict(paths[1:2] * 2, **asked, report=False)) == [False, True]
    assert new_ones(predict(paths[1:2] * 2, **asked, report=False)) == [False, False]


@pytest.mark.slow
def test_workers_read_the_same(run: Run, tmp_path: Path) -> None:
    paths = [head(tmp_path / "scans" / str(k), k) for k in range(1, 4)]
    asked = {"run": run.path, "report": False, "progress": False}
    one = predict(paths, **asked, out=tmp_path / "one")
    two = predict(paths, **asked, out=tmp_path / "two", workers=2)
    assert one.table.drop(columns="seconds").equals(two.table.drop(columns="seconds"))
    for a, b in zip(one.series, two.series, strict=True):
        assert a.numbers.read_bytes() == b.numbers.read_bytes()


def test_a_scan_that_kills_its_worker_is_left_out(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed_at_the_first(function, tasks, **_):
        yield tasks[0], None
        yield tasks[1], function(tasks[1])

    monkeypatch.setattr(module, "run_all", killed_at_the_first)
    paths = [head(tmp_path / "scans" / str(k), k) for k in (1, 2)]
    result = predict(paths, run=run.path, out=tmp_path / "out", report=False, workers=2, progress=False)
    assert [one.number for one in result.series] == [2]
    assert [(one.number, one.code) for one in result.left_out] == [(1, "no_memory")]
    assert "fewer --workers" in result.columns["error"][0]


def test_a_full_disk_ends_the_call(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [head(tmp_path / "scans" / str(k), k) for k in (1, 2)]

    def full(folder: Path, files: object) -> None:
        raise InputError("cannot be written (No space left on device)", where=folder, fix="free some space")

    monkeypatch.setattr(module, "write_folder", full)
    with pytest.raises(InputError, match="No space left"):
        predict(paths, run=run.path, out=tmp_path / "out", csv=tmp_path / "scores.csv", progress=False)
    assert not (tmp_path / "scores.csv").exists()


def test_a_score_is_compared_with_its_threshold_before_it_is_rounded(run: Run, tmp_path: Path) -> None:
    scan, out = head(tmp_path / "scan", 1), tmp_path / "out"
    asked = {"run": run.path, "out": out, "report": False}
    score = float(np.float32(1 / (1 + np.exp(np.float32(5)))))
    rounded = 0.006693
    assert score < rounded
    values = {"any": 0.99, "subdural": 0.1, "epidural": (score + rounded) / 2}
    thresholds = tuple(
        Threshold(
            level="scan", label=label, rule="youden", value=value,
            sensitivity=None, specificity=None, n=9, n_positive=4,
        )
        for label, value in values.items()
    )  # fmt: skip
    write_thresholds(Thresholds(split="val", n_patients=9, thresholds=thresholds), run.path / THRESHOLDS_NAME)
    table = predict(scan, **asked).table
    assert table["score_epidural"][0] == rounded > table["threshold_epidural"][0] == values["epidural"]
    assert [table[f"positive_{label}"][0] for label in values] == [0, 1, 0]
    assert table["positive_subarachnoid"].isna().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"csv": "."}, "is a folder"),
        ({"csv": "text/scores.csv"}, "is there and is no folder"),
    ],
)
def test_what_does_not_go_together(run: Run, tmp_path: Path, monkeypatch, options, message) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("no folder")
    with pytest.raises(InputError, match=re.escape(message)):
        predict(["a", "b"], run=run.path, out=tmp_path / "out", **options)
    with pytest.raises(InputError, match="names no scan"):
        predict([], run=run.path, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
