"""A model whose training knew labels of scans alone, on a store without masks and without validation.

It is evaluated at scan level, without thresholds, and says why; its slice scores and scans without a brain have
no score.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest

from ichformer import LABELS
from ichformer.cohorts.registry import COHORTS
from ichformer.ct.fingerprint import fingerprint
from ichformer.ct.io.scans import find_scans, read_volume
from ichformer.evaluation.scorable import NO_BRAIN
from ichformer.evaluation.summary import summarise
from ichformer.evaluation.tables.checked import check_table
from ichformer.evaluation.tables.files import read_predictions
from ichformer.evaluation.tables.table import NOT_SCORED, score_columns
from ichformer.inference.trained import open_trained
from ichformer.pipeline.store.records import Store
from ichformer.testing import tiny_cohort
from ichformer.training.build import build_objective
from ichformer.training.config import DataConfig, ModelConfig, TrainConfig
from ichformer.training.runs.outputs import TRAINED_NAME
from ichformer.training.runs.run import Run, initial_state, note_scans
from ichformer.training.transfer import reached_outputs
from ichformer.workflows.evaluate_run import NO_VALIDATION, evaluate
from ichformer.workflows.make_ensemble import make_ensemble
from ichformer.workflows.measure_robustness import corruption_benchmark
from ichformer.workflows.parts.predict_store import predict_store
from ichformer.workflows.prediction.read_scan import ScanTask, read_scan
from ichformer.workflows.prediction.score_scan import SEEN, SLICES_BY_SCANS, Reader, score_scan
from tests.ct.builders import write_series
from tests.evaluation.tables import prediction_table
from tests.stores import CONFIG, prepare_here


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store with scan labels, none for "epidural"; a run that trained on it; and one test scan that is no head."""
    folder = tmp_path_factory.mktemp("scans")
    index = COHORTS["phantom"](tiny_cohort(folder / "cohort", scans=12), cache=folder / "cache")
    index = index.assign(mask="", slice_labels="", epidural=np.nan)
    index["split"] = np.where(index["patient"].isin(sorted(set(index["patient"]))[:5]), "train", "test")
    rows, columns = np.indices((64, 64)) - 32
    flask = np.where(np.hypot(rows, columns) < 25, 1064, 24).astype(np.int16)
    write_series(folder / "flask", np.repeat(flask[None], 9, axis=0), PixelSpacing=[3.6, 3.6])
    named = dict.fromkeys(("patient", "study", "series"), "flask")
    other = index.iloc[-1:].assign(**named, path=str(folder / "flask"), split="test")
    store = prepare_here(pd.concat([index, other], ignore_index=True), folder / "store")
    path = folder / "run"
    path.mkdir()
    note_scans(path, store.index.iloc[store.rows("train")])
    config = TrainConfig(
        data=DataConfig(store=str(store.path)), model=ModelConfig(name="slice_vit_nano", scan_pool="attention")
    )
    objective = replace(build_objective(config), slice_labels=(), scan_labels=LABELS[1:])
    params = jax.jit(lambda: initial_state(objective, config, CONFIG.size))().params
    reached = reached_outputs(config, objective, params, size=CONFIG.size)
    made = Run(
        path=path,
        config=config,
        prepare=CONFIG,
        objective=objective,
        params=params,
        step=1,
        facts={"prepare": asdict(CONFIG), TRAINED_NAME: reached.to_json()},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "open", classmethod(lambda cls, path, given=None: made))
        yield folder


@pytest.mark.slow
def test_scores_that_mean_nothing_are_not_given(folder):
    run, store = open_trained(folder / "run"), Store.open(folder / "store")
    assert run.trained_outputs.to_json() == {"slice": [], "scan": list(LABELS[1:])}
    table = predict_store(run, store, "test")
    slices, scans = table[table["slice"] != ""], table[table["slice"] == ""]
    assert slices[score_columns()].isna().all(axis=None)
    assert slices[NOT_SCORED].str.contains("slice scores were never trained|No brain").all()
    flask = scans["series"] == "flask"
    assert scans.loc[flask, score_columns()].isna().all(axis=None)
    assert scans.loc[flask, NOT_SCORED].tolist() == [NO_BRAIN.text]
    assert scans.loc[~flask, score_columns(LABELS[1:])].notna().all(axis=None)
    assert scans.loc[~flask, "score_epidural"].isna().all()


