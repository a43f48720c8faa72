"""Scans with labels and targets of their own, from a folder and a CSV to a report."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from ichformer.cohorts.folder.adapter import read_folder
from ichformer.ct.io.scans import read_volume
from ichformer.ct.phantom.make import make_phantom
from ichformer.errors import InputError
from ichformer.evaluation.tables.files import read_predictions
from ichformer.labels import LabelSet
from ichformer.pipeline.store.records import Store
from ichformer.reporting.scan.terminal import format_prediction
from ichformer.testing import TINY_SITES
from ichformer.training.config import DataConfig, ModelConfig, OptimConfig, ParallelConfig, TrainConfig
from ichformer.training.runs.run import Run
from ichformer.training.trainer import run_training
from ichformer.workflows.evaluate_run import evaluate
from ichformer.workflows.make_ensemble import make_ensemble
from ichformer.workflows.opened.open_run import open_run
from ichformer.workflows.parts.predict_store import predict_store
from ichformer.workflows.predict_scans import predict
from ichformer.workflows.train_run import train_and_freeze
from tests.reporting.pages import mapped_labels
from tests.stores import prepare_here

OWN = LabelSet(names=("bleed", "fracture"), targets=("volume_ml",))
PER_SPLIT = {"train": 8, "val": 4, "test": 6}


def write_scans(folder: Path) -> Path:
    """One head for all patients; every second scan has a bright block in it, whose size is the target."""
    volume = make_phantom(1, site=replace(TINY_SITES[0], tilt_deg=0.0)).volume
    z, y, x = volume.spacing_mm
    affine = np.diag([-x, -y, z, 1.0])
    rows = []
    for number, split in enumerate(name for name, count in PER_SPLIT.items() for _ in range(count)):
        noise = np.random.default_rng(number).integers(-3, 4, volume.hu.shape)  # no two scans are the same
        hu, bleed, wide = volume.hu + noise.astype(np.int16), number % 2, 6 + 2 * (number % 5)
        if bleed:
            hu[2:-2, 24:40, 20 : 20 + wide] = 90
        volume_ml = bleed * (len(hu) - 4) * 16 * wide * z * y * x / 1000
        path = folder / "scans" / f"p{number:02d}.nii"
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(hu.transpose(2, 1, 0), affine), path)
        rows.append([f"p{number:02d}", path.name, split, bleed, (number // 2) % 2, f"{volume_ml:.1f}"])
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["patient", "path", "split", "bleed", "fracture", "volume_ml"], *rows])
    return folder


def settings(store: Path, **changes: object) -> TrainConfig:
    config = TrainConfig(
        data=DataConfig(store=str(store), batch_size=4, num_slices=16),
        model=ModelConfig(name="slice_vit_nano", scan_pool="attention"),
        optim=OptimConfig(warmup_steps=2, learning_rate=3e-3),
        parallel=ParallelConfig(data=1),
        steps=24,
        log_every=1,
        ema_decay=0.0,
    )
    return replace(config, **changes)


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """The folder with "scans", "labels.csv", "store" and "run"."""
    folder = write_scans(tmp_path_factory.mktemp("own"))
    found = read_folder(folder / "scans", cache=folder / "cache", labels=folder / "labels.csv", label_set=OWN)
    store = prepare_here(found.index, folder / "store", label_set=OWN)
    assert store.label_set == OWN
    train_and_freeze(settings(store.path), folder / "run", progress=False)
    return folder


@pytest.mark.slow(minutes=2)
def test_a_training_learns_its_own_labels_and_records_them(own):
    lines = [json.loads(line) for line in (own / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert np.mean(losses[-4:]) < 0.8 * np.mean(losses[:4])
    facts = json.loads((own / "run" / "run.json").read_text())
    assert facts["label_set"] == {"names": ["bleed", "fracture"], "targets": ["volume_ml"]}
    assert facts["trained_outputs"]["scan"] == ["bleed", "fracture", "volume_ml"]
    volumes = Store.open(own / "store").index.query("split == 'train'")["volume_ml"]
    assert facts["label_statistics"]["scan"]["means"] == pytest.approx([volumes.mean()])
    assert facts["label_statistics"]["scan"]["spreads"] == pytest.approx([volumes.std(ddof=0)])
    assert facts["label_statistics"]["scan"]["log_odds"] == [0.0, 0.0]
    run = Run.open(own / "run")
    assert run.objective.label_set == OWN
    assert run.objective.weights == (1.0, 1.0, 1.0)
    assert run.params["head"]["scan_logits"]["bias"].shape == (3,)


@pytest.mark.slow(minutes=2)
def test_an_evaluation_follows_the_label_set(own, tmp_path):
    summary = evaluate(own / "run", own / "store", tmp_path / "evaluation", replicates=50)
    table = read_predictions(tmp_path / "evaluation" / "predictions.csv", labels=OWN.names).rows
    outputs = ["bleed", "fracture", "score_bleed", "score_fracture", "volume_ml", "pred_volume_ml"]
    assert [name for name in table if name in outputs] == outputs
    scans = table[table["slice"] == ""]
    assert len(scans) == PER_SPLIT["test"]
    assert np.isfinite(scans[outputs].to_numpy()).all()
    assert [label.label for label in summary.levels[-1].labels] == ["bleed", "fracture"]
    (target,) = (one for one in summary.targets if one.level == "scan")
    assert (target.target, target.n) == ("volume_ml", PER_SPLIT["test"])
    errors = scans["pred_volume_ml"] - scans["volume_ml"]
    assert target.bias.value == pytest.approx(errors.mean())
    assert target.mean_absolute_error.value == pytest.approx(errors.abs().mean())
    assert json.loads((tmp_path / "evaluation" / "metrics.json").read_text())["targets"][-1]["target"] == "volume_ml"
    page = (tmp_path / "evaluation" / "evaluation.html").read_text()
    assert "Targets, scan level" in page
    assert "Mean log loss of the labels" in page
    assert "epidural" not in page + (tmp_path / "evaluation" / "model_card.md").read_text()


@pytest.mark.slow(minutes=2)
def test_a_report_names_the_labels_and_the_targets_with_their_unit(own, tmp_path):
    result = predict(own / "scans" / "p13.nii", run=own / "run", out=tmp_path / "report")
    values = result.series[0].values
    assert values["scored"], values["reason"]
    assert list(values["scan"]) == ["bleed", "fracture"]
    assert list(values["targets"]) == ["volume_ml"]
    assert np.isfinite([*values["scan"].values(), *values["targets"].values()]).all()
    table = predict_store(Run.open(own / "run"), Store.open(own / "store"), "test")
    assert (table["pred_volume_ml"] - values["targets"]["volume_ml"]).abs().min() < 1e-3
    said = format_prediction(result)
    assert f"bleed {values['scan']['bleed']:.2f}, fracture {values['scan']['fracture']:.2f}, volume_ml " in said
    page = result.series[0].report.read_text()
    assert "volume_ml" in page
    highest = max(values["scan"], key=values["scan"].get)
    assert highest in mapped_labels(page)
    assert f'"main": "{highest}"' in page


@pytest.mark.slow
def test_an_opened_run_knows_the_thresholds_of_its_own_labels(own):
    opened = open_run(own / "run")
    prediction = opened.predict(read_volume(own / "scans" / "p13.nii"))
    assert tuple(prediction.scan_scores) == opened.labels == OWN.names
    assert set(prediction.thresholds) <= set(OWN.names)
    assert prediction.thresholds


@pytest.mark.slow(minutes=2)
def test_a_store_of_other_labels_is_evaluated_as_far_as_both_know(own, tmp_path):
    some = LabelSet(names=("swelling", "bleed"))
    index = Store.open(own / "store").index
    rows = pd.read_csv(own / "labels.csv").assign(swelling=1).drop(columns=["fracture", "volume_ml"])
    rows.to_csv(tmp_path / "labels.csv", index=False)
    found = read_folder(own / "scans", cache=tmp_path / "cache", labels=tmp_path / "labels.csv", label_set=some)
    store = prepare_here(found.index, tmp_path / "store", label_set=some)
    assert len(store.index) == len(index)
    summary = evaluate(own / "run", store.path, tmp_path / "evaluation", replicates=50)
    assert [label.label for label in summary.levels[-1].labels] == ["bleed"]
    assert summary.targets == ()
    assert any("the store does not have fracture, volume_ml" in warning for warning in summary.warnings)
    assert any("the run does not give swelling" in warning for warning in summary.warnings)


@pytest.mark.slow(minutes=2)
def test_runs_and_stores_that_share_nothing_refuse_each_other(own, tiny_store, tmp_path):
    with pytest.raises(InputError, match="the run has bleed, fracture, volume_ml"):
        evaluate(own / "run", tiny_store, tmp_path / "a")
    config = settings(own / "store")
    config = replace(config, objective=replace(config.objective, labels=("any",)))
    with pytest.raises(InputError, match=r"there is no label 'any' in .*choose of bleed, fracture, volume_ml"):
        run_training(config, tmp_path / "b", progress=False)


@pytest.mark.slow(minutes=2)
def test_a_training_keeps_the_outputs_of_labels_of_the_same_name(own, tmp_path, capsys):
    before = Run.open(own / "run")
    rows = pd.read_csv(own / "labels.csv").assign(swelling=lambda table: (table.index // 3) % 2)
    rows.drop(columns="volume_ml").to_csv(tmp_path / "labels.csv", index=False)
    own_set = LabelSet(names=("swelling", "fracture", "bleed"))
    found = read_folder(own / "scans", cache=tmp_path / "cache", labels=tmp_path / "labels.csv", label_set=own_set)
    store = prepare_here(found.index, tmp_path / "store", label_set=own_set)
    still = OptimConfig(learning_rate=1e-12, warmup_steps=0)
    config = settings(store.path, optim=still, steps=1, init_from=str(own / "run"))
    run_training(config, tmp_path / "run", progress=False)
    assert "labels   kept fracture, bleed; new swelling" in capsys.readouterr().err
    after = Run.open(tmp_path / "run")
    ours, theirs = (run.params["head"]["scan_logits"]["kernel"] for run in (after, before))
    np.testing.assert_allclose(ours[:, 1], theirs[:, 1], atol=1e-6)
    np.testing.assert_allclose(ours[:, 2], theirs[:, 0], atol=1e-6)
    assert after.trained_outputs.scan == ("swelling", "fracture", "bleed")


@pytest.mark.full(minutes=2)
def test_an_ensemble_of_one_training_set_keeps_targets(own, tmp_path):
    shutil.copytree(own / "run", tmp_path / "copy")
    make_ensemble([own / "run", tmp_path / "copy"], own / "store", tmp_path / "ensemble", weighting="equal")
    evaluate(tmp_path / "ensemble", own / "store", tmp_path / "a", replicates=50)
    evaluate(own / "run", own / "store", tmp_path / "b", replicates=50)
    one, two = (read_predictions(tmp_path / name / "predictions.csv", labels=OWN.names).rows for name in "ab")
    np.testing.assert_allclose(one["pred_volume_ml"], two["pred_volume_ml"], rtol=1e-4)
