"""BHSD: scans of RSNA 2019 as NIfTI, 192 of them with the voxels of all five kinds of bleed outlined.

Wu et al., MLMI 2023, arXiv 2308.11298; https://github.com/White65534/BHSD and
https://huggingface.co/datasets/WuBiao/BHSD. The README names the MIT licence; the pixels are those of RSNA 2019 and
stay under the terms of that competition.

A file is called by the PatientID and the StudyInstanceUID of RSNA 2019, ``ID_<8 hex>_ID_<10 hex>.nii.gz``. So the
rows have that origin and its names of patients, and ``leakage.check_leakage`` finds those that are also in RSNA 2019.

The paper counts 2,200 more scans with labels of slices. What is published are 1,980, parted into bleeding and not,
without labels of slices: those are RSNA's own.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from ichformer import LABELS
from ichformer.cohorts.adapters.voxels import label_by_masks, nifti_files, refuse_none, slice_table
from ichformer.cohorts.index import make_index
from ichformer.cohorts.tables import find_below, write_left_out, write_table
from ichformer.ct.io.nifti import slice_names
from ichformer.errors import InputError

_NAME = re.compile(r"(ID_[0-9a-f]+)_(ID_[0-9a-f]+)")
_UNLABELLED = {"anybleed": 1.0, "nobleed": 0.0}


def load(source: Path | str, *, cache: Path | str, labels: Path | str | None = None) -> pd.DataFrame:
    """Returns the Study index of ``label_192`` and, where it is there, ``unlabel_2000``.

    Masks hold 1 to 5 for the subtypes in the order of ``LABELS`` (``dataset.json`` of the set). Of the scans without a
    mask "any" is known, and that no slice bleeds where none does. ``bhsd_slices.csv``, ``bhsd_no_bleed_slices.csv``
    and, where a file does not fit, ``bhsd_left_out.csv`` are written to ``cache``.

    Args:
      source: the folder of ``label_192`` with ``images`` and ``ground truths``, and of ``unlabel_2000`` with
        ``anybleed`` and ``nobleed``.
      cache: where tables are written.
      labels: not wanted, the masks tell.

    Raises:
      InputError: no scans, or none with a mask that fits.
    """
    source, cache = Path(source), Path(cache)
    if labels is not None:
        raise InputError("the masks of BHSD are its labels", where=labels, fix="leave it out")
    images = find_below(source, ("images",))
    if images is None or not nifti_files(images):
        raise InputError("holds no label_192/images with scans", where=source, fix="unpack label_192.zip there")
    left_out: dict[str, str] = {}
    rows = _rows(nifti_files(images), left_out)
    outlined = [
        row | {"mask": str(images.parent.absolute() / "ground truths" / Path(row["path"]).name)} for row in rows
    ]
    labelled, without = label_by_masks(outlined, _labels_of, desc="masks", table_path=cache / "bhsd_slices.csv")
    left_out |= without
    refuse_none(labelled, left_out, where=source)
    more = _unlabelled(source, {row["series"] for row in rows}, left_out, cache / "bhsd_no_bleed_slices.csv")
    write_left_out(left_out, cache / "bhsd_left_out.csv")
    return make_index([*labelled, *more])


def _rows(scans: Mapping[str, Path], left_out: dict[str, str]) -> list[dict[str, str]]:
    """A row for each scan that is called as it should be; the others go to ``left_out``."""
    rows = []
    for name, path in scans.items():
        if match := _NAME.fullmatch(name):
            ids = {"patient": match[1], "patient_source": "dataset", "study": match[2], "series": name}
            rows.append({"cohort": "bhsd", "origin": "rsna2019", **ids, "path": str(path.absolute())})
        else:
            left_out[name] = "is not called ID_<patient>_ID_<study>, so its patient is unknown"
    return rows


def _unlabelled(source: Path, known: set[str], left_out: dict[str, str], table_path: Path) -> list[dict[str, object]]:
    """Rows of the scans without masks, which are parted by whether they bleed."""
    rows: list[dict[str, object]] = []
    tables = []
    for part, bleeds in _UNLABELLED.items():
        folder = find_below(source, (part,))
        scans = {} if folder is None else {n: path for n, path in nifti_files(folder).items() if n not in known}
        for row in _rows(scans, left_out):
            if bleeds:
                rows.append({**row, "any": 1.0})
                continue
            try:
                names = slice_names(Path(row["path"]))
            except InputError as error:
                left_out[row["series"]] = str(error)
                continue
            rows.append({**row, **dict.fromkeys(LABELS, 0.0), "slice_labels": str(table_path.absolute())})
            tables.append(slice_table(row["series"], names, np.zeros((len(names), len(LABELS)))))
    if tables:
        write_table(pd.concat(tables), table_path)
    return rows


def _labels_of(values: frozenset[int]) -> list[float]:
    """Value k is the k-th label; values beyond the subtypes make the labels unknown."""
    if max(values, default=0) >= len(LABELS):
        return [np.nan] * len(LABELS)
    return [float(k in values) for k in range(1, len(LABELS))] + [float(bool(values))]
