"""From runs to an ensemble: members opened, weights fitted on validation, thresholds frozen, the folder written."""

import functools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import jax
import numpy as np

from ichformer.cohorts.leakage import check_leakage
from ichformer.errors import InputError
from ichformer.evaluation.scorable import why_stored_not_scored
from ichformer.evaluation.tables.table import LevelName
from ichformer.inference.ensemble_folder import check_new, write_ensemble
from ichformer.inference.ensembles import EnsembleRun, Snapshots, assemble, open_members
from ichformer.models.ensemble import View
from ichformer.objectives.classification import Classification
from ichformer.pipeline.store.records import Store
from ichformer.settings import fit
from ichformer.statistics.ensemble_weights import MemberLogits, fit_weights, shares
from ichformer.training.runs.run import seen_scans
from ichformer.workflows.evaluate_run import check_preparation, fix_frozen
from ichformer.workflows.parts.frozen import keep_frozen
from ichformer.workflows.parts.over_store import over_store
from ichformer.workflows.parts.predict_store import columns_of_run

Weighting = Literal["fitted", "equal"]


@dataclass(frozen=True, kw_only=True)
class EnsembleFacts:
    """What is said of a new ensemble.

    Attributes:
      members: one a member: run, model, step, weight, and its log loss on the split.
      split: the split that fitted the weights and froze the thresholds.
      weighting: whether the weights were fitted there or are equal.
      views: test-time augmentations.
      loss: the ensemble's log loss on the split; where weights were fitted, on the scans that fitted them.
    """

    members: tuple[dict[str, Any], ...]
    split: str
    weighting: Weighting
    views: tuple[View, ...]
    loss: float

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def make_ensemble(
    runs: Sequence[Path | str],
    store_path: Path | str,
    out: Path | str,
    *,
    split: str = "val",
    weighting: Weighting = "fitted",
    snapshots: Snapshots = "one",
    views: tuple[View, ...] = ("plain",),
) -> EnsembleFacts:
    """Writes an ensemble of ``runs`` into ``out``, which evaluation, robustness and prediction take like a run.

    Args:
      runs: folders of classifiers whose scans were prepared alike.
      store_path: prepared scans.
      out: folder for the ensemble; it does not depend on the runs' folders afterwards.
      split: weights and thresholds are fixed on it.
      weighting: "fitted" makes the log loss there smallest (``blend.fit_weights``).
      snapshots: what becomes of a run's checkpoints (``training.ensemble.open_members``).
      views: test-time augmentations.

    Raises:
      InputError: no or unlike runs, a single member, another preparation than the runs', no such split, scans of the
        split that a run was trained on, or ``out`` holds something.
    """
    folders, out = [Path(run) for run in runs], Path(out)
    weighting = fit(Weighting, weighting, where="--weights")
    views = tuple(fit(View, view, where="views") for view in views)
    check_new(out)
    _check_twice(folders)
    members = [member for run in folders for member in open_members(run, snapshots)]
    if len(members) * len(views) < 2 and snapshots != "average":
        raise InputError(
            "one run is no ensemble",
            where="ensemble",
            fix="name more runs, or take --flip, --snapshots members or --snapshots average",
        )
    ensemble = assemble(members, [1 / len(members)] * len(members), views, out)
    store = Store.open(store_path)
    check_preparation(ensemble, store)
    for run in folders:
        if (seen := seen_scans(run)) is not None:
            check_leakage(seen, store.index.iloc[store.rows(split)])
    found = _member_logits(ensemble, store, split)
    weights = fit_weights(found) if weighting == "fitted" else np.asarray(ensemble.weights)
    alone = [found.loss(one) for one in np.eye(len(weights))]
    said = EnsembleFacts(
        members=tuple(
            {"run": one.path.absolute().name, "model": one.name, "step": one.step, "weight": float(w), "loss": loss}
            for one, w, loss in zip(ensemble.members, weights, alone, strict=True)
        ),
        split=split,
        weighting=weighting,
        views=views,
        loss=found.loss(weights),
    )
    by_identity = {(one.path, one.step): one for one in members}
    heard = [(by_identity[one.path, one.step], float(w)) for one, w in zip(ensemble.members, weights, strict=True) if w]
    final = assemble([one for one, _ in heard], [w for _, w in heard], views, out)
    frozen = fix_frozen(final, store, split)
    write_ensemble(final, {"fit": said.to_json()})
    keep_frozen(frozen, final)
    return said


def format_ensemble(said: EnsembleFacts) -> str:
    """A line a member, and the ensemble."""
    rows = [
        f"{one['weight']:6.3f} {one['loss']:9.4f}  {one['model']}, {one['run']}, {one['step']} steps"
        + ", left out" * (one["weight"] == 0)
        for one in said.members
    ]
    views = f", views {', '.join(said.views)}" if len(said.views) > 1 else ""
    how = "weights fitted on it" if said.weighting == "fitted" else "equal weights"
    total = f"{'':6} {said.loss:9.4f}  ensemble{views} (split {said.split!r}, {how})"
    return "\n".join([f"{'weight':6} {'log loss':>9}", *rows, total])


def _check_twice(runs: Sequence[Path]) -> None:
    places = [run.resolve() for run in runs]
    for run, place in zip(runs, places, strict=True):
        if places.count(place) > 1:
            raise InputError("is named twice", where=run, fix="name each run once")


def _member_logits(ensemble: EnsembleRun, store: Store, split: str) -> MemberLogits:
    """The labels' logits of every real slice and every scan of a split, the members as in ``ensemble.members``.

    As in every figure, scans that cannot be scored are left out, and so are outputs that a member was not trained for.
    """
    outputs, label_set = ensemble.trained_outputs, ensemble.objective.label_set
    of_run, count = columns_of_run(label_set, store.label_set), len(label_set.names)
    untrained = {level: () if outputs is None else outputs.missing(level) for level in get_args(LevelName)}
    unknown_of_slices, unknown_of_scan = (
        np.array([label in untrained[level] for label in label_set.names]) for level in get_args(LevelName)
    )
    logits: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    scans: list[np.ndarray] = []
    kinds: list[np.ndarray] = []
    compute = functools.partial(_features, ensemble.objective)
    for batch, (of_slices, of_scans) in over_store(compute, ensemble.params, store, store.rows(split)):
        for i in np.flatnonzero(batch.weight):
            real = batch.slice_mask[i]
            if why_stored_not_scored(store, int(batch.row[i]), batch.hu[i][real]) is not None:
                continue
            logits += [of_slices[i, real, :, :count], of_scans[i : i + 1, :, :count]]
            labels += [
                np.where(unknown_of_slices, np.nan, of_run(batch.slice_labels[i, real])[:, :count]),
                np.where(unknown_of_scan, np.nan, of_run(batch.scan_labels[i : i + 1])[:, :count]),
            ]
            scans += [np.full(real.sum() + 1, len(kinds))]
            kinds += [np.arange(real.sum() + 1) == real.sum()]
    if not logits:
        raise InputError(f"no scan of the split {split!r} can be scored", where=store.path, fix="name another split")
    known, weights = np.concatenate(labels).astype(np.float64), ensemble.objective.weights[:count]
    return MemberLogits(
        logits=np.concatenate(logits).astype(np.float64),
        labels=known,
        share=shares(known, np.concatenate(scans), is_scan=np.concatenate(kinds), label_weights=weights),
    )


@functools.partial(jax.jit, static_argnums=0)
def _features(objective: Classification, params: Any, batch: Any) -> tuple[jax.Array, jax.Array]:
    features = objective.predict(params, batch).features
    return features["member_slice_logits"], features["member_scan_logits"]
