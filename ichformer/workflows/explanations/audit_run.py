"""``ichformer audit``: whether the scores of a run come from something that is not blood."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64
from tqdm import tqdm

from ichformer.errors import InputError
from ichformer.evaluation.thresholds import json_bytes
from ichformer.explanations.audit.causes import CAUSES, PLACES
from ichformer.explanations.audit.effects import CauseFound, Exchanged, conclude, draw_donors, given_and_taken, measure
from ichformer.explanations.audit.exchanged_store import exchanged
from ichformer.explanations.audit.results import Audit, ScanFound, name_causes
from ichformer.explanations.batch import explain_batch
from ichformer.files.sets import write_set
from ichformer.inference.scoring import batch_of_one
from ichformer.inference.trained import Trained
from ichformer.pipeline.store.records import Store
from ichformer.reporting.explanation.audit import Example, draw_audit
from ichformer.settings import check_known
from ichformer.statistics.bootstrap import check_draws
from ichformer.workflows.evaluate_run import open_to_evaluate
from ichformer.workflows.opened.explained import trained_names
from ichformer.workflows.parts.audited_scans import AuditedScans, audited_scans, scored_scans_of
from ichformer.workflows.parts.over_store import scan_ids

EXCHANGES = 4
"""How often each part of each scan is exchanged."""


def audit(
    run_path: Path | str | Trained,
    store_path: Path | str | Store,
    out: Path | str | None,
    *,
    split: str = "test",
    label: str = "any",
    replicates: int = 1000,
    seed: int = 0,
    progress: bool = True,
) -> Audit:
    """Says whether the scores of a run or an ensemble come from something that is not blood, and from what.

    Each part of the scans that is not blood (``explanations.audit.causes``) is exchanged between scans of different
    patients, and the scores are compared (``explanations.audit.effects``). Writes ``audit.json`` and ``audit.png`` into
    ``out``.

    Args:
      run_path: the run's folder, or a run that is open.
      store_path: prepared scans, a folder or a store that is open.
      out: folder for the results; nothing is written where None.
      split: whose scans are audited, at most ``MOST_SCANS``.
      label: whose score of the scan.
      replicates: resamples behind the intervals.
      seed: of exchanges and resamples.
      progress: bars with an ETA on standard error.

    Raises:
      InputError: no run, another preparation than the run's, no such split or label, scans that the run was trained on,
        or too few patients.
    """
    check_draws(replicates=replicates, seed=seed)
    run, store = open_to_evaluate(run_path, store_path, split)
    check_known("label", label, run.objective.label_set.names, where="label")
    if not trained_names(run, "scan", (label,)):
        raise InputError("the run was never trained for this label of scans", where=label, fix="audit another label")
    scans = audited_scans(run, store, split, label, progress=progress)
    donors = draw_donors(scans.patients, times=EXCHANGES, seed=seed)
    if len(donors) < EXCHANGES:
        raise InputError(
            f"split {split!r} has too few patients beside the one with most scans",
            where=store.path,
            fix="audit scans of more patients",
        )
    causes, effects = [], {}
    with tqdm(total=len(CAUSES) * EXCHANGES, desc="audit", unit="exchange", disable=not progress) as bar:
        for cause in CAUSES:
            if run.prepare.keep == "brain" and cause in PLACES:
                causes.append(CauseFound(cause=cause, verdict="not audited", why="the preparation removes it"))
                bar.update(EXCHANGES)
                continue
            found, is_same = _exchange(run, store, scans, cause, donors, label, bar)
            share, lost = measure(scans.logits, scans.labels, scans.patients, found, replicates=replicates, seed=seed)
            moves = bool((found.logits != scans.logits).any())
            causes.append(conclude(cause, share, lost, is_same=is_same, scores_move=moves, holds=scans.holds(cause)))
            effects[cause] = np.mean(given_and_taken(scans.logits, found), axis=0)
    leaning = {one.cause: effects[one.cause] for one in causes if one.verdict == "leans"}
    logit_sd = float(scans.logits.std())
    named = name_causes(leaning, logit_sd, len(scans.rows))
    result = Audit(
        label=label,
        split=split,
        replicates=replicates,
        seed=seed,
        patients=int(scans.patients.max()) + 1,
        scans_in_split=len(store.rows(split)),
        logit_sd=logit_sd,
        causes=tuple(replace(one, scans_named=named.count(one.cause)) for one in causes),
        scans=tuple(
            ScanFound(
                series=scan_ids(store, row)["series"],
                label=None if np.isnan(scans.labels[i]) else int(scans.labels[i]),
                logit=float(scans.logits[i]),
                effects={cause: float(values[i]) for cause, values in effects.items()},
                named=named[i],
            )
            for i, row in enumerate(scans.rows)
        ),
        left_out=scans.left_out,
    )
    if out is not None:
        examples = [_example(run, store, scans, cause, leaning[cause], donors, label) for cause in leaning]
        files = {"audit.png": draw_audit(result, examples), "audit.json": json_bytes(result.to_json())}
        write_set(files, Path(out), what="audit")
    return result


def _exchange(
    run: Trained,
    store: Store,
    scans: AuditedScans,
    cause: str,
    donors: Int64[np.ndarray, "k n"],
    label: str,
    bar: tqdm,
) -> tuple[Exchanged, bool]:
    """The scores with a part exchanged, and whether that changed no voxel at all."""
    logits, is_same = [], True
    for turn in donors:
        other = exchanged(
            store, cause, {row: scans.rows[j] for row, j in zip(scans.rows, turn, strict=True)}, scans.parts
        )
        scored = list(scored_scans_of(run, other, scans.rows, label).values())
        is_same &= all(one.checksum == before for one, before in zip(scored, scans.checksums, strict=True))
        logits.append([one.logit for one in scored])
        bar.update()
    return Exchanged(logits=np.array(logits), donors=donors), is_same


def _example(
    run: Trained,
    store: Store,
    scans: AuditedScans,
    cause: str,
    effects: Float64[np.ndarray, " n"],
    donors: Int64[np.ndarray, "k n"],
    label: str,
) -> Example:
    """The scan that a part moved most, before and after it was exchanged with the scan that differs most in it."""
    at = int(np.abs(effects).argmax())
    other = int(donors[np.abs(effects[donors[:, at]] - effects[at]).argmax(), at])
    row = scans.rows[at]
    prepared = store.read(row).volume
    before, after = prepared.hu, exchanged(store, cause, {row: scans.rows[other]}, scans.parts).read(row).volume.hu
    found = explain_batch(
        run.objective, run.variables, *batch_of_one(prepared), label=label, method="input_x_gradient", level="scan"
    )
    maps = np.asarray(found.maps[0, : len(prepared.hu)])
    # The slice in which the score depends most on what was exchanged; of a score that is flat there, the most changed.
    told = np.abs(np.where(before != after, maps, 0)).sum((1, 2))
    s = int((told if told.any() else (before != after).sum((1, 2))).argmax())
    return Example(
        cause=cause,
        series=scan_ids(store, row)["series"],
        effect=float(effects[at]),
        slice_number=s + 1,
        before=before[s],
        after=after[s],
        map=maps[s],
    )
