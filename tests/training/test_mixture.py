"""A training on several stores: its record speaks of all of them, and it goes on as one that was never stopped."""

import dataclasses
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from ichformer.cohorts.registry import COHORTS
from ichformer.errors import InputError
from ichformer.labels import LABELS
from ichformer.pipeline.store.records import Store
from ichformer.testing import tiny_cohort
from ichformer.training.config import DataConfig, ModelConfig, OptimConfig, ParallelConfig, TrainConfig, read_config
from ichformer.training.few_patients import training_scans
from ichformer.training.recovery.resume import hash_scans
from ichformer.training.runs.run import seen_scans
from ichformer.training.trainer import run_training
from ichformer.workflows.leave_one_site_out import leave_one_site_out
from tests.stores import prepare_here


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four scans without labels that ``tiny_store`` does not have."""
    folder = tmp_path_factory.mktemp("mixture")
    index = COHORTS["phantom"](tiny_cohort(folder / "cohort", scans=4, seed=5), cache=folder / "cache")
    index = index.assign(split="train", slice_labels="", mask="", cohort="other", origin="other")
    index[list(LABELS)] = np.nan
    return prepare_here(index, folder / "unlabelled").path


def settings(store: Path, more: Path, **data: object) -> TrainConfig:
    """Most batches hold no label."""
    return TrainConfig(
        data=DataConfig(
            store=str(store), **{"more": (str(more),), "weights": (1, 3), "batch_size": 2, "num_slices": 2, **data}
        ),
        model=ModelConfig(name="slice_vit_nano"),
        optim=OptimConfig(warmup_steps=1),
        parallel=ParallelConfig(data=1),
        steps=4,
        log_every=1,
        checkpoint_every=1,
        keep_checkpoints=2,
    )


@pytest.fixture(scope="module")
def run(tiny_store: Path, unlabelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mixture") / "run"
    run_training(settings(tiny_store, unlabelled), folder, progress=False)
    return folder


def lines(run: Path) -> list[dict[str, float]]:
    of_steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: line[name] for name in ("step", "loss", "grad_norm")} for line in of_steps]


@pytest.mark.slow
def test_the_record_of_a_run_speaks_of_all_stores(run, tiny_store, unlabelled):
    stores = [Store.open(path) for path in (tiny_store, unlabelled)]
    expected = [series for store in stores for series in store.index["series"].iloc[store.rows("train")]]
    assert sorted(seen_scans(run)["series"]) == sorted(expected)
    facts = json.loads((run / "run.json").read_text())
    (stage,) = facts["contract"]["stages"]
    assert set(stage["licences"]) == {"phantom", "other"}
    config = settings(tiny_store, unlabelled)
    together = training_scans(stores[0], config.data)
    assert facts["scans_sha256"] == stage["scans_sha256"] == hash_scans(together, "train")
    assert hash_scans(together, "train") != hash_scans(stores[0], "train")
    labels = json.loads((run / "labels.json").read_text())
    assert labels["n_scans"] == len(expected)
    assert (
        labels["counts"]["any"]["positive_scans"] == (stores[0].index["any"].iloc[stores[0].rows("train")] == 1).sum()
    )
    told = json.loads((run / "config.json").read_text())["data"]
    assert not os.path.isabs(told["more"][0])
    assert read_config(run / "config.json").data.more == (str(unlabelled),)


@pytest.mark.slow
def test_a_batch_without_any_label_has_no_loss_and_no_gradient(run):
    losses = [(line["loss"], line["grad_norm"]) for line in lines(run)]
    assert sum(loss == (0.0, 0.0) for loss in losses) == 2
    assert sum(min(loss) > 0 for loss in losses) == 2


@pytest.mark.slow
def test_a_run_goes_on_as_if_it_had_never_stopped_though_its_stores_moved(run, tiny_store, unlabelled, tmp_path):
    for name, path in (("run", run), ("a", tiny_store), ("b", unlabelled)):
        shutil.copytree(path, tmp_path / name)
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "4")
    run_training(settings(tmp_path / "a", tmp_path / "b"), tmp_path / "run", progress=False)
    assert lines(tmp_path / "run") == lines(run)


@pytest.mark.slow
def test_a_run_does_not_go_on_with_other_weights(run, tiny_store, unlabelled):
    with pytest.raises(InputError, match=r"a run with another data.weights is there"):
        run_training(settings(tiny_store, unlabelled, weights=(1, 1)), run, progress=False)


def test_the_scans_of_another_store_are_not_the_same(tiny_store, unlabelled):
    one, other = Store.open(tiny_store), Store.open(unlabelled)
    mixed = training_scans(one, DataConfig(store="", more=(str(unlabelled),)))
    as_one = dataclasses.replace(one, index=mixed.index)
    assert hash_scans(mixed, "train") != hash_scans(as_one, "train")
    assert len(mixed.index) == len(one.index) + len(other.index)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"weights": (1.0,)}, "--data.weights: .* take one number for --data.store and one for each of --data.more"),
        ({"more": ("a",), "weights": (1.0,)}, "one for each of --data.more, or none"),
        ({"more": ("a",), "weights": (1.0, 0.0)}, "--data.weights: 0.0 is out of range; take numbers from"),
    ],
)
def test_weights_that_make_no_sense_are_refused(data, said):
    with pytest.raises(InputError, match=said):
        DataConfig(store="store", **data)


def test_no_site_can_be_left_out_of_several_stores(tiny_store, unlabelled, tmp_path):
    with pytest.raises(InputError, match=r"--data.more: may hold scans of the site"):
        leave_one_site_out(settings(tiny_store, unlabelled), tmp_path / "out", progress=False)
