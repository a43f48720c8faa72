"""A run over a store: the table of predictions that evaluation takes."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64

from ichformer.cohorts.index import group_columns
from ichformer.errors import InputError
from ichformer.evaluation.ood import describe
from ichformer.evaluation.scorable import check_numbers, why_stored_not_scored
from ichformer.evaluation.tables.scan_groups import GROUP_COLUMNS, scan_groups
from ichformer.evaluation.tables.table import (
    NOT_SCORED,
    LevelName,
    columns,
    output_columns,
    predicted_column,
    score_columns,
)
from ichformer.inference.trained import Trained
from ichformer.labels import LabelSet
from ichformer.models.contract import scan_features
from ichformer.objectives.classification import Classification
from ichformer.pipeline.store.records import Store
from ichformer.training.runs.outputs import TrainedOutputs
from ichformer.workflows.parts.over_store import over_store, scan_ids


def predict_store(run: Trained, store: Store, split: str, *, batch_size: int = 8) -> pd.DataFrame:
    """Scores of every slice and scan of a split, as the table that ``evaluation.table`` describes.

    Its labels and targets are those of the run; what the store does not know of them is unknown.

    A patient is named with the origin (``rsna2019/ID_1``), as sets may share names; subgroups are those that the scans
    tell (``scan_groups``) and those of the store's index, which replace the former where both have one name. The column
    ``not_scored`` says why a score is missing: of scans that cannot be scored (``scorable``) and of outputs that the
    run's training never reached.
    """
    return predict_and_embed(run, store, split, batch_size=batch_size)[0]


def predict_and_embed(
    run: Trained,
    store: Store,
    split: str,
    *,
    batch_size: int = 8,
    most: int | None = None,
    unscored: Mapping[str, str] | None = None,
) -> tuple[pd.DataFrame, Float64[np.ndarray, "scans d"]]:
    """``predict_store``, and for each of its scan rows what ``evaluation.ood`` compares (``ood.describe``).

    Args:
      run: the model.
      store: prepared scans.
      split: which of them.
      batch_size: scans at once.
      most: of more scans than this so many are taken, evenly.
      unscored: the scans that cannot be scored, as ``unscored_scans`` tells them, where that is known already.
    """
    rows: list[dict[str, Any]] = []
    features: list[np.ndarray] = []
    outputs, label_set = run.trained_outputs, run.objective.label_set
    of_run = columns_of_run(label_set, store.label_set)
    chosen = store.rows(split)
    groups = group_columns(store.index)
    chosen = chosen if most is None else chosen[:: max(1, -(-len(chosen) // most))]
    score = functools.partial(_score, run.objective)
    for batch, found in over_store(score, run.params, store, chosen, batch_size=batch_size):
        slice_scores, scan_scores, of_scan = found
        for i in np.flatnonzero(batch.weight):
            row, real = int(batch.row[i]), batch.slice_mask[i]
            z, y, x = map(float, batch.spacing_mm[i])
            hu = batch.hu[i][real]
            ids = {**scan_ids(store, row), **scan_groups(store, row)}
            ids |= {name: str(store.index[name].iloc[row]) for name in groups}
            if unscored is None:
                found_out = why_stored_not_scored(store, row, hu)
                found_out = found_out or check_numbers(scan_scores[i], slice_scores[i, real])
                reason = "" if found_out is None else found_out.text
            else:
                reason = unscored.get(ids["series"], "")
            given = _given("scan", scan_scores[i], reason, outputs)
            rows.append(_row(ids, "", of_run(batch.scan_labels[i]), *given, label_set))
            features.append(describe(of_scan[i], hu, (z, y, x)))
            for s in np.flatnonzero(real):
                given = _given("slice", slice_scores[i, s], reason, outputs)
                rows.append(_row(ids, str(s), of_run(batch.slice_labels[i, s]), *given, label_set))
    targets = [*label_set.targets, *map(predicted_column, label_set.targets)]
    names = list(dict.fromkeys([*columns(label_set.names), *targets, NOT_SCORED, *GROUP_COLUMNS, *groups]))
    return pd.DataFrame(rows, columns=names), np.stack(features)


def columns_of_run(run: LabelSet, store: LabelSet) -> Callable[[np.ndarray], np.ndarray]:
    """From labels in the order of a store to those in the order of a run; NaN for what the store lacks."""
    shared = shared_labels(run, store)
    at = np.array([store.columns.index(name) if name in shared.columns else -1 for name in run.columns])
    return lambda labels: np.where(at < 0, np.nan, labels[..., at])


def shared_labels(run: LabelSet, store: LabelSet) -> LabelSet:
    """The labels and the targets that a run and a store both have, in the order of the run.

    Raises:
      InputError: there are none.
    """
    names = tuple(name for name in run.names if name in store.names)
    targets = tuple(name for name in run.targets if name in store.targets)
    if not names + targets:
        raise InputError(
            f"the store has the labels {', '.join(store.columns)}, the run has {', '.join(run.columns)}",
            where="evaluate",
            fix="prepare the scans with a label of the run",
        )
    return LabelSet(names=names, targets=targets)


def unscored_scans(table: pd.DataFrame, labels: tuple[str, ...]) -> dict[str, str]:
    """The scans of a table that have no score at all, and why, by series."""
    scans = table[table["slice"] == ""]
    without = scans[scans[output_columns(table, labels)].isna().all(axis=1)]
    return dict(zip(without["series"], without[NOT_SCORED], strict=True))


def scored_scans(table: pd.DataFrame, labels: tuple[str, ...]) -> Bool[np.ndarray, " scans"]:
    """Which scans of a table have a score, in the order of their rows."""
    return table.loc[table["slice"] == "", output_columns(table, labels)].notna().any(axis=1).to_numpy()


def _given(level: LevelName, scores: np.ndarray, reason: str, outputs: TrainedOutputs | None) -> tuple[np.ndarray, str]:
    """The scores that mean something, NaN for the others, and why they are missing."""
    if reason:
        return np.full_like(scores, np.nan), reason
    if outputs is None:
        return scores, ""
    missing = outputs.missing(level)
    given = np.where([name in missing for name in outputs.label_set.columns], np.nan, scores)
    return given, outputs.reason(level)


@functools.partial(jax.jit, static_argnums=0)
def _score(objective: Classification, params: Any, batch: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
    prediction = objective.predict(params, batch)
    features = scan_features(prediction, batch.slice_mask)
    return *objective.scores(prediction), features


def _row(
    ids: dict[str, str], number: str, labels: np.ndarray, scores: np.ndarray, reason: str, label_set: LabelSet
) -> dict[str, Any]:
    given = (*score_columns(label_set.names), *map(predicted_column, label_set.targets))
    named = dict(zip(given, map(float, scores), strict=True))
    labelled = dict(zip(label_set.columns, map(float, labels), strict=True))
    return {**ids, "slice": number, **labelled, **named, NOT_SCORED: reason}
