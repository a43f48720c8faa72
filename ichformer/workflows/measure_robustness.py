"""The corruption benchmark of a run: its scans made worse, prepared scan by prepared scan, scored and evaluated."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ichformer.ct.corruptions import CORRUPTIONS, SEVERITIES
from ichformer.errors import InputError
from ichformer.evaluation.ood import OOD_NAME, FeatureDistance, read_ood
from ichformer.evaluation.robustness import Key, Robustness, Unfamiliar, corrupted, summarise_robustness
from ichformer.evaluation.tables.checked import check_table
from ichformer.evaluation.tables.not_scored import check_scored
from ichformer.evaluation.thresholds import json_bytes
from ichformer.files.sets import write_set
from ichformer.inference.trained import Trained
from ichformer.pipeline.store.records import Store
from ichformer.reporting.evaluation.robustness_picture import draw_robustness
from ichformer.statistics.bootstrap import check_draws
from ichformer.statistics.metrics import auroc
from ichformer.workflows.evaluate_run import freeze_ood, open_to_evaluate
from ichformer.workflows.parts.frozen import is_trained_now
from ichformer.workflows.parts.predict_store import predict_and_embed, scored_scans, shared_labels, unscored_scans


def corruption_benchmark(
    run_path: Path | str,
    store_path: Path | str,
    out: Path | str,
    *,
    split: str = "test",
    corruptions: tuple[str, ...] = (),
    replicates: int = 1000,
    seed: int = 0,
    progress: bool = True,
) -> Robustness:
    """Evaluates a run or an ensemble on a split whose scans are corrupted in every way.

    Writes ``robustness.json`` and ``robustness.png`` into ``out``.

    The scans of the store are corrupted as they are read (see ``CorruptedStore``), nothing is written beside them. The
    out-of-distribution score is that of the run; one that has none yet gets it from the store's splits "train" and
    "val", where both are there.

    Args:
      run_path: the run's folder.
      store_path: prepared scans.
      out: folder for the results.
      split: the split to evaluate.
      corruptions: names of ``CORRUPTIONS``; all where empty.
      replicates: resamples behind the intervals of losses.
      seed: of corruptions and resamples.
      progress: a bar with an ETA on standard error.

    Raises:
      InputError: no run, another preparation than the run's, no such split or corruption, or scans that the run was
        trained on.
    """
    out = Path(out)
    check_draws(replicates=replicates, seed=seed)
    unknown = [name for name in corruptions if name not in CORRUPTIONS]
    if unknown:
        raise InputError("there is no such corruption", where=unknown[0], fix=f"choose of {', '.join(CORRUPTIONS)}")
    run, store = open_to_evaluate(run_path, store_path, split)
    distance = _distance(run, store)
    labels = shared_labels(run.objective.label_set, store.label_set).names
    if not labels:
        raise InputError("has no label, and this is about AUROC", where=store.path, fix="name a run with labels")
    clean, features = predict_and_embed(run, store, split)
    checked = check_table(clean, labels=labels)
    check_scored(checked, where=store.path)
    # A scan that cannot be scored clean is left out of every corruption; one that can be is scored however bad it gets.
    unscored, scored = unscored_scans(clean, labels), scored_scans(clean, labels)
    features = features[scored]
    keys: list[Key] = [
        (name, severity) for name in CORRUPTIONS if name in (corruptions or CORRUPTIONS) for severity in SEVERITIES
    ]
    tables, ood = {}, [] if distance is None else [_unfamiliar(("", 0), distance, features, None)]
    for key in tqdm(keys, desc="robustness", unit="corruption", disable=not progress):
        worse = corrupted(store, key, seed=seed)
        predicted, features_of_worse = predict_and_embed(run, worse, split, unscored=unscored)
        tables[key] = check_table(predicted, labels=labels)
        if distance is not None:
            ood.append(_unfamiliar(key, distance, features_of_worse[scored], features))
    found = summarise_robustness(checked, tables, replicates=replicates, seed=seed)
    found = replace(found, ood=tuple(ood))
    files = {"robustness.png": draw_robustness(found), "robustness.json": json_bytes(found.to_json())}
    write_set(files, out, what="benchmark")
    return found


def _distance(run: Trained, store: Store) -> FeatureDistance | None:
    file = run.path / OOD_NAME
    if file.exists() and not is_trained_now(run):
        return read_ood(file, model=run.fingerprint)
    return freeze_ood(run, store) if {"train", "val"} <= set(store.index["split"]) else None


def _unfamiliar(
    key: tuple[str, int], distance: FeatureDistance, features: np.ndarray, clean: np.ndarray | None
) -> Unfamiliar:
    apart = None
    if clean is not None:
        labels = np.repeat([0.0, 1.0], [len(clean), len(features)])
        apart = auroc(labels, np.concatenate([distance.distances(clean), distance.distances(features)]))
    return Unfamiliar(
        corruption=key[0],
        severity=key[1],
        median_percentile=float(np.median(distance.percentiles(features))),
        auroc=apart,
    )
