"""A run with a lesion map beside the masks of a store: what is frozen, written and said."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from ichformer.evaluation.lesions.rows import COLUMNS
from ichformer.evaluation.lesions.summary import summarise_lesions
from ichformer.lesions.frozen import LESIONS_NAME, read_frozen_lesions
from ichformer.objectives.config import ObjectiveConfig
from ichformer.pipeline.store.records import Store
from ichformer.pipeline.store.resplit import resplit
from ichformer.testing import tiny_cohort
from ichformer.training.config import ModelConfig
from ichformer.training.runs.run import Run
from ichformer.workflows.evaluate_run import evaluate
from ichformer.workflows.exports.export_run import export_run
from ichformer.workflows.parts.lesion_table import NO_MASK
from ichformer.workflows.predict_scans import predict
from ichformer.workflows.train_run import train_and_freeze
from tests.shared import tiny_training


@pytest.mark.slow
def test_thresholds_are_frozen_after_training_and_lesions_are_evaluated_and_predicted(tiny_store, tmp_path):
    store = Store.open(tiny_store)
    # The split "val" gets a patient whose masks hold a lesion on these coarse pixels.
    seen = [int(np.count_nonzero(store.read(row).mask)) for row in range(len(store.index))]
    patients = store.index["patient"]
    splits = store.index["split"].mask(patients == patients[int(np.argmax(seen))], "val")
    store = resplit(store, splits, tmp_path / "store")
    assert any(seen[row] for row in store.rows("test"))
    config = dataclasses.replace(
        tiny_training(store.path),
        steps=2,
        model=ModelConfig(name="cnn2d_nano", lesions=True),
        objective=ObjectiveConfig(windows=("brain",), lesion_weight=1.0),
    )
    train_and_freeze(config, tmp_path / "run", progress=False)
    run = Run.open(tmp_path / "run")
    frozen = read_frozen_lesions(tmp_path / "run" / LESIONS_NAME, model=run.fingerprint)
    assert frozen.split == "val"
    exported = export_run(run, tmp_path / "exported", store=store)
    again = read_frozen_lesions(exported.path / LESIONS_NAME, model=exported.fingerprint)
    assert [one.label for one in again.labels] == [one.label for one in frozen.labels]
    # One scan of the split has lost its mask.
    masks = store.index["has_mask"].to_numpy().copy()
    masks[store.rows("test")[0]] = False
    store = dataclasses.replace(store, index=store.index.assign(has_mask=masks))
    summary = evaluate(run, store, tmp_path / "out", replicates=20)
    table = pd.read_csv(tmp_path / "out" / "lesions.csv").fillna({"not_scored": ""})
    assert tuple(table) == COLUMNS
    assert [one.label for one in summary.lesions] == [one.label for one in frozen.labels]
    assert summary.lesions[0].n == len(store.rows("test")) - 1
    assert summarise_lesions(table, replicates=20) == summary.lesions
    assert sum(NO_MASK in warning for warning in summary.warnings) == len(frozen.labels)
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert [one["label"] for one in written["lesions"]] == [one.label for one in frozen.labels]
    assert "Bland-Altman" in (tmp_path / "out" / "evaluation.html").read_text()

    scan = tiny_cohort(tmp_path / "scan", scans=1, prevalence=1.0) / "dicom"
    (predicted,) = predict(scan, out=tmp_path / "reports", run=tmp_path / "run", progress=False).series
    assert list(predicted.values["ml"]) == [one.label for one in frozen.labels]
    lesions = predicted.values["lesions"]
    assert (lesions["midline_shift_mm"] is None) == bool(lesions["midline_reason"])
    assert predicted.report is not None
    assert "Shift of the midline" in predicted.report.read_text()
