"""How much a volume grew between two scans, with an interval that comes from those of both volumes."""

import math
from dataclasses import dataclass
from typing import Literal

from ichformer.lesions.volumes import VolumeInterval

Change = Literal["grown", "shrunk", "within_interval", "no_interval"]
"""What the interval of a growth says: all of it above 0, all of it below, 0 inside, or that there is no interval."""

SIGNIFICANT_ML, SIGNIFICANT_PERCENT = 6.0, 33.0
"""Growth by more than one of these is the definition of most trials of intracerebral haemorrhage.

Source: Dowlatshahi et al., Neurology 2011;76:1238-1244 (more than 6 ml, or more than 33 %); Brott et al., Stroke
1997;28:1-5 (more than 33 %).
"""


@dataclass(frozen=True, kw_only=True)
class Growth:
    """How much a volume grew.

    Attributes:
      ml: later minus earlier; negative where it shrank.
      low_ml, high_ml: ends of the interval; None where one of the volumes has none.
      percent: ``ml`` over the earlier volume; None where that is 0.
    """

    ml: float
    low_ml: float | None
    high_ml: float | None
    percent: float | None

    @property
    def change(self) -> Change:
        """What the interval says."""
        if self.low_ml is None or self.high_ml is None:
            return "no_interval"
        return "grown" if self.low_ml > 0 else "shrunk" if self.high_ml < 0 else "within_interval"

    @property
    def exceeds_definition(self) -> bool:
        """Whether the growth as measured, without its interval, is more than 6 ml or more than 33 %."""
        return self.ml > SIGNIFICANT_ML or (self.percent is not None and self.percent > SIGNIFICANT_PERCENT)


def growth_of(
    earlier_ml: float,
    later_ml: float,
    *,
    earlier: VolumeInterval | None,
    later: VolumeInterval | None,
) -> Growth:
    """The growth of a volume.

    Each end of the interval adds the distances from both volumes to an end of their own intervals in quadrature, as for
    independent errors. For the low end these are the later volume's low end and the earlier one's high end, and the
    other way round. So the result is as lopsided as the intervals, which were frozen as ratios. A volume that lies
    outside its own interval, as validation found such volumes too small or too large, counts as the nearest end.

    The errors of one model in one patient are more alike than independent ones, so the interval is rather too wide. It
    holds the true growth as often as the intervals of the volumes hold theirs, over all pairs of scans. It does not
    where a bleed is found in one scan and missed in the other: "new" and "gone" have to be looked at.

    Source: Zou and Donner, Statistics in Medicine 2008;27:1693-1702 (method of variance estimates recovery).

    Example:
      >>> growth = growth_of(
      ...     10.0,
      ...     20.0,
      ...     earlier=VolumeInterval(low_ml=7.0, high_ml=13.0),
      ...     later=VolumeInterval(low_ml=16.0, high_ml=25.0),
      ... )
      >>> growth.low_ml, round(growth.high_ml, 2), growth.percent, growth.change
      (5.0, 15.83, 100.0, 'grown')

    Args:
      earlier_ml, later_ml: the volumes.
      earlier, later: their intervals; None where there are none.
    """
    low_ml = high_ml = None
    if earlier is not None and later is not None:
        before, after = _inside(earlier_ml, earlier), _inside(later_ml, later)
        low_ml = after - before - math.hypot(after - later.low_ml, earlier.high_ml - before)
        high_ml = after - before + math.hypot(later.high_ml - after, before - earlier.low_ml)
    return Growth(
        ml=later_ml - earlier_ml,
        low_ml=low_ml,
        high_ml=high_ml,
        percent=100 * (later_ml - earlier_ml) / earlier_ml if earlier_ml > 0 else None,
    )


def _inside(ml: float, interval: VolumeInterval) -> float:
    return min(max(ml, interval.low_ml), interval.high_ml)
