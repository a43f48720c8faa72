"""Draws boxes round lesions on the grid of their series, as ``cohorts.mask_labels`` has them."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped, UInt8

from ichformer import LABELS
from ichformer.cohorts.mask_labels import BOXED, NO_LESION, UNKNOWN, is_boxed
from ichformer.ct.io.dicom.series import Series
from ichformer.ct.io.scans import Scan
from ichformer.ct.volume import Volume
from ichformer.errors import InputError


class Box(NamedTuple):
    """A box as ``tables.BOX_COLUMNS`` has it, without its series."""

    slice: str
    label: str
    x: float
    y: float
    width: float
    height: float


def draw_boxes(boxes: Sequence[Box], volume: Volume, scan: Scan) -> UInt8[np.ndarray, "s h w"]:
    """Draws boxes on ``volume`` as it was read, before any preparation.

    Rows and columns of the boxes are those of the files. Every pixel that a box touches belongs to it. Nothing is known
    of what lies in a box round an old bleed and in no other.

    Args:
      boxes: of this series.
      volume: the series.
      scan: where it was read from, which says how the files' rows and columns lie in the patient.

    Returns:
      As ``cohorts.mask_labels`` has boxes: ``NO_LESION``, ``BOXED`` with the bits of subtypes, or ``UNKNOWN``.

    Raises:
      InputError: the series is no DICOM, or a box is of no slice, of a slice whose name stands twice, or outside of its
        picture.
    """
    path = scan.path
    if not isinstance(scan, Series):
        raise InputError("is no DICOM series, and boxes count pixels of DICOM slices", where=path, fix=_LEAVE_OUT)
    times = Counter(volume.source)
    if wrong := [box.slice for box in boxes if times[box.slice] != 1]:
        what = f"{len(wrong)} of its {len(boxes)} boxes are of no slice, or of one whose name stands twice"
        fix = "name slices by SOPInstanceUID, frames of one file with #1, #2 and so on behind it"
        raise InputError(what, where=path, fix=fix)
    drawn = np.full(volume.hu.shape, NO_LESION, np.uint8)
    in_files = _as_in_files(drawn, volume, np.array(scan.headers[0].orientation).reshape(2, 3))
    rows, columns = in_files.shape[1:]
    for box in sorted(boxes, key=lambda box: box.label in LABELS):  # old bleeds first
        top, bottom = max(math.floor(box.y), 0), min(math.ceil(box.y + box.height), rows)
        left, right = max(math.floor(box.x), 0), min(math.ceil(box.x + box.width), columns)
        if top >= bottom or left >= right:
            place = f"x {box.x:g}, y {box.y:g}, {box.width:g} x {box.height:g}"
            raise InputError(f"a box ({place}) lies outside of {columns} x {rows} pixels", where=path, fix=_LEAVE_OUT)
        inside = in_files[volume.source.index(box.slice), top:bottom, left:right]
        if box.label in LABELS:
            inside[:] = np.where(is_boxed(inside), inside, BOXED) | np.uint8(1 << LABELS.index(box.label))
        else:
            inside[:] = UNKNOWN
    return drawn


_LEAVE_OUT = "correct the table of boxes, or empty the field boxes of this series"


def _as_in_files(
    grid: Shaped[np.ndarray, "s h w"], volume: Volume, axes: Shaped[np.ndarray, "2 3"]
) -> Shaped[np.ndarray, "s rows columns"]:
    """A view of a grid of the volume with rows and columns as the files have them.

    Args:
      grid: of the volume's shape.
      volume: whose rows and columns were flipped or exchanged when it was read.
      axes: patient coordinates of a step to the next column of a file, and to the next row (ImageOrientationPatient).
    """
    next_column, next_row = axes
    along_h, along_w = volume.affine[:3, 1], volume.affine[:3, 2]
    if abs(next_row @ along_h) < abs(next_row @ along_w):
        grid, along_h, along_w = grid.transpose(0, 2, 1), along_w, along_h
    if next_row @ along_h < 0:
        grid = grid[:, ::-1]
    return grid[:, :, ::-1] if next_column @ along_w < 0 else grid
