"""A run over a store: the table of predictions, the thresholds frozen on validation, and what is said of them."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from jaxtyping import Float64

from ichformer import LABELS
from ichformer.cohorts.leakage import check_leakage
from ichformer.errors import InputError
from ichformer.evaluation.judge import judge
from ichformer.evaluation.ood import OOD_NAME, UNUSUAL, FeatureDistance, describe, fit_ood, read_ood, write_ood
from ichformer.evaluation.run_facts import run_facts
from ichformer.evaluation.scan_groups import GROUP_COLUMNS, scan_groups
from ichformer.evaluation.summary import Summary
from ichformer.evaluation.table import GROUP_PREFIX, columns
from ichformer.evaluation.table_files import read_predictions, write_predictions
from ichformer.evaluation.thresholds import (
    THRESHOLDS_NAME,
    Thresholds,
    fix_thresholds,
    read_thresholds,
    write_thresholds,
)
from ichformer.models.contract import scan_features
from ichformer.objectives.classification import Classification
from ichformer.pipeline.loader import evaluation_batches
from ichformer.pipeline.records import Store
from ichformer.training.config import TrainConfig
from ichformer.training.ensemble import Trained, open_trained
from ichformer.training.loop import train
from ichformer.training.parallel import make_mesh, replicate, shard_batch
from ichformer.training.run import Run, seen_scans

USUAL_NAME = f"within {UNUSUAL:g} % of validation"
UNUSUAL_NAME = f"beyond {UNUSUAL:g} % of validation"
"""How the page calls scans that look like the training, and those that do not."""

VALIDATION_NAME = "validation.csv"
"""The file in the folder of a run with the predictions that fixed its thresholds; calibration is mended on them."""


MOST_OOD_SCANS = 512
"""Of training and of validation that ``freeze_ood`` looks at."""


def predict_store(run: Trained, store: Store, split: str, *, batch_size: int = 8) -> pd.DataFrame:
    """Scores of every slice and scan of a split, as the table that ``evaluation.table`` describes.

    A patient is named with the origin (``rsna2019/ID_1``), as sets may share names; subgroups are those that the scans
    tell (``scan_groups``).
    """
    return predict_and_embed(run, store, split, batch_size=batch_size)[0]


def predict_and_embed(
    run: Trained, store: Store, split: str, *, batch_size: int = 8, most: int | None = None
) -> tuple[pd.DataFrame, Float64[np.ndarray, "scans d"]]:
    """``predict_store``, and for each of its scan rows what ``evaluation.ood`` compares (``ood.describe``).

    Of more than ``most`` scans so many are taken, evenly.
    """
    mesh = make_mesh()
    batch_size = -(-batch_size // mesh.size) * mesh.size
    params = replicate(run.params, mesh)
    rows: list[dict[str, Any]] = []
    features: list[np.ndarray] = []
    chosen = store.rows(split)
    chosen = chosen if most is None else chosen[:: max(1, -(-len(chosen) // most))]
    for batch in evaluation_batches(store, rows=chosen, batch_size=batch_size):
        found = jax.device_get(_score(run.objective, params, shard_batch(batch, mesh)))
        slice_scores, scan_scores, of_scan = found
        for i in np.flatnonzero(batch.weight):
            row = int(batch.row[i])
            entry = store.index.iloc[row]
            ids = {name: str(entry[name]) for name in ("study", "series", "site", "split")}
            ids |= {"patient": f"{entry['origin']}/{entry['patient']}", **scan_groups(store, row)}
            rows.append(_row(ids, "", batch.scan_labels[i], scan_scores[i]))
            z, y, x = map(float, batch.spacing_mm[i])
            features.append(describe(of_scan[i], batch.hu[i][batch.slice_mask[i]], (z, y, x)))
            for s in np.flatnonzero(batch.slice_mask[i]):
                rows.append(_row(ids, str(s), batch.slice_labels[i, s], slice_scores[i, s]))
    return pd.DataFrame(rows, columns=[*columns(), *GROUP_COLUMNS]), np.stack(features)


def freeze_thresholds(run: Trained, store: Store, *, split: str = "val") -> Thresholds:
    """Fixes the run's thresholds on a split and writes them into its folder, with the predictions, where they stay."""
    table = predict_store(run, store, split)
    thresholds = fix_thresholds(table)
    write_predictions(table, run.path / VALIDATION_NAME)
    write_thresholds(thresholds, run.path / THRESHOLDS_NAME)
    return thresholds


def freeze_ood(run: Trained, store: Store, *, train: str = "train", reference: str = "val") -> FeatureDistance:
    """Learns what the run's training scans look like and writes that into its folder, where it stays."""
    seen, other = (predict_and_embed(run, store, split, most=MOST_OOD_SCANS)[1] for split in (train, reference))
    distance = fit_ood(seen, other)
    write_ood(distance, run.path / OOD_NAME)
    return distance


