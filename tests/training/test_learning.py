"""What is scored comes from the labels: with the labels of other scans it falls to chance."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from ichformer import LABELS
from ichformer.cohorts.adapters.voxels import slice_table
from ichformer.cohorts.index import make_index
from ichformer.cohorts.registry import COHORTS
from ichformer.cohorts.splits import hold_out_site
from ichformer.cohorts.tables import write_table
from ichformer.ct.io.nifti import slice_names
from ichformer.ct.phantom.cohort import write_phantom_cohort
from ichformer.evaluation.tables.checked import check_table
from ichformer.evaluation.tables.table import levels
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.preparation.prepare import prepare_index
from ichformer.training.config import DataConfig, ModelConfig, ObjectiveConfig, OptimConfig, ParallelConfig, TrainConfig
from ichformer.training.runs.run import Run
from ichformer.training.trainer import run_training
from ichformer.workflows.demo import PREPARE, SCANS, UNSEEN_SITE
from ichformer.workflows.parts.predict_store import predict_store
from tests.stores import prepare_here

# The demo's recipe.
TRAIN = """
import pathlib, sys
from ichformer.workflows.demo import demo_config
from ichformer.pipeline.store.records import Store
from ichformer.training.trainer import run_training
config = demo_config(Store.open(sys.argv[1]), fast=False, seed=0)
run_training(config, pathlib.Path(sys.argv[2]), progress=False)
"""
SLICES, BLOODY, SHAPE = 6, slice(2, 5), (48, 48)


def write_heads(folder: Path, *, scans: int, train_scans: int) -> pd.DataFrame:
    """Index of heads, every other one with blood at any place of its middle slices: easy to tell, from voxels alone."""
    rng, (x, y) = np.random.default_rng(0), np.indices(SHAPE) - 23.5
    folder.mkdir()
    rows, tables = [], []
    for i in range(scans):
        radius = np.hypot(x / rng.uniform(0.9, 1.1), y)
        hu = np.where(radius < 16, 30.0, np.where(radius < 19, 1000.0, -1000.0))[..., None].repeat(SLICES, 2)
        at, angle = rng.uniform(0, 9), rng.uniform(0, 2 * np.pi)
        if i % 2:
            blood = np.hypot(x - at * np.cos(angle), y - at * np.sin(angle)) < 4
            hu[..., BLOODY][blood] = 75.0
        hu = np.where(hu > 0, hu + rng.normal(0, 5, hu.shape), hu)
        path = folder / f"head{i}.nii.gz"
        nibabel.save(nibabel.Nifti1Image(hu.astype(np.int16), np.diag([4.0, 4.0, 8.0, 1.0])), path)
        by_slice = np.zeros((SLICES, len(LABELS)))
        by_slice[BLOODY, [LABELS.index("any"), LABELS.index("intraparenchymal")]] = i % 2
        tables.append(slice_table(f"s{i}", slice_names(path), by_slice))
        labels = dict(zip(LABELS, by_slice.max(0).tolist(), strict=True))
        name = {"cohort": "heads", "origin": "heads", "patient": f"p{i}", "series": f"s{i}", "path": str(path)}
        split = "train" if i < train_scans else "test"
        rows.append(name | labels | {"split": split, "slice_labels": str(folder / "slices.csv")})
    write_table(pd.concat(tables), folder / "slices.csv")
    return make_index(rows)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The demo's cohort and split."""
    folder = tmp_path_factory.mktemp("cohort")
    cohort = write_phantom_cohort(folder / "cohort", scans=SCANS, seed=0, progress=False)
    return hold_out_site(COHORTS["phantom"](cohort, cache=folder / "cache"), site=UNSEEN_SITE, seed=0, val_fraction=0.2)


def of_any_other(train: pd.DataFrame) -> dict[str, str]:
    """Whose labels a scan gets."""
    return dict(zip(train["series"], np.random.default_rng(0).permutation(train["series"]), strict=True))


def of_the_other_class(train: pd.DataFrame) -> dict[str, str]:
    """Whose labels a scan gets: scans with blood those of one without, and the other way round."""
    with_blood, without = (train.loc[train["any"] == label, "series"].tolist() for label in (1, 0))
    return dict(zip(with_blood + without, without + with_blood, strict=True))


