"""Any folder of scans, with a CSV of labels or without."""

import hashlib
import os
from collections import Counter
from pathlib import Path, PurePosixPath

import pandas as pd
import pydicom

from ichformer.cohorts.folder_labels import Labelled, read_labels
from ichformer.cohorts.index import make_index
from ichformer.ct.archives import open_file
from ichformer.ct.headers import quiet_pydicom
from ichformer.ct.nifti import NiftiFile, slice_names
from ichformer.ct.scans import Scan, find_scans
from ichformer.ct.series import Found, Series
from ichformer.errors import InputError
from ichformer.files import path_text


def load(source: Path | str, *, cache: Path | str, labels: Path | str | None = None) -> pd.DataFrame:
    """Study index of all series below a folder; see ``folder_labels.read_labels`` for the CSV.

    Patients are called by a hash of their PatientID. Whoever knows an ID can find its hash: it keeps names out of
    outputs, it does not make data anonymous.

    Args:
      source: the folder.
      cache: where a table of slice labels is written.
      labels: the CSV; all labels are unknown without it.

    Raises:
      InputError: no series; a row of the CSV that matches nothing, or two that match the same; a column it cannot have.
    """
    source, found = Path(source), find_scans(source)
    if not found.series:
        reason = f", such as {found.set_aside[0]}" if found.set_aside else ""
        raise InputError(
            f"holds no series among {len(found.set_aside)} files{reason}",
            where=source,
            mend="name a folder of scans",
        )
    rows: dict[str, dict[str, object]] = {}
    keyed: list[Labelled] = []
    for name, series in named_series(found).items():
        patient_id, study = _patient_id(series), series.study_uid
        patient = "P-" + _hash(patient_id or study or name)
        rows[name] = {"cohort": "folder", "origin": "folder", "patient": patient, "study": study, "series": name}
        rows[name]["path"] = path_text(series.path.absolute())
        below = PurePosixPath(series.path.relative_to(source).as_posix())
        keys = {
            "series": {name, series.uid},
            "study": {study},
            "patient": {patient, patient_id},
            "path": {path_text(str(path)) for path in (below, *below.parents)},
        }
        keyed.append(Labelled(series=name, keys=keys, slices=_slice_names(series)))
    if labels is not None:
        for name, more in read_labels(Path(labels), keyed, cache=Path(cache)).items():
            rows[name] |= more
    return make_index(rows.values())


def named_series(found: Found[Scan]) -> dict[str, Scan]:
    """Series by a name that is unique: their UID, or a hash of their files' names.

    Where that repeats, a hash of the slices is added. It does not depend on what else was found, so that a series has
    the same name when its own folder is read again.
    """
    names = [series.uid or "S-" + _hash("/".join(file.name for file in series.files)) for series in found.series]
    repeats = Counter(names)
    named: dict[str, Scan] = {}
    for series, name in zip(found.series, names, strict=True):
        unique = name if repeats[name] == 1 else f"{name}#{_hash(_slices_of(series))}"
        while unique in named:
            unique += "+"
        named[unique] = series
    return named


def _slices_of(scan: Scan) -> str:
    slices = [h.sop_uid or h.path.name for h in scan.headers] if isinstance(scan, Series) else []
    return " ".join([scan.files[0].absolute().parent.name, *sorted(slices)])


def _slice_names(scan: Scan) -> dict[str, str]:
    """Whatever a row may call a slice -> its name in ``Volume.source``."""
    if isinstance(scan, Series):
        return {
            name: header.sop_uid or path_text(header.path.name)
            for header in scan.headers
            for name in (path_text(header.path.name), header.sop_uid)
            if name
        }
    try:
        names = slice_names(scan.path) if isinstance(scan, NiftiFile) else [path_text(file.name) for file in scan.files]
    except InputError:  # a broken file: it is left out, with this reason, when it is prepared
        names = []
    return dict(zip(names, names, strict=True))


def _patient_id(series: Scan) -> str:
    if not isinstance(series, Series):
        return ""
    with quiet_pydicom(), open_file(series.files[0]) as file:
        dataset = pydicom.dcmread(file, specific_tags=["PatientID"], stop_before_pixels=True, force=True)
    return str(dataset.get("PatientID") or "").strip()


def _hash(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:12]
