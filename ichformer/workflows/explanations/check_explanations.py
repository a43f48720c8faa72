"""Which explanations of a run deserve to be shown: its methods beside controls, on scans that it was not trained on."""

import contextlib
from collections.abc import Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Literal

import jax
import numpy as np
from jax import Array
from tqdm import tqdm

from ichformer.cohorts.mask_labels import label_mask, lesion_of
from ichformer.errors import InputError
from ichformer.evaluation.thresholds import RAISED_AT, json_bytes
from ichformer.explanations.batch import explain_batch
from ichformer.explanations.checked import (
    EXPLANATIONS_NAME,
    CheckedExplanations,
    CheckedMethod,
    Figure,
    checked_values,
)
from ichformer.explanations.controls import CONTROLS
from ichformer.explanations.display import upsample
from ichformer.explanations.faithfulness.fillings import from_neighbours
from ichformer.explanations.faithfulness.flipping import flipping_curves
from ichformer.explanations.faithfulness.localisation import points_into
from ichformer.explanations.score import ExplainedScore
from ichformer.files.lease import Held
from ichformer.files.sets import write_set
from ichformer.inference.scoring import batch_of_one
from ichformer.inference.trained import Trained
from ichformer.pipeline.store.records import PreparedScan, Store
from ichformer.settings import as_names, check_known
from ichformer.statistics.bootstrap import bootstrap, check_draws, mean_statistic
from ichformer.statistics.estimates import estimate_of
from ichformer.workflows.evaluate_run import open_to_evaluate
from ichformer.workflows.opened.explained import trained_names
from ichformer.workflows.parts.frozen import is_trained_now, read_frozen
from ichformer.workflows.parts.over_store import scan_ids
from ichformer.workflows.parts.predict_store import predict_store

_REPLICATES = 2000


def check_explanations(
    run_path: Path | str,
    store_path: Path | str,
    *,
    methods: Sequence[str],
    label: str = "any",
    split: str = "val",
    scans: int = 40,
    steps: int = 10,
    seed: int = 0,
    progress: bool = True,
) -> CheckedExplanations:
    """Compares methods with noise and edges, and keeps in the run's folder what was found.

    Only scans that have the label and whose score reaches the run's threshold are explained: where the model does not
    find a bleed, there is nothing to explain. Nothing is kept while the run is being trained.

    Args:
      run_path: folder of a run or of an ensemble.
      store_path: prepared scans, as the run's were.
      methods: of ``explanations.registry.EXPLANATIONS``.
      label: one of the run's labels.
      split: of the store; the run was not trained on it.
      scans: at most how many are explained, drawn at random.
      steps: of pixel flipping.
      seed: of the draw and of the intervals.
      progress: a bar on standard error.

    Raises:
      InputError: as for an evaluation; a method that the model cannot have; or no scan to explain.
    """
    check_draws(replicates=_REPLICATES, seed=seed)
    names = tuple(dict.fromkeys(as_names(methods, where="--method")))
    run, store = open_to_evaluate(run_path, store_path, split)
    check_known("label", label, run.objective.label_set.names, where="--label")
    level: Literal["scan", "slice"] = "slice" if trained_names(run, "slice", (label,)) else "scan"
    rows = _found(run, store, split, label, scans, seed)
    if not rows:
        raise InputError(
            f"no scan of the split {split!r} has {label!r} and a score that reaches the threshold",
            where=store.path,
            fix="name a split or a store with scans that the model finds",
        )
    gains: dict[str, list[float]] = {name: [] for name in (*CONTROLS, *names)}
    hits: dict[str, list[float]] = {name: [] for name in names}
    grids: dict[str, tuple[int, int]] = {}
    longest = max(store.n_slices[row] for row in rows)
    for row in tqdm(rows, desc="explanations", unit="scan", disable=not progress):
        scan = store.read(row)
        given = run.objective, run.variables, *batch_of_one(scan.volume, longest=longest)
        score = ExplainedScore.of_label(*given, label=label, level=level)
        for name in gains:
            if name in CONTROLS:
                maps = _control(score, name)
            else:
                maps = explain_batch(*given, label=label, method=name, level=level).maps
                grids[name] = maps.shape[2:]
            # On one grid, so that one program serves all methods.
            laid = upsample(maps, (score.hu.shape[2], score.hu.shape[3]))
            gains[name].append(float(_gain(score, laid, steps=steps)[0]))
            if name in names:
                hits[name].append(_is_in_lesion(np.asarray(laid[0]), scan, run, label, store.index.iloc[row]["cohort"]))
    patients = np.unique([scan_ids(store, row)["patient"] for row in rows], return_inverse=True)[1].astype(np.int64)
    figure = partial(_figure, patients=patients, seed=seed)
    checked = CheckedExplanations(
        split=split,
        label=label,
        n_scans=len(rows),
        n_patients=int(patients.max()) + 1,
        methods=tuple(
            CheckedMethod(
                method=name,
                level=level,
                rows=grids[name][0],
                columns=grids[name][1],
                gain=figure(np.asarray(gains[name])),
                over_random=figure(np.subtract(gains[name], gains["random"])),
                over_edges=figure(np.subtract(gains[name], gains["edges"])),
                in_lesion=None if np.isnan(hits[name]).all() else figure(np.asarray(hits[name])),
            )
            for name in names
        ),
        model=run.fingerprint,
    )
    if not is_trained_now(run):
        with contextlib.suppress(Held):
            write_set({EXPLANATIONS_NAME: json_bytes(checked_values(checked))}, run.path, what="explanations")
    return checked


