"""INSTANCE 2022: 100 head CT scans with bleeds outlined, of whatever kind.

Li et al., arXiv 2301.03281; https://instance.grand-challenge.org, after registration and under the challenge's
agreement: annotations are CC BY-NC-ND, and the data may not be passed on. The scans were collected for the challenge;
no source says that they stand in another public set. The validation and test parts come without masks and are not read.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from ichformer.cohorts.adapters.voxels import label_by_masks, nifti_files, refuse_none
from ichformer.cohorts.index import make_index
from ichformer.cohorts.tables import find_below, write_left_out
from ichformer.errors import InputError


def load(source: Path | str, *, cache: Path | str, labels: Path | str | None = None) -> pd.DataFrame:
    """Returns the Study index of the training part.

    "any" of slices and scans is known, the subtypes only where there is no bleed.
    Each scan is taken for a patient's only one, which is a guess: the set says nothing of patients. Masks are 1 where
    there is blood. ``instance_slices.csv`` and, where a mask does not fit, ``instance_left_out.csv`` are written to
    ``cache``.

    Args:
      source: the folder of ``train_2``, as the archive unpacks, with ``data/001.nii.gz`` and ``label/001.nii.gz``.
      cache: where tables are written.
      labels: not wanted, the masks tell.

    Raises:
      InputError: no scans, or none with a mask that fits.
    """
    source, cache = Path(source), Path(cache)
    if labels is not None:
        raise InputError("the masks of INSTANCE are its labels", where=labels, fix="leave it out")
    folder = find_below(source, ("data",))
    scans = nifti_files(folder) if folder else {}
    if folder is None or not scans:
        raise InputError("holds no data/001.nii.gz or the like", where=source, fix="name the folder of train_2")
    rows = [
        {"cohort": "instance", "origin": "instance", "patient": f"instance-{name}", "series": f"instance-{name}"}
        | {"patient_source": "guessed", "path": str(path.absolute())}
        | {"mask": str((folder.parent / "label" / path.name).absolute())}
        for name, path in scans.items()
    ]
    labelled, left_out = label_by_masks(rows, _labels_of, desc="masks", table_path=cache / "instance_slices.csv")
    write_left_out(left_out, cache / "instance_left_out.csv")
    refuse_none(labelled, left_out, where=source)
    return make_index(labelled)


def _labels_of(values: frozenset[int]) -> list[float]:
    return [np.nan] * 5 + [1.0] if values else [0.0] * 6
