"""What became of every bleed between two scans: its kind, its volumes and its growth."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float64

from ichformer.ct.geometry.rigid import Motion, holds, values_at
from ichformer.lesions.follow_up.bleeds import Bleed, Bleeds
from ichformer.lesions.follow_up.growth import Growth, growth_of
from ichformer.lesions.follow_up.matching import Kind, Match, match_bleeds
from ichformer.lesions.sides import Side
from ichformer.lesions.volumes import interval_ml

Fate = Kind | Literal["not_shown"]
"""As ``matching.Kind``, or the other scan does not show the place."""

_SHOWN = 0.5
"""A bleed is new or gone only where the other scan holds at least so much of its place."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Followed:
    """What became of a bleed, or of several that belong together.

    Attributes:
      number: from 1, the largest first.
      fate: what became of it.
      earlier, later: the bleeds in each scan.
      growth: of their volume together. Its interval takes what was frozen on volumes of whole scans.
      peak_elsewhere: of a new bleed, the highest probability that the earlier scan has there; of one that is gone, that
        of the later scan; None for others.
    """

    number: int
    fate: Fate
    earlier: tuple[Bleed, ...]
    later: tuple[Bleed, ...]
    growth: Growth
    peak_elsewhere: float | None

    @property
    def earlier_ml(self) -> float:
        """Volume in the earlier scan."""
        return float(sum(one.ml for one in self.earlier))

    @property
    def later_ml(self) -> float:
        """Volume in the later scan."""
        return float(sum(one.ml for one in self.later))

    @property
    def sides(self) -> tuple[Side, ...]:
        """On which side of the patient its bleeds lie; () where that is not known."""
        return tuple(sorted({one.side for one in (*self.earlier, *self.later) if one.side is not None}))


def follow_bleeds(earlier: Bleeds, later: Bleeds, motion: Motion) -> tuple[Followed, ...]:
    """Follow every bleed from the earlier scan to the later one.

    Args:
      earlier, later: the bleeds of both scans, each on its own voxels.
      motion: takes points of the earlier patient to those of the later.

    Returns:
      The bleeds, by the larger of their two volumes.
    """
    back = motion.inverse
    matches = match_bleeds(
        [one.points_mm for one in earlier.bleeds], [back.points_mm(one.points_mm) for one in later.bleeds]
    )
    found = [_followed(match, earlier, later, motion) for match in matches]
    found.sort(key=lambda one: -max(one.earlier_ml, one.later_ml))
    return tuple(replace(one, number=number) for number, one in enumerate(found, 1))


def _followed(match: Match, earlier: Bleeds, later: Bleeds, motion: Motion) -> Followed:
    before, after = (
        tuple(scan.bleeds[i] for i in places) for scan, places in ((earlier, match.earlier), (later, match.later))
    )
    fate, peak = _fate(match.kind, before, after, earlier, later, motion)
    before_ml, after_ml = (float(sum(one.ml for one in bleeds)) for bleeds in (before, after))
    return Followed(
        number=0,
        fate=fate,
        earlier=before,
        later=after,
        growth=growth_of(
            before_ml,
            after_ml,
            earlier=interval_ml(before_ml, earlier.classes),
            later=interval_ml(after_ml, later.classes),
        ),
        peak_elsewhere=peak,
    )


def _fate(
    kind: Kind, before: tuple[Bleed, ...], after: tuple[Bleed, ...], earlier: Bleeds, later: Bleeds, motion: Motion
) -> tuple[Fate, float | None]:
    """The fate, and for a bleed of one scan the highest probability of the other at its place."""
    if before and after:
        return kind, None
    other, points = (
        (later, motion.points_mm(before[0].points_mm))
        if before
        else (earlier, motion.inverse.points_mm(after[0].points_mm))
    )
    if _share_held(other, points) < _SHOWN:
        return "not_shown", None
    return kind, float(values_at(other.probability, other.volume, points, outside=0.0).max())


def _share_held(scan: Bleeds, points_mm: Float64[np.ndarray, "n 3"]) -> float:
    return float(holds(scan.volume, points_mm).mean())