def _found(run: Trained, store: Store, split: str, label: str, most: int, seed: int) -> list[int]:
    """Rows of the store: scans that have the label and are found, in the order of the store."""
    frozen = read_frozen(run)
    of_label = () if frozen is None else frozen.thresholds.of("scan", label)
    threshold = next((one.value for one in of_label if one.value is not None), RAISED_AT)
    table = predict_store(run, store, split)
    is_found = (table["slice"] == "") & (table[label] == 1) & (table[f"score_{label}"] >= threshold)
    series = set(table.loc[is_found, "series"])
    rows = [int(row) for row in store.rows(split) if str(store.index["series"].iloc[row]) in series]
    return sorted(np.random.default_rng(seed).permutation(rows)[:most].tolist())


def _is_in_lesion(values: np.ndarray, scan: PreparedScan, run: Trained, label: str, cohort: str) -> float:
    """1 where the highest voxel lies in the lesion, 0 where it does not or all are equal, NaN without a mask."""
    truth = (
        None if scan.mask is None else lesion_of(label, label_mask(scan.mask, cohort), run.objective.label_set.names)
    )
    if truth is None or not truth.any():
        return np.nan
    return float(points_into(values[: len(truth)], truth))


def _figure(values: np.ndarray, *, patients: np.ndarray, seed: int) -> Figure:
    """A mean over scans and its interval over patients; scans with NaN are left out."""
    count = int(patients.max()) + 1
    statistic = mean_statistic(values.astype(np.float64), patients, n_patients=count)
    drawn = bootstrap([statistic], n_patients=count, replicates=_REPLICATES, seed=seed, jackknife=True)
    found = estimate_of(drawn, itemgetter((..., 0)), n_patients=count)
    low, high = (None, None) if found.interval is None else (found.interval.low, found.interval.high)
    assert found.value is not None, "a mean of nothing"
    return Figure(value=found.value, low=low, high=high)


@partial(jax.jit, static_argnames="name")
def _control(score: ExplainedScore, name: str) -> Array:
    """The map of a control on its own grid."""
    return CONTROLS[name](score).maps


@partial(jax.jit, static_argnames="steps")
def _gain(score: ExplainedScore, maps: Array, *, steps: int) -> Array:
    """What the score makes of maps on the grid of the scan."""
    return flipping_curves(score, maps, from_neighbours(), steps=steps).symmetric_relevance_gain
