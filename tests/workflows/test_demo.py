"""The demo's way from scans to a report, with tiny scans and two steps."""

import dataclasses
import json

import pandas as pd
import pytest

from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.store.records import Store
from ichformer.testing import tiny_cohort
from ichformer.training.config import ModelConfig, ParallelConfig
from ichformer.workflows import demo as demo_module
from tests.stores import prepare_here


@pytest.mark.full(minutes=1)
def test_the_demo_evaluates_on_the_unseen_site_and_reports_its_largest_bleed(tmp_path, monkeypatch):
    def tiny_config(store, *, fast, seed):
        config = demo_config(store, fast=fast, seed=seed)
        data = dataclasses.replace(config.data, batch_size=2, num_slices=4)
        model, parallel = ModelConfig(name="slice_vit_nano"), ParallelConfig(data=1)
        return dataclasses.replace(config, data=data, model=model, parallel=parallel, steps=2)

    demo_config = demo_module.demo_config
    monkeypatch.setattr(demo_module, "demo_config", tiny_config)
    monkeypatch.setattr(demo_module, "write_phantom_cohort", lambda out, *, seed, **_: tiny_cohort(out, scans=12))
    monkeypatch.setattr(demo_module, "UNSEEN_SITE", "tiny-b")
    monkeypatch.setattr(demo_module, "PREPARE", PrepareConfig(size=32))
    monkeypatch.setattr(
        "ichformer.workflows.prepare_cohort.prepare_index",
        lambda index, out, *, config, **_: prepare_here(index, out, config),
    )
    result = demo_module.demo(tmp_path / "demo", fast=True, progress=False)
    index = Store.open(tmp_path / "demo-data" / "store").index
    assert set(index[index["split"] == "test"]["site"]) == {"tiny-b"}
    assert result.summary.split == "test"
    assert (tmp_path / "demo" / "evaluation" / "evaluation.html").exists()
    assert result.report.is_relative_to(tmp_path / "demo" / "report")
    assert result.shipped_report.is_relative_to(tmp_path / "demo" / "report-shipped")
    assert result.shipped_report.exists()
    prediction = json.loads((result.report.parent / "prediction.json").read_text(encoding="utf-8"))
    bleeds_ml = pd.read_csv(tmp_path / "demo-data" / "cohort" / "contents.csv", index_col="series").filter(like="_ml")
    unseen = index[index["split"] == "test"].set_index("series")
    largest = bleeds_ml.loc[unseen.index].sum(axis=1).idxmax()
    assert len(prediction["slices"]) == unseen.loc[largest, "n_slices"]
