"""``ichformer.probe``: what a simple classifier reads from the frozen features of a run."""

import functools
import os
from collections.abc import Sequence

import pandas as pd

from ichformer.cohorts.leakage import check_leakage
from ichformer.evaluation.probes.probe import check_probe, probe_features
from ichformer.evaluation.probes.results import ProbeResult
from ichformer.evaluation.probes.text import probe_files
from ichformer.evaluation.tables.table import LevelName
from ichformer.files.sets import write_set
from ichformer.settings import as_path, check_known
from ichformer.statistics.probes.fits import DRAWS, FRACTIONS, ProbeMethod
from ichformer.training.runs.run import seen_scans
from ichformer.workflows.features.embed_store import RunLike, StoreLike, embed_rows, features_of, open_to_embed

TRAIN, TEST = "train", "test"
"""The splits that a probe is fitted on and evaluated on."""


def probe(
    run: RunLike,
    store: StoreLike,
    *,
    label: str = "any",
    method: ProbeMethod = "ridge",
    fractions: Sequence[float] = FRACTIONS,
    draws: int = DRAWS,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> ProbeResult:
    """Fits a simple classifier on frozen features of a store's training scans and evaluates it on its test scans.

    The model stays as it is, so that the AUROC says how much its features tell of a label, also with few labels.

    Example:
      >>> import ichformer as ich
      >>> result = ich.probe("runs/first", "store", label="any", draws=2, progress=False)
      >>> result.label, [share.fraction for share in result.shares]
      ('any', [0.01, 0.05, 0.1, 1.0])

    Args:
      run: a run or an ensemble, or its folder.
      store: prepared scans with the splits "train" and "test": a store or its folder.
      label: a label of the store.
      method: "ridge" for a linear classifier by ridge regression, whose penalty is chosen by the error of each training
        patient left out; "knn" for the votes of the 20 nearest training scans; "attentive" for a learned query over the
        slices of each scan, with a linear classifier of what it reads.
      fractions: shares of the labelled training patients to fit on; all of them are always taken too.
      draws: of patients, for each share below 1.
      seed: of the draws.
      out: folder for ``probe.csv`` (one row a draw), ``probe.json`` and ``predictions.csv``, which ``compare`` takes;
        nothing is written where None.
      progress: show a bar with an ETA on standard error.

    Returns:
      AUROCs by draw and by share, the one of all training patients with its 95 % interval over test patients, measures
      of collapse, and predictions of the test scans.

    Raises:
      InputError: no run, scans that were prepared in another way, no such split or label, test scans that the run was
        trained on, or an option that is out of range.
    """
    check_probe(method=method, fractions=fractions, draws=draws, seed=seed)
    folder = None if out is None else as_path(out, where="out", fix="name a folder")
    model, prepared = open_to_embed(run, store)
    check_known("label", label, prepared.label_set.names, where="label")
    rows = {name: prepared.rows(name) for name in (TRAIN, TEST)}
    index = {name: prepared.index.iloc[of_split] for name, of_split in rows.items()}
    for seen in (index[TRAIN], seen_scans(model.path)):
        if seen is not None:
            check_leakage(seen, index[TEST])

    def tables(level: LevelName) -> tuple[pd.DataFrame, pd.DataFrame]:
        compute = functools.partial(features_of, model.objective, level)
        train, test = (embed_rows(compute, model.params, prepared, rows[one], level, progress) for one in (TRAIN, TEST))
        return train, test

    train, test = tables("scan")
    result = probe_features(
        train,
        test,
        label=label,
        method=method,
        fractions=fractions,
        draws=draws,
        seed=seed,
        slices=tables("slice") if method == "attentive" else None,
    )
    if folder is not None:
        write_set(probe_files(result), folder, what="probe")
    return result
