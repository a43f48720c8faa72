"""Which bleeds of two scans are the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

Kind = Literal["same", "new", "gone", "merged", "split", "rearranged"]
"""One bleed in both scans; only in the later; only in the earlier; several became one; one became several; several
became several others."""

TOLERANCE_MM = 4.0
"""A voxel of one bleed lies over another bleed where a voxel of that is so near. Half a slice of 5 mm, a pixel and the
error of the registration are about as much."""

_LEAST_SHARE = 0.25
"""Two bleeds belong together where at least so much of one of them lies over the other. A small bleed lies in the large
one that it grew into; two large ones side by side touch along an edge only."""


@dataclass(frozen=True, kw_only=True)
class Match:
    """Bleeds that belong together.

    Attributes:
      earlier, later: their places in the lists that were given, from 0.
    """

    earlier: tuple[int, ...]
    later: tuple[int, ...]

    @property
    def kind(self) -> Kind:
        """What became of them."""
        before, after = len(self.earlier), len(self.later)
        if not before or not after:
            return "gone" if before else "new"
        if before == after == 1:
            return "same"
        return "merged" if after == 1 else "split" if before == 1 else "rearranged"


def match_bleeds(
    earlier: Sequence[Float64[np.ndarray, "_ 3"]],
    later: Sequence[Float64[np.ndarray, "_ 3"]],
    *,
    tolerance_mm: float = TOLERANCE_MM,
) -> tuple[Match, ...]:
    """Match bleeds that lie over each other; of which label they are does not count.

    With both scans exchanged it finds the same, the other way round.

    Args:
      earlier, later: the voxels of each bleed, in the same patient coordinates (mm).
      tolerance_mm: from a voxel of one bleed to the nearest of another that it lies over.

    Returns:
      Every bleed once: first those that are in both scans, in the order of the earlier one.
    """
    touches = _touching(earlier, later, tolerance_mm)
    before, after = np.nonzero(touches)
    count = len(earlier) + len(later)
    joined = coo_array((np.ones(len(before)), (before, len(earlier) + after)), shape=(count, count))
    groups: dict[int, list[int]] = {}
    for place, group in enumerate(connected_components(joined, directed=False)[1].tolist() if count else []):
        groups.setdefault(group, []).append(place)
    matches = [
        Match(
            earlier=tuple(place for place in places if place < len(earlier)),
            later=tuple(place - len(earlier) for place in places if place >= len(earlier)),
        )
        for places in groups.values()
    ]
    return tuple(sorted(matches, key=lambda one: one.kind in ("new", "gone")))


def _touching(
    earlier: Sequence[Float64[np.ndarray, "_ 3"]], later: Sequence[Float64[np.ndarray, "_ 3"]], tolerance_mm: float
) -> Bool[np.ndarray, "n m"]:
    trees = [[KDTree(points) for points in bleeds] for bleeds in (earlier, later)]
    shares = [
        [
            max(_share_over(before, trees[1][j], tolerance_mm), _share_over(after, trees[0][i], tolerance_mm))
            for j, after in enumerate(later)
        ]
        for i, before in enumerate(earlier)
    ]
    return np.array(shares).reshape(len(earlier), len(later)) >= _LEAST_SHARE


def _share_over(points: Float64[np.ndarray, "_ 3"], other: KDTree, tolerance_mm: float) -> float:
    """The part of a bleed's voxels that lie over another bleed."""
    near = np.all((points >= other.mins - tolerance_mm) & (points <= other.maxes + tolerance_mm), axis=1)
    if near.mean() < _LEAST_SHARE:
        return 0.0
    apart_mm, _ = other.query(points[near], distance_upper_bound=tolerance_mm * (1 + 1e-9))
    return float(np.isfinite(apart_mm).sum() / len(points))
