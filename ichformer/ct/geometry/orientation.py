"""How a grid of voxels lies in the patient: its axes and tilt, and how any grid is turned to LPS order."""

import itertools
import math

import numpy as np
from jaxtyping import Float64, Shaped

LPS_AXES = np.array([[0.0, 0, 1], [0, 1, 0], [1, 0, 0]])
"""Where slices, rows and columns of a Volume go: to superior (+z), posterior (+y), left (+x); one column each."""


def orient_lps(
    grid: Shaped[np.ndarray, "i j k"], affine: Float64[np.ndarray, "4 4"]
) -> tuple[Shaped[np.ndarray, "s h w"], Float64[np.ndarray, "4 4"]]:
    """Exchange and flip axes so that they run inferior to superior, anterior to posterior, right to left.

    No voxel is changed and the affine keeps every voxel at its place; the grid may stay oblique or sheared.

    Args:
      grid: any values.
      affine: takes an index ``(i, j, k, 1)`` to patient coordinates in mm, LPS.

    Returns:
      The grid (a view where nothing has to move) and its affine.
    """
    order, forward = lps_order(affine)
    turn = np.eye(4)
    turn[:3, :3] = np.eye(3)[:, order]
    grid = grid.transpose(order)
    for target, axis in enumerate(order):
        if not forward[target]:
            turn[axis, 3] = grid.shape[target] - 1
            turn[axis, target] = -1
            grid = np.flip(grid, target)
    return np.ascontiguousarray(grid), affine @ turn


def are_square(row_mm: float, column_mm: float) -> bool:
    """Whether rows are as far apart as columns, within 1 %: every CT scanner reconstructs square pixels."""
    return bool(abs(row_mm - column_mm) <= 0.01 * max(row_mm, column_mm))


def lps_order(affine: Float64[np.ndarray, "4 4"]) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """Which axes of a grid become slices, rows and columns, and whether each already runs in LPS order."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    cosines = LPS_AXES.T @ axes
    order = max(itertools.permutations(range(3)), key=lambda p: sum(abs(cosines[t, a]) for t, a in enumerate(p)))
    return order, tuple(bool(cosines[target, axis] >= 0) for target, axis in enumerate(order))


def slice_normal(affine: Float64[np.ndarray, "4 4"]) -> Float64[np.ndarray, "3"]:
    """Unit vector across the slices, on the side to which they are stacked."""
    normal = np.cross(affine[:3, 2], affine[:3, 1])
    normal /= np.linalg.norm(normal)
    return normal if normal @ affine[:3, 0] >= 0 else -normal


def tilt_of(affine: Float64[np.ndarray, "4 4"]) -> float:
    """Degrees between the slices' normal and the line along which they are stacked; see ``Audit.tilt_deg``.

    Angles below 0.05 degrees are 0: they come from rounded headers and move a slice of 150 mm by 0.1 mm.
    """
    step = affine[:3, 0] / np.linalg.norm(affine[:3, 0])
    lean = slice_normal(affine) - step
    degrees = math.degrees(2 * math.asin(min(1.0, float(np.linalg.norm(lean)) / 2)))
    if degrees < 0.05:
        return 0.0
    return round(math.copysign(degrees, lean[1]), 3)


def oblique_of(affine: Float64[np.ndarray, "4 4"]) -> float:
    """Degrees between the slices' normal and the patient's long axis."""
    return math.degrees(math.acos(min(1.0, abs(float(slice_normal(affine)[2])))))
