"""A run over a store: the table of predictions, the thresholds frozen on validation, and what is said of them."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float64

from ichformer.cohorts.index import GROUP_PREFIX
from ichformer.cohorts.leakage import check_leakage
from ichformer.cohorts.patients import apart_by_key, count_patients
from ichformer.errors import InputError
from ichformer.evaluation.lesions.summary import summarise_lesions
from ichformer.evaluation.lesions.text import lesion_warnings
from ichformer.evaluation.ood import OOD_NAME, UNUSUAL, FeatureDistance, fit_ood, read_ood, write_ood
from ichformer.evaluation.summary import Summary, summarise
from ichformer.evaluation.tables.checked import check_table
from ichformer.evaluation.thresholds import RULES, Rule, fix_thresholds
from ichformer.inference.recipes import recipe_of
from ichformer.inference.trained import Trained, open_trained
from ichformer.pipeline.store.records import Store
from ichformer.reporting.evaluation.folder import write_evaluation
from ichformer.reporting.evaluation.run_facts import run_facts
from ichformer.training.runs.contract import check_recipe
from ichformer.training.runs.pretrained_run import PretrainedRun
from ichformer.training.runs.run import SEEN_NAME, seen_scans
from ichformer.workflows.parts.frozen import Frozen, is_trained_now, keep_frozen, read_frozen
from ichformer.workflows.parts.lesion_table import frozen_lesions, lesion_table
from ichformer.workflows.parts.predict_store import (
    predict_and_embed,
    predict_store,
    scored_scans,
    shared_labels,
    unscored_scans,
)

USUAL_NAME = f"within {UNUSUAL:g} % of validation"
UNUSUAL_NAME = f"beyond {UNUSUAL:g} % of validation"
"""How the page calls scans that look like the training, and those that do not."""

NO_VALIDATION = (
    'no thresholds: neither the run nor this store has validation scans (a split "val") to fix them on, so there is '
    "no sensitivity, no specificity and no recalibration"
)
"""What is said of an evaluation without thresholds."""

STILL_TRAINED = (
    "the run is still being trained: the parameters of its last checkpoint were evaluated. Thresholds were fixed for "
    "them now and are not kept, and there is no out-of-distribution score"
)
"""What is said of an evaluation beside a training."""

MOST_OOD_SCANS = 512
"""Of training and of validation that ``freeze_ood`` looks at."""


def fix_frozen(run: Trained, store: Store, split: str = "val", *, rules: tuple[Rule, ...] = RULES) -> Frozen:
    """The run's thresholds on a split, by each rule in turn; nothing is written."""
    labels = run.objective.label_set.names
    table = check_table(predict_store(run, store, split), labels=labels)
    thresholds = dataclasses.replace(fix_thresholds(table, rules=rules), model=run.fingerprint)
    return Frozen(thresholds=thresholds, validation=table)


def freeze_ood(run: Trained, store: Store, *, train: str = "train", reference: str = "val") -> FeatureDistance | None:
    """Learns what the run's training scans look like and writes that into its folder, where it stays.

    Scans that cannot be scored say nothing of it. None, and nothing is written, where too few are left. Nothing is
    written while the run is being trained.
    """
    found = (predict_and_embed(run, store, split, most=MOST_OOD_SCANS) for split in (train, reference))
    labels = run.objective.label_set.names
    seen, other = (features[scored_scans(table, labels)] for table, features in found)
    if len(seen) < 2 or not len(other):
        return None
    distance = dataclasses.replace(fit_ood(seen, other), model=run.fingerprint)
    if not is_trained_now(run):
        write_ood(distance, run.path / OOD_NAME)
    return distance


