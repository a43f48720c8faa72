"""From the files of a cohort to a store that can be trained on: index, split, check for leakage, store, data card."""

import contextlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ichformer.cohorts.cohort import as_cohort
from ichformer.cohorts.leakage import check_leakage
from ichformer.cohorts.patients import Patients, count_patients
from ichformer.cohorts.registry import COHORTS, takes_setting
from ichformer.cohorts.splits import FRACTIONS, split_by_patient, split_warnings
from ichformer.cohorts.splits import hold_out_site as hold_out
from ichformer.cohorts.tables import read_left_out
from ichformer.ct.io.display import WindowHU
from ichformer.errors import InputError, one_line
from ichformer.files.writing import path_text, shown
from ichformer.labels import LabelSet
from ichformer.pipeline.preparation.cluster import cluster_executor
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.preparation.prepare import prepare_index
from ichformer.pipeline.store.card import write_card
from ichformer.pipeline.store.pseudonyms import PUBLISHED
from ichformer.pipeline.store.records import Store


@dataclass(frozen=True, kw_only=True)
class PreparedCohort:
    """A store and how it came about.

    Attributes:
      dataset: the cohort's name.
      store: the prepared scans.
      index: the Study index that the store was made from, with the true names and paths that a store does not hold.
      unused: how many scans of the source the cohort's adapter left out.
      patients: how the patients are known.
      notes: what a user should know about how the source was read.
      warnings: what a user should know before trusting the labels and the split.
      card: the data card, a file in the store.
    """

    dataset: str
    store: Store
    index: pd.DataFrame
    unused: int
    patients: Patients
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    card: Path

    @property
    def rejects(self) -> int:
        """How many scans of the index could not be prepared; ``rejects.csv`` in the store says why."""
        return len(self.index) - len(self.store.index)

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "store": path_text(self.store.path),
            "series": len(self.store.index),
            "rejects": self.rejects,
            "unused": self.unused,
            "patients": self.patients.n_patients,
            "patients_known_from": self.patients.scans_by_source,
            "notes": list(self.notes),
            "warnings": list(self.warnings),
            "card": path_text(self.card),
        }


def prepare_cohort(
    dataset: str,
    *,
    source: Path | str,
    out: Path | str,
    labels: Path | str | None = None,
    columns: Sequence[str] = (),
    label_names: Sequence[str] = (),
    targets: Sequence[str] = (),
    patient_from: str = "",
    hold_out_site: str = "",
    fractions: Mapping[str, float] | None = None,
    seed: int = 0,
    config: PrepareConfig = PrepareConfig(),
    window_hu: WindowHU | None = None,
    patient_key: Path | str | None = None,
    with_uids: bool = False,
    workers: int | None = None,
    cluster: str | None = None,
    progress: bool = True,
) -> PreparedCohort:
    """Prepares the scans of a cohort for training. Called again, it does only what is missing.

    The split that the source gives is kept. Otherwise patients are divided at random, or one site becomes the test
    split. A store is only written where no patient, study or scan is in training and in test.

    Args:
      dataset: name of the cohort, such as "folder" for scans of your own.
      source: folder of its files; it is only read.
      out: folder of the store.
      labels: tables of labels that do not lie with the scans, such as the CSV of a folder.
      columns: of a folder: what columns of its CSV mean, such as ``("any=ICH", "path=file")``.
      label_names: of a folder: the columns of its CSV that are labels, in place of the six kinds of haemorrhage.
      targets: of a folder: the columns of its CSV that are numbers to predict, with the unit in the name.
      patient_from: of a folder: where a scan's patient is known from; see ``cohorts.folder.adapter.read_folder``.
      hold_out_site: name of the site that becomes the test split; the others become train and val.
      fractions: share of the patients by split, such as ``{"train": 0.7, "val": 0.1, "test": 0.2}``, which is the
        default. With ``hold_out_site`` it divides the other sites into "train" and "val", by default 0.85 and 0.15.
      seed: of the random split.
      config: how scans are brought to one form.
      window_hu: for display pictures, the HU of black and of white; estimated for each scan where None.
      patient_key: of a cohort that is not published: file with the key of the pseudonyms; a new key by default.
      with_uids: of such a cohort: keep UIDs and file names in the store.
      workers: processes; one per core by default.
      cluster: address of a Dask scheduler to work on instead.
      progress: show a bar with an ETA on standard error.

    Raises:
      InputError: there is no such cohort, a setting does not go with it, its files are not what they should be, a
        patient is in two splits, or the store cannot be written.
    """
    out = Path(out)
    if cluster is not None and workers is not None:
        raise InputError("the cluster has workers of its own", where="--workers", fix="leave it out with --cluster")
    scans, folder = (Path(os.path.abspath(path)) for path in (source, out))
    if scans == folder or (dataset == "folder" and scans in folder.parents):
        fix = "name a folder outside of it, as all that lies there is read as scans"
        raise InputError("lies in the folder of the scans", where=out, fix=fix)
    asked = {"columns": columns, "label_names": label_names, "targets": targets, "patient_from": patient_from}
    of_adapter = {name: value for name, value in asked.items() if value}
    of_names = {"patient_key": patient_key is not None, "with_uids": with_uids}
    _check_settings(dataset, [*of_adapter, *(name for name, is_given in of_names.items() if is_given)])
    with contextlib.ExitStack() as opened:
        cache = out / "cache"
        if dataset not in PUBLISHED:
            # The tables of an adapter have true names, so they must not stay in the store.
            cache = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="ichformer-")))
        load: Any = COHORTS[dataset]
        cohort = as_cohort(load(source, cache=cache, labels=labels, **of_adapter), where=dataset)
        left_out = read_left_out(cache / f"{dataset}_left_out.csv")
        label_set, notes = cohort.label_set, cohort.notes
        if left_out and dataset not in PUBLISHED:
            notes += tuple(f"left out {one_line(name)}: {one_line(why)}" for name, why in sorted(left_out.items())[:5])
        index = _split(cohort.index, label_set, hold_out_site=hold_out_site, fractions=fractions, seed=seed)
        executor: Executor | None = None
        if cluster is not None:
            executor = opened.enter_context(cluster_executor(cluster))
        store = prepare_index(
            index,
            out,
            label_set=label_set,
            config=config,
            window_hu=window_hu,
            executor=executor,
            workers=workers,
            patient_key=patient_key,
            with_uids=with_uids,
            progress=progress,
        )
    patients = count_patients(store.index)
    return PreparedCohort(
        dataset=dataset,
        store=store,
        index=index,
        unused=len(left_out),
        patients=patients,
        notes=notes,
        warnings=(*cohort.warnings, *patients.warnings(), *split_warnings(store.index, label_set)),
        card=write_card(store),
    )


