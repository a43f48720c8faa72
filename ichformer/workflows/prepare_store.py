"""``ichformer.prepare``: from the files of a cohort to an opened store."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ichformer.ct.io.display import WindowHU
from ichformer.errors import named_as_arguments
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.store.records import Store
from ichformer.settings import as_names, as_path, fit, make_settings
from ichformer.workflows.prepare_cohort import format_prepared, prepare_cohort


def prepare(
    dataset: str,
    *,
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    labels: str | os.PathLike[str] | None = None,
    columns: str | Sequence[str] = (),
    label_names: str | Sequence[str] = (),
    targets: str | Sequence[str] = (),
    patient_from: str = "",
    hold_out_site: str = "",
    fractions: Mapping[str, float] | None = None,
    seed: int = 0,
    config: PrepareConfig | Mapping[str, Any] | None = None,
    window_hu: WindowHU | None = None,
    patient_key: str | os.PathLike[str] | None = None,
    with_uids: bool = False,
    workers: int | None = None,
    cluster: str | None = None,
    progress: bool = True,
) -> Store:
    """Prepares the scans of a cohort for training, as ``ichformer prepare`` does: split, leakage check, store, card.

    Called again, it does only what is missing.

    Example:
      >>> import ichformer as ich
      >>> store = ich.prepare("folder", source="scans/", labels="labels.csv", out="store", progress=False)
      >>> len(store.rows("train")) > len(store.rows("test"))
      True

    Args:
      dataset: the cohort: "folder" for scans of your own, or a name such as "cq500" or that of a plugin.
      source: the folder of its files; it is only read.
      out: the folder of the store.
      labels: tables of labels that do not lie with the scans, such as the CSV of a folder.
      columns: of a folder: what columns of its CSV mean, such as ``("any=ICH", "path=file")``.
      label_names: of a folder: the columns of its CSV that are labels, in place of the six kinds of haemorrhage.
      targets: of a folder: the columns of its CSV that are numbers to predict, with the unit in the name.
      patient_from: of a folder: where a scan's patient is known from: "folder" for the folder directly below the
        source, or a pattern with one group. The column "patient" of the CSV comes first, then the DICOM header.
      hold_out_site: name of the site that becomes the test split; the others become train and val.
      fractions: share of the patients by split, such as ``{"train": 0.7, "val": 0.1, "test": 0.2}``, which is the
        default. With ``hold_out_site`` it divides the other sites into "train" and "val", by default 0.85 and 0.15.
      seed: of the random split.
      config: how scans are brought to one form, or some of its settings, such as ``{"size": 112, "keep": "brain"}``.
      window_hu: for display pictures, the HU of black and of white; estimated for each scan where None.
      patient_key: of a cohort that is not published: file with the key of the pseudonyms; a new key by default.
      with_uids: of such a cohort: keep UIDs and file names in the store.
      workers: processes; one per core by default.
      cluster: address of a Dask scheduler to work on instead.
      progress: show a bar with an ETA on standard error, and there what was left out, notes and warnings.

    Returns:
      The store, opened.

    Raises:
      InputError: there is no such cohort, a setting is not of its type or does not go with the cohort, the files are
        not what they should be, a patient is in two splits, or the store cannot be written.
    """
    table = None if labels is None else as_path(labels, where="labels", fix="save the table as CSV and name the file")
    with named_as_arguments():
        found = prepare_cohort(
            fit(str, dataset, where="dataset", fix="give the name of a cohort, such as 'folder'"),
            source=as_path(source, where="source", fix="name a folder"),
            out=as_path(out, where="out", fix="name a folder"),
            labels=table,
            columns=as_names(columns, where="columns"),
            label_names=as_names(label_names, where="label_names"),
            targets=as_names(targets, where="targets"),
            patient_from=fit(str, patient_from, where="patient_from"),
            hold_out_site=fit(str, hold_out_site, where="hold_out_site"),
            fractions=fit(Mapping[str, float] | None, fractions, where="fractions"),
            seed=fit(int, seed, where="seed"),
            config=make_settings(PrepareConfig, config, where="config"),
            window_hu=fit(WindowHU | None, window_hu, where="window_hu"),
            patient_key=None if patient_key is None else as_path(patient_key, where="patient_key"),
            with_uids=fit(bool, with_uids, where="with_uids"),
            workers=fit(int | None, workers, where="workers"),
            cluster=fit(str | None, cluster, where="cluster"),
            progress=fit(bool, progress, where="progress"),
        )
    if progress:
        print(format_prepared(found), file=sys.stderr)  # noqa: T201
    return found.store
