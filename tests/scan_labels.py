"""Tiny stores whose slices can be told by their HU, with labels of scans, of slices, or of both."""

import pathlib
from dataclasses import dataclass, field

import nibabel
import numpy as np
import pandas as pd

from ichformer.cohorts.index import make_index
from ichformer.cohorts.tables import SLICE_KEYS, write_table
from ichformer.ct.io.scans import read_volume
from ichformer.labels import SIX, LabelSet
from ichformer.pipeline.batch import Batch
from ichformer.pipeline.store.records import Store
from tests.stores import prepare_here

STEP_MM = 5.0


@dataclass(frozen=True, kw_only=True)
class Given:
    """One scan: how many slices, the labels of the scan, and those of slices by their number and label."""

    slices: int
    scan: dict[str, float] = field(default_factory=dict)
    by_slice: dict[str, list[float]] = field(default_factory=dict)
    origin: str = "hospital"
    split: str = "train"


def store_of(folder: pathlib.Path, given: list[Given], label_set: LabelSet = SIX) -> Store:
    """Slice k of every scan is a block of 2 k + 10 HU in air."""
    rows, tables = [], []
    for i, one in enumerate(given):
        voxels = np.full((24, 24, one.slices), -1000, np.int16)
        voxels[3:-3, 3:-3] = 2 * np.arange(one.slices) + 10
        path = folder / "scans" / f"{i:03d}.nii"
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(voxels, np.diag([-4.0, -4.0, STEP_MM, 1.0])), path)
        names = read_volume(path).source
        row = {"cohort": "folder", "origin": one.origin, "patient": f"p{i:03d}", "series": f"s{i:03d}"}
        row |= {"path": str(path), "split": one.split, **one.scan}
        if one.by_slice:
            labels = {label: one.by_slice.get(label, np.nan) for label in label_set.columns}
            frame = pd.DataFrame(labels, index=range(one.slices))
            tables.append(frame.assign(series=row["series"], slice=names, file=""))
            row["slice_labels"] = str(folder / "slices.csv")
        rows.append(row)
    if tables:
        write_table(pd.concat(tables)[[*SLICE_KEYS, *label_set.columns]], folder / "slices.csv")
    # With their names, by which rows are sorted: the first scan stays the first.
    index = make_index(rows, label_set=label_set)
    return prepare_here(index, folder / "store", label_set=label_set, with_uids=True)


def slices_in(batch: Batch) -> list[list[int]]:
    """The numbers of the slices in every scan of a batch that was not augmented, in their order."""
    middle = batch.hu[:, :, 16, 16].astype(int)
    return [((row[mask] - 10) // 2).tolist() for row, mask in zip(middle, batch.slice_mask, strict=True)]