def train_and_freeze(config: TrainConfig, run: Path | str, *, progress: bool = True) -> dict[str, float]:
    """Trains, then freezes thresholds and the out-of-distribution score on the store's split "val".

    That is done where the run is a classifier and there is such a split.

    Several hosts only train: the first ``evaluate`` of the run fixes the thresholds, in one process.

    Raises:
      InputError: ``train`` objects, or scans of the split to train on leak into the store's other splits.
    """
    run = Path(run)
    store = Store.open(config.data.store)
    split = store.index["split"]
    check_leakage(store.index[split == config.data.split], store.index[~split.isin(["", config.data.split])])
    written = train(config, run, progress=progress)
    (run / OOD_NAME).unlink(missing_ok=True)  # it would be of other parameters
    alone = jax.process_count() == 1
    if alone and config.objective.name == "classification" and "val" in set(store.index["split"]):
        trained = Run.open(run)
        freeze_thresholds(trained, store)
        if len(store.rows(config.data.split)) > 1:
            freeze_ood(trained, store, train=config.data.split)
    return written


def evaluate(
    run_path: Path | str,
    store_path: Path | str,
    out: Path | str,
    *,
    split: str = "test",
    prevalence: float | None = None,
    replicates: int = 2000,
) -> Summary:
    """Judges a run or an ensemble on a split and writes ``judge.FILES`` into ``out``.

    Thresholds, and the predictions that calibration is mended on, come from the run. A run that has none yet gets them
    from the store's split "val".

    Raises:
      InputError: no run, another preparation than the run's, no such split, thresholds asked of the judged split, or
        scans that the run was trained on.
    """
    run, store = open_to_judge(run_path, store_path, split)
    file = run.path / THRESHOLDS_NAME
    thresholds = read_thresholds(file) if file.exists() else freeze_thresholds(run, store)
    file = run.path / VALIDATION_NAME
    validation = read_predictions(file) if file.exists() else None
    fixed_on = None if validation is None else set(validation["patient"])
    table, features = predict_and_embed(run, store, split)
    if (run.path / OOD_NAME).exists():
        table = with_familiarity(table, read_ood(run.path / OOD_NAME).percentiles(features))
    return judge(
        table,
        out,
        thresholds=thresholds,
        # Where judged patients fixed the thresholds, the summary says so, and there is nothing to mend on.
        validation=None if fixed_on is None or fixed_on & set(table["patient"]) else validation,
        fixed_on=fixed_on,
        prevalence=prevalence,
        facts=run_facts(run, store, split),
        replicates=replicates,
    )


def with_familiarity(table: pd.DataFrame, percentiles: Float64[np.ndarray, " scans"]) -> pd.DataFrame:
    """The table with the subgroups of scans that look like the training and of those that do not.

    Args:
      table: as ``predict_and_embed`` gives it.
      percentiles: of its scans, in the order of their rows.
    """
    series = table.loc[table["slice"] == "", "series"]
    names = [UNUSUAL_NAME if one >= UNUSUAL else USUAL_NAME for one in percentiles]
    return table.assign(**{f"{GROUP_PREFIX}familiarity": table["series"].map(dict(zip(series, names, strict=True)))})


def open_to_judge(run_path: Path | str, store_path: Path | str, split: str) -> tuple[Trained, Store]:
    """A run or an ensemble, and a store to judge it on.

    Raises:
      InputError: no run, another preparation than the run's, no such split, or scans that the run was trained on.
    """
    run, store = open_trained(run_path), Store.open(store_path)
    check_preparation(run, store)
    judged, seen = store.index.iloc[store.rows(split)], seen_scans(run.path)
    if seen is not None:
        check_leakage(seen, judged)
    return run, store


def check_preparation(run: Trained, store: Store) -> None:
    """InputError where a store was prepared otherwise than the run's scans were."""
    if store.config != dataclasses.asdict(run.prepare):
        raise InputError(
            f"was prepared with {store.config}, the run with {dataclasses.asdict(run.prepare)}",
            where=store.path,
            mend="prepare it as the run's scans were",
        )


@functools.partial(jax.jit, static_argnums=0)
def _score(objective: Classification, params: Any, batch: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
    prediction = objective.predict(params, batch)
    features = scan_features(prediction, batch.slice_mask)
    return jax.nn.sigmoid(prediction.slice_logits), jax.nn.sigmoid(prediction.scan_logits), features


def _row(ids: dict[str, str], number: str, labels: np.ndarray, scores: np.ndarray) -> dict[str, Any]:
    named = {f"score_{label}": float(score) for label, score in zip(LABELS, scores, strict=True)}
    return {**ids, "slice": number, **dict(zip(LABELS, map(float, labels), strict=True)), **named}
