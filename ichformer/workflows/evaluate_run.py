"""A run over a store: the table of predictions, the thresholds frozen on validation, and what is said of them."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64

from ichformer import LABELS
from ichformer.cohorts.index import GROUP_PREFIX, group_columns
from ichformer.cohorts.leakage import check_leakage
from ichformer.cohorts.patients import apart_by_key, count_patients
from ichformer.errors import InputError
from ichformer.evaluation.ood import OOD_NAME, UNUSUAL, FeatureDistance, describe, fit_ood, read_ood, write_ood
from ichformer.evaluation.scan_groups import GROUP_COLUMNS, scan_groups
from ichformer.evaluation.scorable import check_numbers, why_stored_not_scored
from ichformer.evaluation.summary import Summary, summarise
from ichformer.evaluation.tables.checked import check_table
from ichformer.evaluation.tables.table import NOT_SCORED, LevelName, columns, score_columns
from ichformer.evaluation.thresholds import fix_thresholds
from ichformer.inference.ensembles import Trained, open_trained
from ichformer.models.contract import scan_features
from ichformer.objectives.classification import Classification
from ichformer.pipeline.loader import evaluation_batches
from ichformer.pipeline.store.records import Store
from ichformer.reporting.evaluation.folder import write_evaluation
from ichformer.reporting.evaluation.run_facts import run_facts
from ichformer.training.config import TrainConfig
from ichformer.training.runs.outputs import TrainedOutputs
from ichformer.training.runs.run import Run, seen_scans
from ichformer.training.sharding.parallel import make_mesh, replicate, shard_batch
from ichformer.training.trainer import train
from ichformer.workflows.frozen import Frozen, is_trained_now, keep_frozen, read_frozen

USUAL_NAME = f"within {UNUSUAL:g} % of validation"
UNUSUAL_NAME = f"beyond {UNUSUAL:g} % of validation"
"""How the page calls scans that look like the training, and those that do not."""

NO_VALIDATION = (
    'no thresholds: neither the run nor this store has validation scans (a split "val") to fix them on, so there is '
    "no sensitivity, no specificity and no recalibration"
)
"""What is said of an evaluation without thresholds."""

STILL_TRAINED = (
    "the run is still being trained: judged are the parameters of its last checkpoint. Thresholds were fixed for them "
    "now and are not kept, and there is no out-of-distribution score"
)
"""What is said of an evaluation beside a training."""

MOST_OOD_SCANS = 512
"""Of training and of validation that ``freeze_ood`` looks at."""


def predict_store(run: Trained, store: Store, split: str, *, batch_size: int = 8) -> pd.DataFrame:
    """Scores of every slice and scan of a split, as the table that ``evaluation.table`` describes.

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
    mesh = make_mesh()
    batch_size = -(-batch_size // mesh.size) * mesh.size
    params = replicate(run.params, mesh)
    rows: list[dict[str, Any]] = []
    features: list[np.ndarray] = []
    outputs = run.trained_outputs
    chosen = store.rows(split)
    groups = group_columns(store.index)
    chosen = chosen if most is None else chosen[:: max(1, -(-len(chosen) // most))]
    for batch in evaluation_batches(store, rows=chosen, batch_size=batch_size):
        found = jax.device_get(_score(run.objective, params, shard_batch(batch, mesh)))
        slice_scores, scan_scores, of_scan = found
        for i in np.flatnonzero(batch.weight):
            row, real = int(batch.row[i]), batch.slice_mask[i]
            z, y, x = map(float, batch.spacing_mm[i])
            hu = batch.hu[i][real]
            entry = store.index.iloc[row]
            ids = {name: str(entry[name]) for name in ("study", "series", "site", "split")}
            ids |= {"patient": f"{entry['origin']}/{entry['patient']}", **scan_groups(store, row)}
            ids |= {name: str(entry[name]) for name in groups}
            if unscored is None:
                found_out = why_stored_not_scored(store, row, hu)
                found_out = found_out or check_numbers(scan_scores[i], slice_scores[i, real])
                reason = "" if found_out is None else found_out.text
            else:
                reason = unscored.get(ids["series"], "")
            rows.append(_row(ids, "", batch.scan_labels[i], *_given("scan", scan_scores[i], reason, outputs)))
            features.append(describe(of_scan[i], hu, (z, y, x)))
            for s in np.flatnonzero(real):
                given = _given("slice", slice_scores[i, s], reason, outputs)
                rows.append(_row(ids, str(s), batch.slice_labels[i, s], *given))
    names = list(dict.fromkeys([*columns(), NOT_SCORED, *GROUP_COLUMNS, *groups]))
    return pd.DataFrame(rows, columns=names), np.stack(features)


def unscored_scans(table: pd.DataFrame) -> dict[str, str]:
    """The scans of a table that have no score at all, and why, by series."""
    scans = table[table["slice"] == ""]
    without = scans[scans[score_columns()].isna().all(axis=1)]
    return dict(zip(without["series"], without[NOT_SCORED], strict=True))


def scored_scans(table: pd.DataFrame) -> Bool[np.ndarray, " scans"]:
    """Which scans of a table have a score, in the order of their rows."""
    return table.loc[table["slice"] == "", score_columns()].notna().any(axis=1).to_numpy()


def _given(level: LevelName, scores: np.ndarray, reason: str, outputs: TrainedOutputs | None) -> tuple[np.ndarray, str]:
    """The scores that mean something, NaN for the others, and why they are missing."""
    if reason:
        return np.full_like(scores, np.nan), reason
    missing = () if outputs is None else outputs.missing(level)
    given = np.where([label in missing for label in LABELS], np.nan, scores)
    return given, "" if outputs is None else outputs.reason(level)


def fix_frozen(run: Trained, store: Store, split: str = "val") -> Frozen:
    """The run's thresholds on a split; nothing is written."""
    table = check_table(predict_store(run, store, split), labels=LABELS)
    thresholds = dataclasses.replace(fix_thresholds(table), model=run.fingerprint)
    return Frozen(thresholds=thresholds, validation=table)


def freeze_ood(run: Trained, store: Store, *, train: str = "train", reference: str = "val") -> FeatureDistance | None:
    """Learns what the run's training scans look like and writes that into its folder, where it stays.

    Scans that cannot be scored say nothing of it. None, and nothing is written, where too few are left. Nothing is
    written while the run is being trained.
    """
    found = (predict_and_embed(run, store, split, most=MOST_OOD_SCANS) for split in (train, reference))
    seen, other = (features[scored_scans(table)] for table, features in found)
    if len(seen) < 2 or not len(other):
        return None
    distance = dataclasses.replace(fit_ood(seen, other), model=run.fingerprint)
    if not is_trained_now(run):
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
        keep_frozen(fix_frozen(trained, store), trained)
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
    """Judges a run or an ensemble on a split and writes ``folder.FILES`` into ``out``.

    Thresholds, and the predictions that calibration is mended on, come from the run. A run that has none yet gets them
    from the store's split "val"; where there is no such split, it is judged without thresholds, and that is said.

    Raises:
      InputError: no run, another preparation than the run's, no such split, thresholds asked of the judged split, or
        scans that the run was trained on.
    """
    run, store = open_to_judge(run_path, store_path, split)
    frozen, remarks = _frozen(run, store)
    validation = None if frozen is None else frozen.validation
    fixed_on = None if validation is None else validation.patients
    table, features = predict_and_embed(run, store, split)
    if (run.path / OOD_NAME).exists() and not is_trained_now(run):
        table = with_familiarity(table, read_ood(run.path / OOD_NAME, model=run.fingerprint).percentiles(features))
    checked = check_table(table, labels=LABELS)
    summary = summarise(
        checked,
        thresholds=None if frozen is None else frozen.thresholds,
        # Where judged patients fixed the thresholds, the summary says so, and there is nothing to mend on.
        validation=None if fixed_on is None or fixed_on & checked.patients else validation,
        fixed_on=fixed_on,
        prevalence=prevalence,
        replicates=replicates,
        remarks=(*remarks, *_patient_remarks(run, store, split)),
    )
    write_evaluation(summary, checked, out, facts=run_facts(run, store, split))
    return summary


def _frozen(run: Trained, store: Store) -> tuple[Frozen | None, tuple[str, ...]]:
    """The run's thresholds, fixed and kept now where they have not been; and what is to be said of them."""
    if (kept := read_frozen(run)) is not None:
        return kept, ()
    remarks = (STILL_TRAINED,) * is_trained_now(run)
    if "val" not in set(store.index["split"]):
        return None, (*remarks, NO_VALIDATION)
    frozen = fix_frozen(run, store)
    keep_frozen(frozen, run)
    return frozen, remarks


def _patient_remarks(run: Trained, store: Store, split: str) -> Iterator[str]:
    """What has to be said where it is not known whose the judged scans or those of the training are."""
    scans = {"judged": store.index.iloc[store.rows(split)], "training": seen_scans(run.path)}
    for name, index in scans.items():
        if index is not None:
            yield from (f"{name} scans: {warning}" for warning in count_patients(index).warnings())
    if scans["training"] is not None and (apart := apart_by_key(scans["training"], scans["judged"])):
        yield apart


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


def _row(ids: dict[str, str], number: str, labels: np.ndarray, scores: np.ndarray, reason: str) -> dict[str, Any]:
    named = dict(zip(score_columns(), map(float, scores), strict=True))
    labelled = dict(zip(LABELS, map(float, labels), strict=True))
    return {**ids, "slice": number, **labelled, **named, NOT_SCORED: reason}