def format_prepared(found: PreparedCohort) -> str:
    """What is said of a new store, for people."""
    path, n_series = shown(found.store.path), len(found.store.index)
    text = f"{path}: {n_series} series, {found.rejects} left out (rejects.csv says why)"
    if found.unused:
        where = f" (cache/{found.dataset}_left_out.csv)" if found.dataset in PUBLISHED else ""
        text += f", {found.unused} of no use{where}"
    lines = [text, f"{found.patients.known_from()}; {found.patients.n_patients} in all"]
    lines += [*(f"note: {note}" for note in found.notes), *(f"warning: {warning}" for warning in found.warnings)]
    return "\n".join([*lines, f"card: {shown(found.card)}"])


def _check_settings(dataset: str, settings: Sequence[str]) -> None:
    """InputError where there is no such cohort, or where it does not take one of the settings.

    Settings of the pseudonyms go with all cohorts that get some, the others with the adapters that take them.
    """
    COHORTS.find(dataset, where="--dataset")

    def goes_with(name: str, setting: str) -> bool:
        return name not in PUBLISHED if setting in ("patient_key", "with_uids") else takes_setting(name, setting)

    for setting in settings:
        if not goes_with(dataset, setting):
            names = ", ".join(name for name in COHORTS if goes_with(name, setting))
            option = f"--{setting.replace('_', '-')}"
            raise InputError(f"goes with --dataset {names} only", where=option, fix="leave it out")


def _split(
    index: pd.DataFrame, label_set: LabelSet, *, hold_out_site: str, fractions: Mapping[str, float] | None, seed: int
) -> pd.DataFrame:
    """A copy of the index with its split; InputError where something of the test split is trained on."""
    if hold_out_site:
        if fractions is None:
            index = hold_out(index, site=hold_out_site, seed=seed, label_set=label_set)
        elif set(fractions) == {"train", "val"}:
            index = hold_out(index, site=hold_out_site, seed=seed, val_fraction=fractions["val"], label_set=label_set)
        else:
            fix = 'give "train" and "val": the site that is held out is the test split'
            raise InputError(f"found {dict(fractions)}", where="fractions", fix=fix)
    elif not index["split"].any():
        index = split_by_patient(index, seed=seed, fractions=fractions or FRACTIONS, label_set=label_set)
    elif fractions is not None:
        raise InputError("the source gives a split of its own", where="fractions", fix="leave them out")
    check_leakage(index[index["split"].isin(["train", "val"])], index[index["split"] == "test"])
    return index
