"""Sets of NIfTI scans with masks: labels of slices and scans, read off the voxels."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float64

from ichformer import LABELS
from ichformer.cohorts.tables import SLICE_COLUMNS, fill_any, scan_labels, write_table
from ichformer.ct.geometry.orientation import orient_lps
from ichformer.ct.io.formats import NIFTI_SUFFIXES
from ichformer.ct.io.masks import mask_values
from ichformer.ct.io.nifti import open_nifti, slice_names
from ichformer.errors import InputError, one_line
from ichformer.files.writing import text_path
from ichformer.process.workers import map_processes


def nifti_files(folder: Path) -> dict[str, Path]:
    """Lists the NIfTI files of a folder by name without suffix, in their order."""
    files = {path.name.removesuffix(".gz").removesuffix(".nii"): path for path in sorted(folder.iterdir())}
    return {name: path for name, path in files.items() if path.name.endswith(NIFTI_SUFFIXES)}


def slice_values(mask: Path, scan: Path) -> list[frozenset[int]]:
    """Returns the values other than 0 on each slice of a mask, in the order of the scan's Volume.

    Raises:
      InputError: no NIfTI file, a mask that does not lie on the scan (shape, or a corner more than half a voxel off),
        values that are no whole numbers from 0 to 255.
    """
    (image, affine), (scanned, scan_affine) = open_nifti(mask), open_nifti(scan)
    if image.shape != scanned.shape:
        raise InputError(
            f"shape {list(image.shape)}, but its scan has {list(scanned.shape)}", where=mask, fix="download both again"
        )
    last = np.array(image.shape) - 1
    corners = np.array([(i, j, k, 1) for i in (0, last[0]) for j in (0, last[1]) for k in (0, last[2])], np.float64)
    offset_mm = float(np.linalg.norm((corners @ (affine - scan_affine).T)[:, :3], axis=1).max())
    if offset_mm > np.linalg.norm(scan_affine[:3, :3], axis=0).min() / 2:
        raise InputError(f"lies {offset_mm:.1f} mm off its scan", where=mask, fix="download both again")
    try:
        voxels = np.asanyarray(image.dataobj)
    except Exception as error:  # nibabel raises whatever it stumbles over
        raise InputError(
            f"its voxels cannot be read ({type(error).__name__}: {one_line(error)})",
            where=mask,
            fix="download it again",
        ) from None
    grid, _ = orient_lps(mask_values(voxels, where=mask, fix="download it again"), affine)
    return [frozenset(np.flatnonzero(np.bincount(plane.ravel())).tolist()) - {0} for plane in grid]


def label_by_masks(
    rows: Sequence[Mapping[str, object]],
    labels_of: Callable[[frozenset[int]], Sequence[float]],
    *,
    desc: str,
    table_path: Path,
) -> tuple[list[dict[str, object]], dict[str, str]]:
    """Returns rows of the Study index with ``path`` and ``mask``, to which the labels of their masks are added.

    Args:
      rows: of the index.
      labels_of: the six labels of a slice that has these values, NaN where the values do not tell.
      desc: what the bar is called.
      table_path: where the slice labels are written.

    Returns:
      The labelled rows, and for each series that was left out the reason.
    """
    pairs = [(text_path(str(row["mask"])), text_path(str(row["path"]))) for row in rows]
    labelled: list[dict[str, object]] = []
    left_out: dict[str, str] = {}
    tables = []
    for row, said in zip(rows, map_processes(_try_values, pairs, desc=desc, unit="scan", serial=8), strict=True):
        series = str(row["series"])
        if isinstance(said, str):
            left_out[series] = said
            continue
        by_slice = fill_any(np.array([labels_of(values) for values in said], np.float64))
        tables.append(slice_table(series, slice_names(text_path(str(row["path"]))), by_slice))
        known = dict(zip(LABELS, scan_labels(by_slice).tolist(), strict=True))
        labelled.append({**row, **known, "slice_labels": str(table_path.absolute())})
    if tables:
        write_table(pd.concat(tables), table_path)
    return labelled, left_out


def refuse_none(labelled: Sequence[object], left_out: Mapping[str, str], *, where: Path) -> None:
    """Raises InputError where no scan could be labelled, with the first reason."""
    if not labelled:
        raise InputError(
            f"no scan has a mask that fits; the first: {next(iter(left_out.values()))}", where=where, fix="unpack both"
        )


def slice_table(series: str, names: Sequence[str], labels: Float64[np.ndarray, "s labels"]) -> pd.DataFrame:
    """The labels of one series' slices, with ``SLICE_COLUMNS``."""
    table = pd.DataFrame(labels, columns=list(LABELS)).assign(series=series, slice=list(names), file="")
    return table[list(SLICE_COLUMNS)]


def _try_values(pair: tuple[Path, Path]) -> list[frozenset[int]] | str:
    try:
        return slice_values(*pair)
    except InputError as error:
        return str(error)