def with_labels_of_others(
    index: pd.DataFrame, folder: Path, givers: Callable[[pd.DataFrame], dict[str, str]] = of_any_other
) -> pd.DataFrame:
    """Every training scan gets the labels of another one, slice for slice at the same part of the head's height."""
    giver = givers(index[index["split"] == "train"])
    slices = pd.read_csv(index["slice_labels"].iloc[0], dtype={"series": str}, keep_default_na=False)
    by_series = dict(iter(slices.groupby("series")))  # the rows of a series run from the base to the vertex
    for series, other in giver.items():
        given = by_series[other][list(LABELS)].to_numpy()
        at = np.linspace(0, len(given) - 1, len(by_series[series])).round().astype(int)
        slices.loc[by_series[series].index, list(LABELS)] = given[at]
    slices.to_csv(folder / "shuffled.csv", index=False)
    shuffled = index.assign(slice_labels=str(folder / "shuffled.csv"), mask="")
    labels = index.set_index("series")[list(LABELS)]
    for series, other in giver.items():
        shuffled.loc[shuffled["series"] == series, list(LABELS)] = labels.loc[other].to_numpy()
    return shuffled


def auroc_of_unseen(index: pd.DataFrame, folder: Path) -> float:
    store = prepare_index(index, folder / "store", config=PREPARE, progress=False)
    # On one device, as the demo itself runs: the eight emulated ones of the tests share two cores and are slower.
    plain = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    subprocess.run([sys.executable, "-c", TRAIN, str(store.path), str(folder / "run")], check=True, env=plain)
    (_, scans) = levels(check_table(predict_store(Run.open(folder / "run"), store, "test")))
    assert scans.name == "scan"
    return float(roc_auc_score(scans.labels[:, -1], scans.scores[:, -1]))


def auroc_of_heads(index: pd.DataFrame, folder: Path) -> float:
    store = prepare_here(index, folder / "store", PrepareConfig(size=32, field_of_view_mm=192.0))
    config = TrainConfig(
        data=DataConfig(store=str(store.path), batch_size=8, num_slices=SLICES),
        objective=ObjectiveConfig(windows=("hu_40_60", "hu_60_80")),
        model=ModelConfig(name="hybrid_nano"),
        optim=OptimConfig(learning_rate=3e-3, warmup_steps=10),
        parallel=ParallelConfig(data=1),
        steps=180,
        ema_decay=0.95,
    )
    run_training(config, folder / "run", progress=False)
    (_, scans) = levels(check_table(predict_store(Run.open(folder / "run"), store, "test")))
    assert scans.name == "scan"
    return float(roc_auc_score(scans.labels[:, -1], scans.scores[:, -1]))


@pytest.mark.full(minutes=1)
def test_exchanged_labels_turn_the_scores_round(tmp_path):
    """The small form of the test below. Where few scans are easy to tell, chance is anything from 0.2 to 0.8."""
    index = write_heads(tmp_path / "heads", scans=88, train_scans=48)
    for name in ("true", "exchanged"):
        (tmp_path / name).mkdir()
    true = auroc_of_heads(index, tmp_path / "true")
    others = with_labels_of_others(index, tmp_path, of_the_other_class)
    exchanged = auroc_of_heads(others, tmp_path / "exchanged")
    print(f"scan-level AUROC of any: {true:.3f}; with the labels of the other class: {exchanged:.3f}")
    assert true > 0.95
    assert exchanged < 0.05


@pytest.mark.full(minutes=12)
def test_labels_of_other_scans_teach_nothing(index, tmp_path):
    for name in ("true", "shuffled"):
        (tmp_path / name).mkdir()
    true = auroc_of_unseen(index, tmp_path / "true")
    shuffled = auroc_of_unseen(with_labels_of_others(index, tmp_path), tmp_path / "shuffled")
    print(f"scan-level AUROC of any on the unseen site: {true:.3f}; with the labels of other scans: {shuffled:.3f}")
    # 24 positives and 16 negatives: the standard error is 0.09 at chance (Hanley & McNeil 1982, eq. 1).
    assert true > 0.8
    assert abs(shuffled - 0.5) < 3 * 0.094
