"""``ichformer.embed``: a model over the scans of a store, to a table of features."""

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float32
from tqdm import tqdm

from ichformer.evaluation.probes.table import check_place, feature_names, write_features
from ichformer.evaluation.scorable import check_numbers, why_stored_not_scored
from ichformer.evaluation.tables.table import ID_COLUMNS, NOT_SCORED, LevelName
from ichformer.inference.trained import Trained
from ichformer.models.contract import mean_of_slices
from ichformer.objectives.base import Pretraining
from ichformer.objectives.classification import Classification
from ichformer.pipeline.batch import Batch
from ichformer.pipeline.store.records import Store
from ichformer.settings import as_names, as_path, fit
from ichformer.training.build import Given
from ichformer.training.runs.pretrained_run import PretrainedRun
from ichformer.workflows.evaluate_run import check_preparation
from ichformer.workflows.opened.open_run import opened
from ichformer.workflows.opened.trained_model import TrainedModel
from ichformer.workflows.parts.over_store import over_store, scan_ids

RunLike = TrainedModel | str | os.PathLike[str]
"""A run or an ensemble as people give it: opened, or its folder."""

StoreLike = Store | str | os.PathLike[str]
"""A store as people give it: opened, or its folder."""


def embed(
    run: RunLike,
    store: StoreLike,
    *,
    split: str | Sequence[str] = (),
    level: LevelName = "scan",
    out: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Computes a model's features of the scans of a store.

    Example:
      >>> import ichformer as ich
      >>> table = ich.embed("runs/first", "store", split="test", progress=False)
      >>> {"patient", "series", "any", "feature_0000"} <= set(table)
      True

    Args:
      run: a run or an ensemble, or its folder.
      store: prepared scans: a store or its folder.
      split: the split or splits whose scans are taken; all scans by default.
      level: "scan" for the mean over a scan's slices, or "slice" for each slice.
      out: a file for the table, CSV or Parquet by its name; nothing is written where None.
      progress: show a bar with an ETA on standard error.

    Returns:
      One row a scan, or one a slice, in the order of the store: ``patient``, ``study``, ``series``, ``slice`` ("" of a
      scan), ``site``, ``split``, the labels and targets of the store, ``not_scored`` (why the scan is in no figure, ""
      otherwise), and D columns ``feature_0000`` ... of float32.

    Raises:
      InputError: no run, scans that were prepared in another way, no such split, or no place for the table.
    """
    level = fit(LevelName, level, where="level")
    splits = as_names(split, where="split")
    place = None if out is None else as_path(out, where="out", fix="name a file")
    if place is not None:
        check_place(place)
    model, prepared = open_to_embed(run, store)
    chosen = np.unique(np.concatenate([prepared.rows(name) for name in splits or set(prepared.index["split"])]))
    table = embed_rows(
        functools.partial(features_of, model.objective, level), model.params, prepared, chosen, level, progress
    )
    if place is not None:
        write_features(table, place)
    return table


def open_to_embed(run: RunLike, store: StoreLike) -> tuple[Trained | PretrainedRun, Store]:
    """A model, also one without labels, and a store whose scans were prepared as the model's were; both may be open.

    Raises:
      InputError: there is no run or no store, or the scans were prepared in another way.
    """
    fix = "give what open_run gives, or the folder of a run"
    model = run if isinstance(run, TrainedModel) else opened(as_path(run, where="run", fix=fix), Given())
    fix = "give a Store or its folder"
    prepared = store if isinstance(store, Store) else Store.open(as_path(store, where="store", fix=fix))
    check_preparation(model.run, prepared)
    return model.run, prepared


@functools.partial(jax.jit, static_argnums=(0, 1))
def features_of(
    objective: Classification | Pretraining, level: LevelName, params: Any, batch: Any
) -> Float32[Array, "b *s d"]:
    """Features of scans [B,D] or of their slices [B,S,D]."""
    if isinstance(objective, Classification):
        slices = objective.predict(params, batch).features["slices"]
    else:
        slices = objective.features(params, batch)
    return mean_of_slices(slices, batch.slice_mask) if level == "scan" else slices.astype(jnp.float32)


def embed_rows(
    compute: Callable[[Any, Batch], Array],
    params: Any,
    store: Store,
    rows: np.ndarray,
    level: LevelName,
    progress: bool,
) -> pd.DataFrame:
    """The table of features (``embed``) of some rows of a store.

    Args:
      compute: from parameters and a batch to the features of its scans [B,D] or of their slices [B,S,D].
      params: what ``compute`` takes first.
      store: prepared scans.
      rows: which of them.
      level: what ``compute`` gives.
      progress: show a bar.
    """
    scans: list[tuple[int, list[dict[str, Any]], np.ndarray]] = []
    with tqdm(total=len(rows), desc="embed", unit="scan", disable=not progress) as bar:
        for batch, features in over_store(compute, params, store, rows):
            for i in np.flatnonzero(batch.weight):
                row, real = int(batch.row[i]), batch.slice_mask[i]
                if level == "slice":
                    numbers = [str(s) for s in np.flatnonzero(real)]
                    of_scan, labels = features[i, real], batch.slice_labels[i, real]
                else:
                    numbers, of_scan, labels = [""], features[i : i + 1], batch.scan_labels[i : i + 1]
                reason = why_stored_not_scored(store, row, batch.hu[i][real]) or check_numbers(of_scan)
                told = {**scan_ids(store, row), NOT_SCORED: "" if reason is None else reason.text}
                entries = [
                    {**told, "slice": number, **dict(zip(store.label_set.columns, map(float, known), strict=True))}
                    for number, known in zip(numbers, labels, strict=True)
                ]
                scans.append((row, entries, of_scan))
                bar.update()
    scans.sort(key=lambda scan: scan[0])
    columns = [*ID_COLUMNS, *store.label_set.columns, NOT_SCORED]
    known = pd.DataFrame([entry for _, entries, _ in scans for entry in entries], columns=columns)
    values = np.concatenate([of_scan for _, _, of_scan in scans])
    return pd.concat([known, pd.DataFrame(values, columns=feature_names(values.shape[1]))], axis=1)
