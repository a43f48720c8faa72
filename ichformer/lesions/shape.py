"""Size of a lesion as radiologists measure it: its largest axial diameter, and ABC/2."""

import numpy as np
from jaxtyping import Bool, Float64
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import cdist

from ichformer.lesions.grid import Grid

_WHOLE, _HALF = 0.75, 0.25
"""Share of the largest slice's area above which a slice counts fully, and from which it counts half."""


def axial_diameter_mm(mask: Bool[np.ndarray, "s h w"], grid: Grid) -> float:
    """The largest distance between two points of a lesion in one slice, from edge to edge (Feret's diameter).

    Returns:
      0 for an empty mask.
    """
    return max((_longest(_edges_mm(part, grid))[0] for part in mask if part.any()), default=0.0)


def abc2_ml(mask: Bool[np.ndarray, "s h w"], grid: Grid) -> float:
    """The volume that ABC/2 estimates: half of A x B x C.

    A is the largest diameter in the slice with the largest area. B is the largest diameter at a right angle to A in
    that slice. C is the sum of the heights of the slices: a slice counts fully where its area is more than 75 % of the
    largest, half from 25 to 75 %, and not at all below 25 %.

    Source: Kothari et al., Stroke 1996;27:1304-1305.
    """
    areas = mask.sum(axis=(1, 2))
    if not areas.any():
        return 0.0
    part = mask[int(areas.argmax())]
    a_mm, along = _longest(_edges_mm(part, grid))
    b_mm = _widest(_centres_mm(part, grid), along, grid)
    share = areas / areas.max()
    weights = np.where(share > _WHOLE, 1.0, np.where(share >= _HALF, 0.5, 0.0))
    return float(a_mm * b_mm * (weights @ grid.heights_mm) / 2 / 1000)


def _centres_mm(part: Bool[np.ndarray, "h w"], grid: Grid) -> Float64[np.ndarray, "n 2"]:
    return np.argwhere(part) * np.array(grid.pixel_mm)


def _edges_mm(part: Bool[np.ndarray, "h w"], grid: Grid) -> Float64[np.ndarray, "n 2"]:
    """The middles of the four sides of every pixel at the rim of the hull."""
    centres = _centres_mm(part, grid)
    half = np.array(grid.pixel_mm) / 2
    return np.concatenate([centres + half * side for side in ((-1, 0), (1, 0), (0, -1), (0, 1))])


def _longest(points: Float64[np.ndarray, "n 2"]) -> tuple[float, Float64[np.ndarray, "2"]]:
    """The largest distance between two points, and its direction."""
    try:
        corners = points[ConvexHull(points).vertices]
    except QhullError:  # all on one line, which the sides of a pixel never are; kept for rounding
        corners = points
    apart = cdist(corners, corners)
    first, second = np.unravel_index(apart.argmax(), apart.shape)
    length = float(apart[first, second])
    return length, (corners[second] - corners[first]) / length


def _widest(centres: Float64[np.ndarray, "n 2"], along: Float64[np.ndarray, "2"], grid: Grid) -> float:
    """The longest chord at a right angle to a direction; what lies between the outermost pixels counts."""
    across = np.array([-along[1], along[0]])
    step = max(grid.pixel_mm)
    row = np.rint(centres @ along / step).astype(int)
    row -= row.min()
    place = centres @ across
    low, high = np.full(row.max() + 1, np.inf), np.full(row.max() + 1, -np.inf)
    np.minimum.at(low, row, place)
    np.maximum.at(high, row, place)
    # A pixel is as wide across as its sides are in that direction.
    width = float(np.abs(across) @ np.array(grid.pixel_mm)) / float(np.abs(across).sum())
    return float((high - low).max()) + width
