"""What the demo scores comes from its labels: with the labels of other scans it falls to chance."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from ichformer import LABELS
from ichformer.cohorts.registry import COHORTS
from ichformer.cohorts.splits import hold_out_site
from ichformer.ct.phantom.cohort import write_phantom_cohort
from ichformer.demo import PREPARE, SCANS, UNSEEN_SITE
from ichformer.evaluation.predictions import predict_store
from ichformer.evaluation.table import levels
from ichformer.pipeline.prepare import prepare
from ichformer.training.run import Run

# The demo's recipe with fewer steps: enough for either answer.
TRAIN = """
import dataclasses, pathlib, sys
from ichformer.demo import demo_config
from ichformer.pipeline.records import Store
from ichformer.training.loop import train
config = demo_config(Store.open(sys.argv[1]), fast=False, seed=0)
train(dataclasses.replace(config, steps=200), pathlib.Path(sys.argv[2]), progress=False)
"""


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("cohort")
    cohort = write_phantom_cohort(folder / "cohort", scans=SCANS, seed=0, progress=False)
    return hold_out_site(COHORTS["phantom"](cohort, cache=folder / "cache"), site=UNSEEN_SITE, seed=0, val_fraction=0.2)


def with_labels_of_others(index: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Every training scan gets the labels of another one, slice for slice at the same part of the head's height."""
    train = index[index["split"] == "train"]
    giver = dict(zip(train["series"], np.random.default_rng(0).permutation(train["series"]), strict=True))
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
    store = prepare(index, folder / "store", config=PREPARE, progress=False)
    # On one device, as the demo itself runs: the eight emulated ones of the tests share two cores and are slower.
    plain = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    subprocess.run([sys.executable, "-c", TRAIN, str(store.path), str(folder / "run")], check=True, env=plain)
    (_, scans) = levels(predict_store(Run.open(folder / "run"), store, "test"))
    assert scans.name == "scan"
    return float(roc_auc_score(scans.labels[:, -1], scans.scores[:, -1]))


@pytest.mark.slow(minutes=8)
def test_labels_of_other_scans_teach_nothing(index, tmp_path):
    for name in ("true", "shuffled"):
        (tmp_path / name).mkdir()
    true = auroc_of_unseen(index, tmp_path / "true")
    shuffled = auroc_of_unseen(with_labels_of_others(index, tmp_path), tmp_path / "shuffled")
    print(f"scan-level AUROC of any on the unseen site: {true:.3f}; with the labels of other scans: {shuffled:.3f}")
    # 24 positives and 16 negatives: the standard error is 0.09 at chance (Hanley & McNeil 1982, eq. 1).
    assert true > 0.8
    assert abs(shuffled - 0.5) < 3 * 0.094
