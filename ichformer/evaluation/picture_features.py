"""Features of a prepared scan that need no model: noise, sharpness, HU, extent.

A model learns to see blood through noise and kernels, so its own features say little about these.
"""

import numpy as np
from jaxtyping import Float64, Int16

from ichformer.errors import InputError

PICTURE_FEATURES = (
    *("noise", "fine", "edges", "slice_to_slice", "z_to_plane"),
    *(f"soft_hu_{share}" for share in (5, 25, 50, 75, 95)),
    *("lowest_hu", "highest_hu", "air", "bone", "metal", "one_value", "level", "spacing_z", "pixel", "height"),
)
"""The names of ``picture_features``, in order."""

_SOFT_HU = (-20, 120)
_BONE_HU, _METAL_HU, _AIR_HU = 300, 2500, -500
_MAX_SLICES = 24
"""Of more slices than this, every second, third ... is taken, as the features are means over them."""


def picture_features(
    hu: Int16[np.ndarray, "s h w"], spacing_mm: tuple[float, float, float]
) -> Float64[np.ndarray, " features"]:
    """Compute the ``PICTURE_FEATURES`` of one scan.

    Sizes and noise are logarithms, so that twice as much is one step everywhere.

    Noise is the median distance of a voxel of soft tissue from the mean of its four neighbours in the plane, which does
    not see slow changes nor few edges; "fine" is what is left of it against the mean over 3 x 3 voxels. Slice to slice
    is that between neighbouring slices.

    Raises:
      InputError: fewer than three rows or columns.
    """
    if min(hu.shape[1:]) < 3:
        raise InputError(f"slices of {hu.shape[1]} x {hu.shape[2]} pixels", where="scan", fix="prepare it larger")
    step = -(-len(hu) // _MAX_SLICES)
    every = hu[::step].astype(np.float64)
    inner = every[:, 1:-1, 1:-1]
    around = [every[:, 1 + y : every.shape[1] - 1 + y, 1 + x : every.shape[2] - 1 + x] for y, x in _NEIGHBOURS]
    cross = np.sum(around[:4], axis=0) / 4
    soft = _soft(inner) & _soft(cross)
    block = (inner + np.sum(around, axis=0)) / 9
    noise, fine = _typical((inner - cross)[soft]), _typical((cross - block)[soft])
    bone_edge = np.maximum(np.abs(around[1] - around[0]), np.abs(around[3] - around[2]))
    edges = _high(bone_edge[(inner > 0) & (bone_edge > 100)])
    below, above = hu[:-1:step].astype(np.float64), hu[1::step].astype(np.float64)
    both = _soft(below) & _soft(above)
    between = _typical((above - below)[both])
    values = every[_soft(every)]
    quantiles = np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95]) if values.size else np.zeros(5)
    head = every > _AIR_HU
    per_slice = head.mean(axis=(1, 2))
    spacing_z, spacing_y, spacing_x = spacing_mm
    return np.array(
        [
            *(noise, fine, edges, between, between - noise),
            *(quantiles / 10),
            *(every.min() / 100, np.log2(max(1.0, every.max()))),
            *(1 - per_slice.mean(), (every > _BONE_HU).mean() * 10, np.log2(1e-5 + (every > _METAL_HU).mean())),
            np.log2(1e-3 + _most_frequent(hu[::step][head])),
            np.abs(np.diff(per_slice)).mean() if len(every) > 1 else 0.0,
            *(np.log2(spacing_z), np.log2(np.sqrt(spacing_y * spacing_x)), np.log2(spacing_z * len(hu))),
        ]
    )


_NEIGHBOURS = ((-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))


def _soft(hu: Float64[np.ndarray, "s h w"]) -> np.ndarray:
    return (hu > _SOFT_HU[0]) & (hu < _SOFT_HU[1])


def _typical(residuals: Float64[np.ndarray, " n"]) -> float:
    """The logarithm of the median distance from 0, of a quarter of a HU at least."""
    return float(np.log2(0.25 + np.median(np.abs(residuals)))) if residuals.size else -2.0


def _high(values: Float64[np.ndarray, " n"]) -> float:
    return float(np.log2(np.quantile(values, 0.9))) if values.size else 0.0


def _most_frequent(hu: Int16[np.ndarray, " n"]) -> float:
    """Share of the voxels that have the most frequent value: large where a window has cut the rest off."""
    if not hu.size:
        return 1.0
    counts = np.bincount(hu.astype(np.int64) + 32768)
    return float(counts.max() / hu.size)
