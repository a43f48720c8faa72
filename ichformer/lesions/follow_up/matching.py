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
"""Two bleeds are the same where voxels of both lie so near each other. Half a slice of 5 mm, a pixel and the error of
the registration are about as much."""


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
      tolerance_mm: how far apart the nearest voxels of two bleeds may lie.

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
    touches = np.zeros((len(earlier), len(later)), bool)
    trees = [KDTree(points) for points in later]
    for i, points in enumerate(earlier):
        for j, tree in enumerate(trees):
            near = np.all((points >= tree.mins - tolerance_mm) & (points <= tree.maxes + tolerance_mm), axis=1)
            if near.any():
                apart_mm, _ = tree.query(points[near], distance_upper_bound=tolerance_mm * (1 + 1e-9))
                touches[i, j] = np.isfinite(apart_mm).any()
    return touches
