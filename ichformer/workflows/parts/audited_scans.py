"""The scans of an audit: what of each can be exchanged, its score as it is, and scores of the scans as another store
gives them."""

import functools
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64, Int64
from tqdm import tqdm

from ichformer.errors import InputError
from ichformer.evaluation.scorable import NO_BRAIN, NO_NUMBER
from ichformer.explanations.audit.causes import AROUND_HEAD
from ichformer.explanations.audit.exchanged_store import Parts, parts_of
from ichformer.explanations.audit.results import LeftOut
from ichformer.inference.trained import Trained
from ichformer.objectives.classification import Classification
from ichformer.pipeline.store.records import Store
from ichformer.statistics.intervals import MIN_PATIENTS
from ichformer.workflows.parts.over_store import over_store, scan_ids
from ichformer.workflows.parts.predict_store import columns_of_run

MOST_SCANS = 200
"""Of more scans than this so many are audited, evenly over the split."""


class ScoredScan(NamedTuple):
    """The logit of a scan, a checksum of the voxels that it is of, and its labels in the order of the store."""

    logit: float
    checksum: int
    labels: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class AuditedScans:
    """The scans that are audited, as they are.

    Attributes:
      rows: in the store.
      patients: of each scan, counted from 0.
      labels: 0, 1 or NaN where unknown.
      logits: their scores.
      checksums: of their voxels.
      parts: by row.
      left_out: scans of the split that cannot be audited.
    """

    rows: tuple[int, ...]
    patients: Int64[np.ndarray, " n"]
    labels: Float64[np.ndarray, " n"]
    logits: Float64[np.ndarray, " n"]
    checksums: tuple[int, ...]
    parts: Mapping[int, Parts]
    left_out: tuple[LeftOut, ...]

    def holds(self, cause: str) -> Bool[np.ndarray, " n"] | None:
        """Which scans have something at a place outside the head; None for other causes."""
        if cause not in AROUND_HEAD:
            return None
        return np.array([self.parts[row].holds[AROUND_HEAD.index(cause)] for row in self.rows])


def audited_scans(run: Trained, store: Store, split: str, label: str, *, progress: bool) -> AuditedScans:
    """The scans of a split in which a head and its brain are found, and that have a score.

    Args:
      run: the model.
      store: prepared scans.
      split: which of them, at most ``MOST_SCANS``.
      label: whose logit.
      progress: show a bar.

    Raises:
      InputError: they are scans of fewer than ``MIN_PATIENTS`` patients.
    """
    every = store.rows(split).tolist()
    parts, reasons = {}, {}
    for row in tqdm(every[:: -(-len(every) // MOST_SCANS)], desc="places", unit="scan", disable=not progress):
        if (found := parts_of(store.read(row).volume, keep=run.prepare.keep)) is None:
            reasons[row] = NO_BRAIN.text
        else:
            parts[row] = found
    scored = scored_scans_of(run, store, tuple(parts), label)
    reasons |= {row: NO_NUMBER.text for row, one in scored.items() if not np.isfinite(one.logit)}
    rows = tuple(row for row in scored if row not in reasons)
    names = [scan_ids(store, row)["patient"] for row in rows]
    if len(set(names)) < MIN_PATIENTS:
        first = f" ({next(iter(reasons.values()))})" if reasons else ""
        raise InputError(
            f"split {split!r} has scans of {len(set(names))} patients that can be audited{first}",
            where=store.path,
            fix=f"audit scans of at least {MIN_PATIENTS} patients",
        )
    at = run.objective.label_set.columns.index(label)
    of_run = columns_of_run(run.objective.label_set, store.label_set)
    return AuditedScans(
        rows=rows,
        patients=np.unique(names, return_inverse=True)[1],
        labels=np.array([of_run(scored[row].labels)[at] for row in rows], np.float64),
        logits=np.array([scored[row].logit for row in rows]),
        checksums=tuple(scored[row].checksum for row in rows),
        parts=parts,
        left_out=tuple(LeftOut(series=scan_ids(store, row)["series"], reason=why) for row, why in reasons.items()),
    )


def scored_scans_of(run: Trained, store: Store, rows: Sequence[int], label: str) -> dict[int, ScoredScan]:
    """The score of each scan, by row and in the order of ``rows``.

    Args:
      run: the model.
      store: prepared scans, or the same with a part exchanged.
      rows: which of them.
      label: whose logit.
    """
    compute = functools.partial(_logits, run.objective, run.objective.label_set.columns.index(label))
    found = {}
    for batch, logits in over_store(compute, run.params, store, np.array(rows, np.int64)):
        for i in np.flatnonzero(batch.weight):
            checksum = zlib.crc32(batch.hu[i].tobytes())
            found[int(batch.row[i])] = ScoredScan(float(logits[i]), checksum, batch.scan_labels[i])
    return {row: found[row] for row in rows}


@functools.partial(jax.jit, static_argnums=(0, 1))
def _logits(objective: Classification, column: int, params: Any, batch: Any) -> Float[Array, "b"]:
    return objective.predict(params, batch).scan_logits[:, column].astype(jnp.float32)
