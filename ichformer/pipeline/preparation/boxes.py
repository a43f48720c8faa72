"""Draws boxes round lesions on the grid of their series, as ``cohorts.mask_labels`` has them."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped, UInt8

from ichformer import LABELS
from ichformer.cohorts.mask_labels import BOXED, NO_LESION, UNKNOWN
from ichformer.ct.geometry.orientation import LPS_AXES
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

    Rows and columns of the boxes are those of the files. Every pixel that a box touches belongs to it. What lies in a
    box round an old bleed is unknown, and where boxes of two labels overlap, the later label of ``LABELS`` is kept.

    Args:
      boxes: of this series.
      volume: the series.
      scan: where it was read from, which says how the files' rows and columns lie in the patient.

    Returns:
      ``NO_LESION``, ``BOXED`` + k for the k-th label, or ``UNKNOWN``.

    Raises:
      InputError: the series is no DICOM, no slice has one of the boxes, or a box lies outside its picture.
    """
    if not isinstance(scan, Series):
        raise InputError("is no DICOM series, and boxes count pixels of DICOM slices", where=scan.path, fix=_LEAVE_OUT)
    path, numbers = scan.path, {name: number for number, name in enumerate(volume.source)}
    known = [box for box in boxes if box.slice in numbers]
    if not known:
        what = f"none of its slices has one of the {len(boxes)} boxes"
        raise InputError(what, where=path, fix="name slices by SOPInstanceUID")
    drawn = np.full(volume.hu.shape, NO_LESION, np.uint8)
    upright = _as_in_files(drawn, np.array(scan.headers[0].orientation).reshape(2, 3))
    rows, columns = upright.shape[1:]
    for box in sorted(known, key=lambda box: (box.label in LABELS, _value_of(box.label))):
        top, bottom = max(math.floor(box.y), 0), min(math.ceil(box.y + box.height), rows)
        left, right = max(math.floor(box.x), 0), min(math.ceil(box.x + box.width), columns)
        if top >= bottom or left >= right:
            where = f"x {box.x:g}, y {box.y:g}, {box.width:g} x {box.height:g}"
            raise InputError(f"a box ({where}) lies outside of {columns} x {rows} pixels", where=path, fix=_LEAVE_OUT)
        upright[numbers[box.slice], top:bottom, left:right] = _value_of(box.label)
    return drawn


_LEAVE_OUT = "correct the table of boxes, or empty the field boxes of this series"


def _value_of(label: str) -> int:
    return BOXED + 1 + LABELS.index(label) if label in LABELS else UNKNOWN


def _as_in_files(
    grid: Shaped[np.ndarray, "s h w"], axes: Shaped[np.ndarray, "2 3"]
) -> Shaped[np.ndarray, "s rows columns"]:
    """A view of a Volume's grid with rows and columns as the files have them.

    Args:
      grid: rows to posterior, columns to the left.
      axes: patient coordinates of a step to the next column, and to the next row (ImageOrientationPatient).
    """
    to_posterior, to_left = LPS_AXES[:, 1], LPS_AXES[:, 2]
    next_column, next_row = axes
    if abs(next_row @ to_posterior) < abs(next_row @ to_left):
        grid = grid.transpose(0, 2, 1)
        to_posterior, to_left = to_left, to_posterior
    if next_row @ to_posterior < 0:
        grid = grid[:, ::-1]
    return grid[:, :, ::-1] if next_column @ to_left < 0 else grid