@pytest.mark.slow
def test_the_run_is_judged_without_thresholds_and_says_why(folder, tmp_path):
    found = evaluate(folder / "run", folder / "store", tmp_path, replicates=20)
    assert [level.level for level in found.levels] == ["scan"]
    scans = Store.open(folder / "store").index["split"].eq("test").sum()
    assert found.levels[0].n == scans - 1
    assert found.thresholds_from is None
    values, page = json.loads((tmp_path / "metrics.json").read_text()), (tmp_path / "evaluation.html").read_text()
    assert NO_VALIDATION in values["warnings"]
    assert "no thresholds: neither the run nor this store has validation scans" in page
    assert f"1 of {scans} scans were not scored" in page
    assert "slice scores were never trained" in page
    assert "trained outputs of scans: intraparenchymal" in page
    assert {(one["level"], one["label"], one["n"]) for one in values["not_scored"]} >= {
        ("scan", "", 1),
        ("scan", "epidural", scans - 1),
    }
    assert read_predictions(tmp_path / "predictions.csv").rows[NOT_SCORED].ne("").sum() > scans


def test_robustness_needs_neither_masks_nor_validation(folder, tmp_path):
    found = corruption_benchmark(
        folder / "run", folder / "store", tmp_path, corruptions=("thickness",), replicates=20, progress=False
    )
    assert [level.level for level in found.levels] == ["scan"]
    assert found.ood == ()
    scans = Store.open(folder / "store").index["split"].eq("test").sum()
    assert found.levels[0].n == scans - 1
    saved = json.loads((tmp_path / "robustness.json").read_text())
    assert saved["not_scored"][0]["reason"] == NO_BRAIN.text or saved["not_scored"][-1]["n"] == scans - 1


@pytest.mark.slow
def test_an_ensemble_is_trained_where_every_member_is(folder, tmp_path):
    make_ensemble([folder / "run"], folder / "store", tmp_path / "both", split="test", views=("plain", "flip"))
    both = open_trained(tmp_path / "both")
    assert both.trained_outputs == open_trained(folder / "run").trained_outputs
    table = predict_store(both, Store.open(folder / "store"), "test")
    assert table.loc[table["slice"] != "", score_columns()].isna().all(axis=None)


@pytest.mark.slow
@pytest.mark.parametrize("slice_labels", [(), LABELS])
def test_a_scan_is_told_where_the_scores_of_its_slices_come_from(folder, tmp_path, slice_labels):
    # With pooling by maximum the labels of scans train the slices too; nobody has labelled one.
    made = open_trained(folder / "run")
    config = replace(made.config, model=ModelConfig(name="slice_vit_nano", scan_pool="max"))
    objective = replace(build_objective(config), slice_labels=slice_labels, scan_labels=LABELS)
    params = jax.jit(lambda: initial_state(objective, config, CONFIG.size))().params
    reached = reached_outputs(config, objective, params, size=CONFIG.size)
    facts = {**made.facts, TRAINED_NAME: reached.to_json()}
    run = replace(made, config=config, objective=objective, params=params, facts=facts)
    (scan,) = find_scans(folder / "flask").series
    task = ScanTask(
        number=0,
        scan=scan,
        config=replace(CONFIG, slice_spacing_mm=3.0),
        window_hu=None,
        with_identity=False,
        with_midline=False,
    )
    read = replace(read_scan(task), not_scored=None)
    reader = Reader(run=run, thresholds=None, usual=None, lesions=None, checked=None)
    reading = score_scan(reader, read, doubt="", with_heat_maps=False)
    assert np.isfinite(reading.slice_scores).all()
    assert SEEN not in reading.remarks
    trained_on = replace(reader, seen=frozenset({fingerprint(read_volume(scan).hu)}))
    assert SEEN in score_scan(trained_on, read, doubt="", with_heat_maps=False).remarks
    odd = read.volume.audit.with_note("head_size_doubtful", "its distances in mm are wrong")
    read = replace(read, volume=replace(read.volume, audit=odd))
    said = score_scan(reader, read, doubt="", with_heat_maps=False).remarks
    assert "Its scores may mean nothing: its distances in mm are wrong." in said
    assert (SLICES_BY_SCANS in reading.remarks) == (not slice_labels)


@pytest.mark.slow
def test_a_level_without_known_labels_has_no_empty_tables():
    table = prediction_table("test", n_patients=12, n_slices=3)
    scans = table[table["slice"] == "0"].assign(slice="")
    unknown = pd.concat([table.assign(**dict.fromkeys(LABELS, np.nan)), scans], ignore_index=True)
    found = summarise(check_table(unknown), replicates=2)
    assert [level.level for level in found.levels] == ["scan"]
    assert "Slice level: no figures, as no slice has a known label." in found.warnings
    unscored = unknown.assign(**{NOT_SCORED: np.where(unknown["slice"] == "", "No brain.", "")})
    # Scans have no scores and slices no labels: what is there is shown.
    unscored.loc[unscored["slice"] == "", score_columns()] = np.nan
    assert summarise(check_table(unscored), replicates=2).levels[0].level == "slice"
    nothing = summarise(check_table(table.assign(**dict.fromkeys(LABELS, np.nan))), replicates=2)
    assert [level.level for level in nothing.levels] == ["slice", "scan"]
