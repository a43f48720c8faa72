"""Whether the values of a scan can be Hounsfield units, whatever format they were read from.

In HU air is -1000, water 0, soft tissue 0 to 80 and bone 300 to 2000 by definition of the scale, so a head shows which
scale its values have. What contradicts it grossly is refused; what is only unusual is noted.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int16, Int64

from ichformer.ct.audit import Note
from ichformer.ct.volume import AIR_HU
from ichformer.errors import InputError

_AIR_HU, _BONE_HU = -500, 250
"""A scan that holds air has values below the first, one that holds bone has values above the second."""

_SOFT_HU = (-130, 150)
"""Fat to contrast-filled blood: where most of what is neither air nor bone lies, in a plastic head too."""

_TISSUE_HU, _TISSUE_SHARE = (-700, 1000), 0.01
"""Where tissue is expected, above inflated lung, and how much of it a scan has to hold."""

_DENSE_HU, _DENSE_SHARE = 3000, 0.15
"""Enamel ends at about 3000 HU; metal and its streaks fill far less of a scan."""

_BELOW_SHARE = 0.5
"""Padding round a circle is 21 % of a square; where half of a scan lies below air, so does its air."""

_WHITE = (255, 1023, 4095)
"""The white of display pictures of 8, 10 and 12 bits."""

_SATURATED_SHARE = 0.005
"""Part of the voxels at the very end of a range that shows it was cut there: noise spreads real extremes."""

_OFFSET_HU = (850, 1250)
"""From air to soft tissue it is 1000 to 1100; a window on either side for noise and for the choice of the bin."""

_PEAK_HU, _PEAK_SHARE, _PEAK_RATIO = 150, 0.05, 3
"""Soft tissue is a peak of this width, holds at least this part, and stands out from both its sides by this factor."""

_FEWEST = 10_000
"""Shares are only computed from so many voxels on."""

_SAMPLE = 300_000
_OFFSET = 1 << 15


class _Histogram(NamedTuple):
    """How often each value occurs in a sample: ``counts[value + 32768]``."""

    counts: Int64[np.ndarray, "65536"]
    total: int

    def share(self, low: int, high: int) -> float:
        """Part of the voxels from ``low`` to below ``high``; 0 where there are too few to speak of parts."""
        if self.total < _FEWEST:
            return 0.0
        ends = (min(max(end + _OFFSET, 0), len(self.counts)) for end in (low, high))
        return float(self.counts[slice(*ends)].sum() / self.total)


def check_values(hu: Int16[np.ndarray, "s h w"], *, n_below: int, where: object, fix: str) -> tuple[Note, ...]:
    """Notes about values that are unusual for HU; a head in HU gets none.

    A scan without air (a stripped brain, a narrow field of view), without bone or without soft tissue is noted as
    ``range_suspicious``; slices of a single value between others, as failed exports leave them, as ``blank_slices``;
    steps of more than 2 between values as ``steps_coarse``.

    Args:
      hu: the whole scan.
      n_below: voxels that were below -1024 HU, or no numbers, before they were set to it.
      where: the file or series, for messages.
      fix: what to do about values that are no HU.

    Raises:
      InputError: a seventh of the scan is denser than enamel; the values are those of a display picture, with many at
        both ends of its range; or air lies at 0 and soft tissue near 1000, so that an intercept was lost.
    """
    flat = hu.reshape(len(hu), -1)
    lowest, highest = flat.min(1), flat.max(1)
    low, high = int(lowest.min()), int(highest.max())
    histogram = _sample(hu)
    is_airless = lowest >= _AIR_HU
    if (dense := histogram.share(_DENSE_HU, _OFFSET)) > _DENSE_SHARE:
        what = f"{dense:.0%} of its voxels lie above {_DENSE_HU} HU, denser than any bone: their sign or scale is wrong"
        raise InputError(what, where=where, fix=fix)
    if is_airless.any() and (what := _airless_contradiction(hu[is_airless])):
        raise InputError(what, where=where, fix=fix)
    notes = []
    if blank := _blank_between(lowest == highest):
        text = (
            f"slices {_numbers(blank)} of {len(hu)}, counted from the feet, hold one value only: nothing is seen there"
        )
        notes.append(Note(code="blank_slices", text=text))
    lacking = [what for what, is_there in (("air", low < _AIR_HU), ("bone", high > _BONE_HU)) if not is_there]
    if lacking:
        text = f"values from {low} to {high}: no {' and no '.join(lacking)}"
    elif is_airless.any() and histogram.total >= _FEWEST:
        text = f"{np.count_nonzero(is_airless)} of {len(hu)} slices hold no air"
    elif n_below > _BELOW_SHARE * hu.size:
        text = f"{n_below / hu.size:.0%} of its voxels were below {AIR_HU} HU"
    else:
        text = _odd_tissue(histogram)
    if text:
        notes.append(Note(code="range_suspicious", text=f"{text}, so HU are doubtful"))
    if (step := _step(histogram)) > 2:
        notes.append(Note(code="steps_coarse", text=f"HU in steps of {step}"))
    return tuple(notes)


def _blank_between(is_blank: Bool[np.ndarray, "s"]) -> list[int]:
    """Numbers, from 1, of blank slices that have others below and above them. Air beyond a head may be cut to -1024."""
    seen = np.flatnonzero(~is_blank)
    if not len(seen):
        return []
    return [number + 1 for number in np.flatnonzero(is_blank).tolist() if seen[0] < number < seen[-1]]


def _numbers(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:5])) + (f" and {len(numbers) - 5} more" if len(numbers) > 5 else "")


def _airless_contradiction(hu: Int16[np.ndarray, "s h w"]) -> str:
    """What shows that slices without air are no HU; "" where nothing does."""
    low, high = int(hu.min()), int(hu.max())
    histogram = _sample(hu)
    if low == 0 and high in _WHITE and _is_cut(histogram, low, high):
        return f"its values run from 0 to {high} with many at both ends: a picture of a window, not HU"
    if (soft_hu := _lifted_tissue(histogram, low)) is not None:
        return f"its air lies at {low} and its soft tissue near {soft_hu}, so they are not HU: the intercept is wrong"
    return ""


def _sample(hu: Int16[np.ndarray, "s h w"]) -> _Histogram:
    """Of every slice, and of odd numbers of rows and columns, so that no pattern of pixels is met."""
    stride = 1
    while hu.size > _SAMPLE * stride**2:
        stride += 2
    sample = hu[:, ::stride, ::stride].ravel()
    return _Histogram(np.bincount(sample.astype(np.int32) + _OFFSET, minlength=2 * _OFFSET), sample.size)


def _is_cut(histogram: _Histogram, low: int, high: int) -> bool:
    return min(histogram.share(end, end + 1) for end in (low, high)) > _SATURATED_SHARE


def _lifted_tissue(histogram: _Histogram, low: int) -> int | None:
    """Where soft tissue lies in a scan whose lowest value is air although it is not -1000; None where it does not."""
    starts = range(low + _OFFSET_HU[0] - _PEAK_HU // 2, low + _OFFSET_HU[1] - _PEAK_HU // 2, 10)
    start = max(starts, key=lambda at: histogram.share(at, at + _PEAK_HU))
    peak, below, above = (histogram.share(at, at + _PEAK_HU) for at in (start, start - 300, start + 200))
    if peak < _PEAK_SHARE or peak < _PEAK_RATIO * max(below, above):
        return None
    first = start + _OFFSET
    return start + int(histogram.counts[first : first + _PEAK_HU].argmax())


def _odd_tissue(histogram: _Histogram) -> str:
    if histogram.total < _FEWEST:
        return ""
    bins = range(*_TISSUE_HU, 20)
    shares = [histogram.share(at, at + 20) for at in bins]
    if sum(shares) < _TISSUE_SHARE:
        return f"hardly a voxel lies between {_TISSUE_HU[0]} and {_TISSUE_HU[1]} HU: no soft tissue"
    commonest = bins[int(np.argmax(shares))] + 10
    if not _SOFT_HU[0] <= commonest <= _SOFT_HU[1]:
        return f"the commonest tissue lies near {commonest} HU"
    return ""


def _step(histogram: _Histogram) -> int:
    """The greatest common divisor of all differences between values; 1 where there are too few to tell."""
    values = np.flatnonzero(histogram.counts)
    return int(np.gcd.reduce(np.diff(values))) if histogram.total >= _FEWEST and len(values) >= 20 else 1
