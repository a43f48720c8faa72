"""The head in its slices, and its bounding box, without the table and the headrest around it."""

import math

import numpy as np
from jaxtyping import Bool, Int16
from scipy import ndimage

SKIN_HU = -300
"""Above it is head: between foam and hair (below -500) and fat (-100)."""

_COARSE_MM = 2.5
_THIN_MM = 10.0
"""Radius of the opening that removes shells of table and headrest, which are up to about 15 mm thick."""

_SMALL_MM3 = 1e6
"""A head of a litre or less is searched again, with hollows filled. A newborn's has half of that, an adult's four."""

_MAX_SLICES = 48

_NEAR_MM = 8.0
"""How far the head reaches beyond what is thick: ears, the tip of the nose, skin that a pixel shares with air."""


def head_box(
    hu: Int16[np.ndarray, "s h w"], spacing_mm: tuple[float, float, float]
) -> tuple[float, float, float, float] | None:
    """Bounding box of the head over all slices, found on a coarse copy, so exact to about 3 mm.

    Returns:
      First row, last row, first column, last column, in voxels; None where there is no head.
    """
    every_slice = max(1, -(-hu.shape[0] // _MAX_SLICES))
    strides = [max(1, round(_COARSE_MM / mm)) for mm in spacing_mm[1:]]
    dense = hu[::every_slice, :: strides[0], :: strides[1]] > SKIN_HU
    cell_mm = tuple(k * mm for k, mm in zip(strides, spacing_mm[1:], strict=True))
    head = _largest_part(dense, cell_mm)
    if np.count_nonzero(head) * np.prod(cell_mm) * every_slice * spacing_mm[0] < _SMALL_MM3:
        # A dry skull or a plastic one is hollow; filling comes second because it would make tables solid too.
        head = _largest_part(np.stack([ndimage.binary_fill_holes(picture) for picture in dense]), cell_mm)
    if not head.any():
        return None
    row_hits, column_hits = np.flatnonzero(head.any((0, 2))), np.flatnonzero(head.any((0, 1)))
    return (
        float(row_hits[0] * strides[0]),
        float(row_hits[-1] * strides[0]),
        float(column_hits[0] * strides[1]),
        float(column_hits[-1] * strides[1]),
    )


def head_mask(hu: Int16[np.ndarray, "s h w"], spacing_mm: tuple[float, float, float]) -> Bool[np.ndarray, "s h w"]:
    """The head in every slice, with the air inside it and the skin's edge; not the table, the head rest or tubes.

    What touches the head belongs to it within ``_NEAR_MM``, so that a head rest leaves a thin rim where the head lies
    on it.

    Returns:
      True inside; False everywhere where there is no head.
    """
    strides = [max(1, round(_COARSE_MM / mm)) for mm in spacing_mm[1:]]
    cell_mm = tuple(k * mm for k, mm in zip(strides, spacing_mm[1:], strict=True))
    dense = hu[:, :: strides[0], :: strides[1]] > SKIN_HU
    thick = _largest_part(dense, cell_mm)
    reached = ndimage.distance_transform_edt(~thick, (1e6, *cell_mm)) <= _NEAR_MM if thick.any() else thick
    filled = np.stack([ndimage.binary_fill_holes(picture) for picture in thick | (reached & dense)])
    edge = ndimage.binary_dilation(filled, np.ones((1, 3, 3)))
    return np.asarray(edge.repeat(strides[0], 1)[:, : hu.shape[1]].repeat(strides[1], 2)[:, :, : hu.shape[2]])


def _largest_part(dense: Bool[np.ndarray, "s h w"], cell_mm: tuple[float, ...]) -> Bool[np.ndarray, "s h w"]:
    """The largest part that is thick in every slice."""
    solid = _open(dense, cell_mm)
    # The full neighbourhood, because sections of a sheared stack of thick slices may touch by their corners only.
    labels, count = ndimage.label(solid, np.ones((3, 3, 3)))
    return labels == 1 + np.argmax(np.bincount(labels.ravel())[1:]) if count else solid


def _open(dense: Bool[np.ndarray, "s h w"], cell_mm: tuple[float, ...]) -> Bool[np.ndarray, "s h w"]:
    """Binary opening of every slice with a disc of ``_THIN_MM``; beyond the edges everything counts as dense."""
    return _dilate(~_dilate(~dense, cell_mm), cell_mm)


def _dilate(cells: Bool[np.ndarray, "s h w"], cell_mm: tuple[float, ...]) -> Bool[np.ndarray, "s h w"]:
    """Every cell with one of ``cells`` within ``_THIN_MM`` of it in its slice, one row of the disc after the other.

    How many cells a stretch of a row holds is a difference of running counts, so that the time does not grow with the
    disc's width.
    """
    rows, columns = cells.shape[1:]
    widest = int(_THIN_MM / cell_mm[1])
    padded = np.pad(cells, ((0, 0), (0, 0), (widest + 1, widest)))
    counts = np.cumsum(padded, axis=2, dtype=np.int32)
    reached = np.zeros_like(cells)
    for up in range(min(int(_THIN_MM / cell_mm[0]), rows - 1) + 1):
        wide = int(math.sqrt(_THIN_MM**2 - (up * cell_mm[0]) ** 2) / cell_mm[1])
        before, last = widest - wide, widest + 1 + wide
        near = counts[:, :, last : last + columns] > counts[:, :, before : before + columns]
        reached[:, up:] |= near[:, : rows - up]
        reached[:, : rows - up] |= near[:, up:]
    return reached
