import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ichformer import LABELS
from ichformer.cli import main
from ichformer.ct.io.scans import read_volume
from ichformer.errors import InputError
from ichformer.evaluation.ood import OOD_NAME, fit_ood, write_ood
from ichformer.evaluation.picture_features import PICTURE_FEATURES
from ichformer.evaluation.thresholds import THRESHOLDS_NAME, Threshold, Thresholds
from ichformer.explanations.heat_map import heat_map
from ichformer.inference.scoring import score
from ichformer.pipeline.preparation.recipe import prepare_volume
from ichformer.training.runs.run import Run
from ichformer.workflows.predict_scans import PredictionResult, predict
from tests.ct.builders import write_series
from tests.evaluation.tables import write_thresholds
from tests.reporting.pages import mapped_labels
from tests.workflows.counter import HOTTEST, SIZE, open_counter, write_head

IDENTITY = {"PatientName": "DOE^JANE", "PatientBirthDate": "19500102", "PatientID": "MRN-4711", "StudyDate": "20240229"}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run of the counter that says nothing of its training, opened whatever path is named."""
    return open_counter(tmp_path / "runs" / "counter", monkeypatch)


def blobs(page: str, kind: str) -> list[str]:
    return re.findall(rf'<script type="text/plain" id="{kind}">([^<]*)</script>', page)[0].split("\n")


def test_writes_a_page_and_the_same_as_numbers(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = predict(write_head(tmp_path / "scan", SeriesDescription="HEAD 5MM", **IDENTITY), run=run.path, out=out)
    assert not result.left_out
    (only,) = result.series
    assert only.report.parent.parent == out
    assert {path.name for path in only.report.parent.iterdir()} == {"report.html", "prediction.json"}
    values = json.loads(only.numbers.read_text())
    assert values == json.loads(json.dumps(only.values))
    assert [entry["slice"] for entry in values["slices"]] == list(range(1, 12))
    bloody = [entry["slice"] for entry in values["slices"] if entry["scores"]["any"] > 0.5]
    assert 7 in bloody
    assert set(bloody) <= set(range(5, 10))
    assert values["scan"]["any"] == max(entry["scores"]["any"] for entry in values["slices"])
    assert values["scan"]["epidural"] == pytest.approx(1 / (1 + np.exp(5)), abs=1e-5)
    found = [note["code"] for note in values["audit"]["notes"]]
    assert found == ["tilt", "pixels_not_square", "head_cut_off", "head_size_doubtful", "tilt_removed"]
    page = only.report.read_text()
    assert "a part of the head is not in this scan" in page
    assert len(blobs(page, "hu")) == 11
    # A map for "any" and for every subtype that is likely, not for the others.
    assert mapped_labels(page) == set(LABELS) - {"epidural"}
    for secret in (*IDENTITY.values(), "DOE", "MRN", "1.2.3"):
        assert secret not in only.numbers.read_text()
        assert secret not in re.sub(r"[A-Za-z0-9+/=]{100,}", "", page)


def test_a_scan_unlike_the_training_is_said_to_be(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    size = 6 + len(PICTURE_FEATURES)
    write_ood(fit_ood(rng.normal(size=(30, size)), rng.normal(size=(40, size))), run.path / OOD_NAME)
    scan = write_head(tmp_path / "scan", PatientAge="045Y", PatientSex="F")
    main(["predict", str(scan), "--run", str(run.path), "--out", str(tmp_path / "printed")])
    assert "lies outside what the model was trained on" in capsys.readouterr().out
    (only,) = predict(scan, run=run.path, out=tmp_path / "out").series
    assert only.values["familiarity"] == {"percentile": 100.0, "scans": 40}
    assert "lies outside what the model was trained on" in only.report.read_text()
    assert not {"age_years", "sex"} & only.values["audit"].keys()


def test_identity_is_on_the_page_alone_where_it_was_asked_for(run: Run, tmp_path: Path) -> None:
    scan = write_head(tmp_path / "scan", **IDENTITY)
    (only,) = predict(scan, run=run.path, out=tmp_path / "out", with_identity=True).series
    assert all(value in only.report.read_text() for value in IDENTITY.values())
    assert not any(value in only.numbers.read_text() for value in IDENTITY.values())
    (only,) = predict(scan, run=run.path, out=tmp_path / "out").series
    assert not any(value in only.report.read_text() for value in IDENTITY.values())


@pytest.mark.parametrize("degrees", [0.0, 18.0, -18.0])
def test_the_heat_map_lies_over_the_blood_of_the_scan_as_it_was_read(run: Run, tmp_path: Path, degrees: float) -> None:
    volume = read_volume(write_head(tmp_path / "scan", degrees=degrees))
    prepared = prepare_volume(volume, run.prepare)
    assert prepared.hu.shape[1:] == (SIZE, SIZE)
    what = (run.objective, run.variables, prepared)
    maps, _ = heat_map(*what, volume, label="any", level="slice", method="hires_cam")
    assert maps.shape == (11, 128, 128)
    assert maps.min() == 0
    assert maps.max() == pytest.approx(1)
    weights = maps[HOTTEST[0]]
    rows, columns = (np.indices(weights.shape) + 0.5) * np.array([150, 160]).reshape(2, 1, 1) / 128 - 0.5
    centre = [(axis * weights).sum() / weights.sum() for axis in (rows, columns)]
    # To a quarter of a patch: 8 of 96 pixels across 96 mm, that is 8 mm or 16 rows of 0.5 mm.
    np.testing.assert_allclose(centre, HOTTEST[1:], atol=4)
    scan_scores, slice_scores, _ = score(*what)
    assert slice_scores.shape == (11, 6)
    np.testing.assert_array_equal(scan_scores, slice_scores.max(axis=0))
    # Where there is no blood, only the rim of the skull passes through its HU.
    assert maps[[0, 1, 2, 3, 9, 10]].max() < 0.3


def test_frozen_thresholds_decide_what_is_raised(run: Run, tmp_path: Path) -> None:
    scan = write_head(tmp_path / "scan")
    frozen = {"any": 0.3, "subdural": 1.0, "epidural": None}
    rules = ("sensitivity>=0.90", "youden")
    thresholds = tuple(
        Threshold(
            level="scan", label=label, rule=rule, value=value if rule == rules[0] else 0.123,
            sensitivity=None, specificity=None, n=9, n_positive=4,
        )
        for label, value in frozen.items()
        for rule in rules
    )  # fmt: skip
    write_thresholds(Thresholds(split="validation", n_patients=9, thresholds=thresholds), run.path / THRESHOLDS_NAME)
    (only,) = predict(scan, run=run.path, out=tmp_path / "out").series
    assert only.values["thresholds"]["scan"] == {"any": 0.3, "subdural": 1.0}
    page = only.report.read_text()
    assert "subarachnoid" in mapped_labels(page)
    assert "subdural" not in mapped_labels(page)
    assert "sensitivity&gt;=0.90, frozen on 9 patients of the split &#39;validation&#39;" in page
    assert "above the threshold of 0.300" in page


def two_and_a_half(tmp_path: Path) -> Path:
    """Two readable series and one of a single slice."""
    folder = tmp_path / "study"
    write_head(folder / "a", series_uid="1.2.3")
    write_head(folder / "b", series_uid="1.2.4")
    write_series(folder / "c", np.zeros((1, 16, 16), np.int16), series_uid="1.2.5")
    return folder


def numbers_of(result: PredictionResult) -> list[int]:
    return [series.number for series in result.series]


@pytest.mark.slow
def test_every_readable_series_or_the_one_asked_for(run: Run, tmp_path: Path) -> None:
    study = two_and_a_half(tmp_path)
    result = predict(study, run=run.path, out=tmp_path / "out", all_series=True)
    assert numbers_of(result) == [1, 2]
    assert [(one.number, one.code) for one in result.left_out] == [(3, "unreadable")]
    assert "one slice" in result.left_out[0].text
    assert len(list((tmp_path / "out").iterdir())) == 2
    assert numbers_of(predict(study, run=run.path, out=tmp_path / "out", series="2")) == [2]
    assert numbers_of(predict(study, run=run.path, out=tmp_path / "out", series="1.2.3")) == [1]
    assert len(list((tmp_path / "out").iterdir())) == 2


@pytest.mark.parametrize(
    ("options", "where", "message"),
    [
        ({"series": "4"}, "study", "--series 4: is none of the 3 series there"),
        ({"series": "3"}, "study", "one slice"),
        ({"series": "1", "all_series": True}, "study", "not both"),
        ({}, "study", r"none of 3 series is a plain axial head CT \(1: short: 48 mm; 2: short"),
        ({}, "empty", "holds no files"),
        ({}, "text", "no CT series among 1 files"),
        ({}, "nowhere", "does not exist"),
    ],
)
def test_bad_input_is_named_and_leaves_nothing(
    run: Run, tmp_path: Path, options: dict[str, Any], where: str, message: str
) -> None:
    two_and_a_half(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("no picture")
    with pytest.raises(InputError, match=message):
        predict(tmp_path / where, run=run.path, out=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_missing_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no run here"):
        predict(write_head(tmp_path / "scan"), run=tmp_path / "nothing", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
