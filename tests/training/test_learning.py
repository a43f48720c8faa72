"""What a run scores comes from its labels: with the labels of other scans it falls to chance."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from ichformer import LABELS
from ichformer.cohorts.registry import COHORTS
from ichformer.evaluation.predictions import predict_store
from ichformer.evaluation.table import levels
from ichformer.pipeline.augment import Augmentation
from ichformer.pipeline.prepare import PrepareConfig, prepare
from ichformer.pipeline.records import Store
from ichformer.testing import tiny_cohort
from ichformer.training.config import DataConfig, ModelConfig, OptimConfig, TrainConfig
from ichformer.training.loop import train
from ichformer.training.run import Run

SCANS, TRAINING_SCANS = 240, 160


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("cohort")
    index = COHORTS["phantom"](tiny_cohort(folder / "cohort", scans=SCANS), cache=folder / "cache")
    first_patients = sorted(set(index["patient"]))[: TRAINING_SCANS * index["patient"].nunique() // SCANS]
    return index.assign(split=np.where(index["patient"].isin(first_patients), "train", "test"))


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
    store = prepare(index, folder / "store", config=PrepareConfig(size=64, field_of_view_mm=208.0), progress=False)
    config = TrainConfig(
        data=DataConfig(
            store=str(store.path), batch_size=16, num_slices=6, augmentation=Augmentation(rotate_deg=5.0, scale=0.05)
        ),
        model=ModelConfig(name="hybrid_nano"),
        optim=OptimConfig(name="muon", learning_rate=5e-3),
        steps=400,
        checkpoint_every=1000,
    )
    train(config, folder / "run", progress=False)
    (_, scans) = levels(predict_store(Run.open(folder / "run"), Store.open(store.path), "test"))
    assert scans.name == "scan"
    return float(roc_auc_score(scans.labels[:, -1], scans.scores[:, -1]))


@pytest.mark.slow
def test_labels_of_other_scans_teach_nothing(index, tmp_path):
    for name in ("true", "shuffled"):
        (tmp_path / name).mkdir()
    true = auroc_of_unseen(index, tmp_path / "true")
    shuffled = auroc_of_unseen(with_labels_of_others(index, tmp_path), tmp_path / "shuffled")
    print(f"scan-level AUROC of any, unseen patients: {true:.3f}; with the labels of other scans: {shuffled:.3f}")
    assert true > 0.8
    # 80 scans, half of them positive: chance lies within 0.5 +- 0.19 (three standard errors of Hanley & McNeil 1982).
    assert abs(shuffled - 0.5) < 0.19