def evaluate(
    run_path: Path | str | Trained,
    store_path: Path | str | Store,
    out: Path | str | None,
    *,
    split: str = "test",
    prevalence: float | None = None,
    replicates: int = 2000,
) -> Summary:
    """Evaluates a run or an ensemble on a split; with ``out``, writes ``folder.FILES`` into that folder.

    Thresholds, and the predictions that calibration is fixed on, come from the run. A run that has none yet gets them
    from the store's split "val"; where there is no such split, it is evaluated without thresholds, and that is said.
    A lesion map is compared with the masks of the split, at thresholds that are frozen in the same way.

    Raises:
      InputError: no run, another preparation than the run's, no such split, thresholds asked of the evaluated split, or
        scans that the run was trained on.
    """
    run, store = open_to_evaluate(run_path, store_path, split)
    frozen, remarks = _frozen(run, store)
    validation = None if frozen is None else frozen.validation
    fixed_on = None if validation is None else validation.patients
    table, features = predict_and_embed(run, store, split)
    if (run.path / OOD_NAME).exists() and not is_trained_now(run):
        table = with_familiarity(table, read_ood(run.path / OOD_NAME, model=run.fingerprint).percentiles(features))
    labels = shared_labels(run.objective.label_set, store.label_set).names
    checked = check_table(table, labels=labels)
    # Where evaluated patients fixed the thresholds, the summary says so, and nothing is recalibrated on them.
    others = None if validation is None or validation.patients & checked.patients else validation
    summary = summarise(
        checked,
        thresholds=None if frozen is None else frozen.thresholds,
        validation=None if others is None else check_table(others, labels=labels),
        fixed_on=fixed_on,
        prevalence=prevalence,
        replicates=replicates,
        remarks=(*remarks, *_label_remarks(run, store), *_patient_remarks(run, store, split)),
    )
    lesions = _lesions(run, store, split, table)
    if lesions is not None:
        summary = dataclasses.replace(
            summary,
            lesions=summarise_lesions(lesions, replicates=replicates),
            warnings=(*summary.warnings, *lesion_warnings(lesions)),
        )
    if out is not None:
        write_evaluation(summary, checked, out, facts=run_facts(run, store, split), lesions=lesions)
    return summary


def _lesions(run: Trained, store: Store, split: str, table: pd.DataFrame) -> pd.DataFrame | None:
    """The table of lesions; None where the run has no lesion map or no scan of the split a mask."""
    if not store.index.iloc[store.rows(split)]["has_mask"].any():
        return None
    frozen = frozen_lesions(run, store)
    if frozen is None:
        return None
    return lesion_table(run, store, split, frozen, unscored=unscored_scans(table, run.objective.label_set.names))


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


def _label_remarks(run: Trained, store: Store) -> Iterator[str]:
    """What the run scores and the store does not know, and the other way round."""
    ours, theirs = run.objective.label_set, store.label_set
    shared = shared_labels(ours, theirs).columns
    if lacking := [name for name in ours.columns if name not in shared]:
        yield f"the store does not have {', '.join(lacking)}, which the run gives: not evaluated"
    if further := [name for name in theirs.columns if name not in shared]:
        yield f"the run does not give {', '.join(further)}, which the store has: not evaluated"


def _patient_remarks(run: Trained, store: Store, split: str) -> Iterator[str]:
    """Remarks where it is not known which patients the evaluated scans, or those of the training, belong to."""
    scans = {"evaluated": store.index.iloc[store.rows(split)], "training": seen_scans(run.path)}
    if scans["training"] is None:
        yield f"the run has no {SEEN_NAME}, its list of training scans: nobody checked that it never saw these patients"
    for name, index in scans.items():
        if index is not None:
            yield from (f"{name} scans: {warning}" for warning in count_patients(index).warnings())
    if scans["training"] is not None and (apart := apart_by_key(scans["training"], scans["evaluated"])):
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


def open_to_evaluate(
    run_path: Path | str | Trained, store_path: Path | str | Store, split: str
) -> tuple[Trained, Store]:
    """A run or an ensemble, and a store to evaluate it on; either may be open already.

    Raises:
      InputError: no run, another preparation than the run's, no such split, or scans that the run was trained on.
    """
    run = open_trained(run_path) if isinstance(run_path, Path | str) else run_path
    store = Store.open(store_path) if isinstance(store_path, Path | str) else store_path
    check_preparation(run, store)
    shared_labels(run.objective.label_set, store.label_set)
    evaluated, seen = store.index.iloc[store.rows(split)], seen_scans(run.path)
    if seen is not None:
        check_leakage(seen, evaluated)
    return run, store


def check_preparation(run: Trained | PretrainedRun, store: Store) -> None:
    """InputError where a store was prepared otherwise than the run's scans were, or by another recipe."""
    if store.config != dataclasses.asdict(run.prepare):
        raise InputError(
            f"was prepared with {store.config}, the run with {dataclasses.asdict(run.prepare)}",
            where=store.path,
            fix="prepare it as the run's scans were",
        )
    check_recipe(recipe_of(run), store, run=run.path)
