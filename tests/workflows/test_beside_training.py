"""A run that is evaluated while its training goes on."""

import json
import shutil

import pytest

from ichformer.evaluation.ood import OOD_NAME
from ichformer.evaluation.tables.files import read_predictions
from ichformer.evaluation.thresholds import THRESHOLDS_NAME, Thresholds
from ichformer.files.lease import hold
from ichformer.reporting.evaluation.folder import FILES
from ichformer.training.runs.run import Run
from ichformer.workflows.evaluate_run import STILL_TRAINED, evaluate
from ichformer.workflows.parts.frozen import VALIDATION_NAME, is_trained_now
from tests.evaluation.tables import write_thresholds


@pytest.fixture
def run(tmp_path, tiny_run, monkeypatch):
    """A run without what is fixed on validation; plots take most of the time and are left out."""
    monkeypatch.setattr("ichformer.reporting.evaluation.page.level_plots", lambda *_: ())
    shutil.copytree(tiny_run, tmp_path / "run")
    for name in (THRESHOLDS_NAME, VALIDATION_NAME, OOD_NAME):
        (tmp_path / "run" / name).unlink(missing_ok=True)
    return tmp_path / "run"


def names(folder):
    return {path.name for path in folder.iterdir()}


@pytest.mark.slow
def test_nothing_is_kept_in_a_run_that_is_being_trained(run, tiny_store, tmp_path):
    # Of parameters that the training had before it went on.
    stale = Thresholds(split="of other parameters", n_patients=1, thresholds=())
    write_thresholds(stale, run / THRESHOLDS_NAME)
    as_written = (run / THRESHOLDS_NAME).read_bytes()
    (run / OOD_NAME).write_bytes(b"of other parameters")
    with hold(run, what="training"):
        there = names(run)
        summary = evaluate(run, tiny_store, tmp_path / "out", replicates=2)
        assert names(run) == there
    assert STILL_TRAINED in summary.warnings
    assert summary.thresholds_from == "val"
    assert (run / THRESHOLDS_NAME).read_bytes() == as_written
    assert names(tmp_path / "out") == set(FILES)
    assert STILL_TRAINED in json.loads((tmp_path / "out" / "metrics.json").read_text())["warnings"]
    assert "group_familiarity" not in read_predictions(tmp_path / "out" / "predictions.csv").rows


@pytest.mark.slow
def test_after_the_training_thresholds_and_what_fixed_them_are_kept_together(run, tiny_store, tmp_path):
    with hold(run, what="evaluation"):  # another one is keeping them
        assert not is_trained_now(Run.open(run))
        summary = evaluate(run, tiny_store, tmp_path / "first", replicates=2)
    assert not {THRESHOLDS_NAME, VALIDATION_NAME} & names(run)
    assert summary.thresholds_from == "val"
    again = evaluate(run, tiny_store, tmp_path / "second", replicates=2)
    assert {THRESHOLDS_NAME, VALIDATION_NAME} <= names(run)
    assert STILL_TRAINED not in again.warnings
    assert again.to_json() == summary.to_json()
