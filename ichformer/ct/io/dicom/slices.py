"""From the positions of slices to a stack: order, duplicates, steps and gaps. Pure functions of numbers."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

SAME_POSITION_MM = 0.02
"""Slices nearer than this along the normal are duplicates; the thinnest CT slices are ten times as far apart."""

_EVEN_FRACTION = 0.02
"""Steps within 2 % of their median are even: headers round positions and thicknesses to 0.01 or 0.1 mm."""

_BARE = 1.7
"""A step of so many usual ones leaves room for a slice."""

_WHOLE = 0.07
"""So far may a step be from a whole number of usual ones, as a part of itself."""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """The order and the distances of the slices of one stack.

    Attributes:
      order: which of the given slices are kept, from one end of the normal to the other.
      duplicates: which are left out because another slice has their position.
      spacing_mm: the median step between neighbours along the normal.
      steps_mm: every step, S-1 of them.
      direction: how far the slices' corners move in patient coordinates for each mm along the normal.
      bend_mm: how far the corners are from one straight line, at most.
      missing_in: how many whole slices are missing in every step.
    """

    order: tuple[int, ...]
    duplicates: tuple[int, ...]
    spacing_mm: float
    steps_mm: tuple[float, ...]
    direction: Float64[np.ndarray, "3"]
    bend_mm: float
    missing_in: tuple[int, ...]

    @property
    def missing(self) -> int:
        """How many slices are missing in all."""
        return sum(self.missing_in)

    @property
    def is_even(self) -> bool:
        """Whether all steps are the same, as far as headers round them."""
        return bool(np.ptp(self.steps_mm) <= 2 * _EVEN_FRACTION * self.spacing_mm)


def stack_slices(
    positions_mm: Float64[np.ndarray, "n 3"], normal: Float64[np.ndarray, "3"], thickness_mm: Float64[np.ndarray, "n"]
) -> Stack | None:
    """Sort slices along their normal and measure the steps between them.

    Args:
      positions_mm: a corner of each slice (ImagePositionPatient), in any order.
      normal: of the slices, of length 1.
      thickness_mm: nominal thickness of each slice, NaN where unknown.

    Returns:
      The stack; None where all slices stand at one position.
    """
    along_mm = positions_mm @ normal
    order = np.argsort(along_mm, kind="stable")
    is_new = np.concatenate([[True], np.diff(along_mm[order]) > SAME_POSITION_MM])
    kept, duplicates = order[is_new], order[~is_new]
    if len(kept) < 2:
        return None
    steps_mm = np.diff(along_mm[kept])
    spacing_mm = median_step(steps_mm)
    corners = positions_mm[kept]
    direction = (corners[-1] - corners[0]) / (along_mm[kept[-1]] - along_mm[kept[0]])
    line = corners[0] + (along_mm[kept] - along_mm[kept[0]])[:, None] * direction
    return Stack(
        order=tuple(int(i) for i in kept),
        duplicates=tuple(int(i) for i in duplicates),
        spacing_mm=spacing_mm,
        steps_mm=tuple(float(step) for step in steps_mm),
        direction=direction,
        bend_mm=float(np.linalg.norm(corners - line, axis=1).max()),
        missing_in=_count_missing(steps_mm, thickness_mm[kept]),
    )


def median_step(steps_mm: Float64[np.ndarray, "steps"]) -> float:
    """The lower median of the steps, which is one of them."""
    return float(np.sort(steps_mm)[(len(steps_mm) - 1) // 2])


def is_one_protocol(steps_mm: Float64[np.ndarray, "steps"]) -> bool:
    """Whether the steps repeat as those of one scan do, but for a few, as where thin slices end and thick ones begin.

    Repeating are three equal steps or more in a row, and up to four of them in one, where slices are missing, but
    not everywhere. Fewer than four steps say nothing, so they are taken for one scan. Two stacks that lie in each other
    are none.
    """
    if len(steps_mm) < 4:
        return True
    usual = np.array(_usual_pitches(steps_mm))
    pitches = np.unique(usual[usual > 0])
    if not len(pitches):
        pitches = np.array([median_step(steps_mm)])
        if np.mean(np.abs(steps_mm - pitches[0]) <= _same(float(pitches[0]))) < 0.6:
            return False
    # No protocol has slices so much nearer to each other in one part than in another.
    times = steps_mm[:, None] / pitches[pitches > pitches.max() / 5]
    whole = np.rint(times)
    is_whole = (np.abs(times - whole) <= _WHOLE * times) & (whole >= 1) & (times < 4.5)
    odd = np.count_nonzero(~is_whole.any(1))
    several = np.count_nonzero(is_whole.any(1) & ~(is_whole & (whole == 1)).any(1))
    count = len(steps_mm)
    return bool(odd <= max(1 if count < 8 else 2, 0.05 * count) and several <= max(2, 0.25 * count))


def are_interleaved(steps_mm: Float64[np.ndarray, "steps"], thickness_mm: float) -> bool:
    """Whether several stacks are interleaved: the steps are not those of one scan, and slices overlap.

    Slices crowd that are nearer than 0.6 of their thickness or, where that is unknown, of what most steps are. A stack
    of which many slices are missing has steps that are whole multiples of one, so it is none.

    Args:
      steps_mm: between all slices.
      thickness_mm: of the slices, NaN where unknown.
    """
    if len(steps_mm) < 7 or is_one_protocol(steps_mm):
        return False
    is_known = thickness_mm > 0
    crowded = np.count_nonzero(steps_mm < 0.6 * (thickness_mm if is_known else np.quantile(steps_mm, 0.75)))
    times = steps_mm / np.quantile(steps_mm, 0.1)
    is_grid = bool(np.all(np.abs(times - np.rint(times)) <= 0.05)) and float(np.mean(times)) < 2.5
    return bool(crowded > max(2, 0.1 * len(steps_mm))) and (is_known or not is_grid)


def offsets_of(steps_mm: tuple[float, ...], spacing_mm: float, count: int) -> Float64[np.ndarray, "s"]:
    """Distance of every slice from the first, along the normal; ``steps_mm`` is empty where all are ``spacing_mm``."""
    return np.concatenate([[0.0], np.cumsum(steps_mm or (spacing_mm,) * (count - 1))])


def geometry_of_some(
    affine: Float64[np.ndarray, "4 4"], offsets_mm: Float64[np.ndarray, "taken"], spacing_mm: float
) -> tuple[Float64[np.ndarray, "4 4"], float, tuple[float, ...]]:
    """Affine, spacing along the normal and steps (empty where even) of some slices of a stack, where they were.

    Args:
      affine: of the whole stack.
      offsets_mm: of the slices that are taken, from the first of the whole stack.
      spacing_mm: of the whole stack, along the normal.
    """
    steps_mm = np.diff(offsets_mm)
    own_mm = median_step(steps_mm) if len(steps_mm) else spacing_mm
    is_even = np.allclose(steps_mm, own_mm, rtol=1e-6, atol=0)
    moved = affine.copy()
    moved[:3, 3] += affine[:3, 0] * offsets_mm[0] / spacing_mm
    moved[:3, 0] *= own_mm / spacing_mm
    return moved, own_mm, () if is_even else tuple(steps_mm.tolist())


def _count_missing(steps_mm: Float64[np.ndarray, "steps"], thickness_mm: Float64[np.ndarray, "s"]) -> tuple[int, ...]:
    """For every step the slices that would fit into it, from the steps beside it and the thickness of the slices.

    A step is measured in thicknesses of the slices that it joins, where all are known. Three equal steps or more that
    follow each other are what was scanned there. Any other step is a gap where it is a whole number of what was scanned
    below it or above it, or where it leaves bare most of a slice. So a protocol of thin slices below and thick ones
    above has no gap, and a slice that is missing in either part is one.
    """
    is_known = bool(np.all(thickness_mm > 0))
    pitch = steps_mm
    if is_known:
        # The median of three, so that one wrong thickness does no harm.
        padded = np.pad(thickness_mm, 1, mode="edge")
        smooth_mm = np.median([padded[:-2], padded[1:-1], padded[2:]], axis=0)
        pitch = steps_mm / ((smooth_mm[:-1] + smooth_mm[1:]) / 2)
    usual = _usual_pitches(pitch)
    missing = []
    for i, own in enumerate(pitch):
        below = next((usual[k] for k in range(i, -1, -1) if usual[k]), 0.0)
        above = next((usual[k] for k in range(i, len(pitch)) if usual[k]), 0.0)
        beside = [one for one in (below, above) if one] or [median_step(pitch)]
        times = [own / one for one in beside]
        whole = [value for value in times if abs(value - round(value)) <= _WHOLE * value]
        missing.append(min(map(_that_fit, whole or (times if is_known else [1.0]))))
    return tuple(missing)


def _usual_pitches(pitch: Float64[np.ndarray, "steps"]) -> list[float]:
    """For every step that is one of three equal ones or more their pitch, as it was scanned; 0 for the others."""
    usual = [0.0] * len(pitch)
    runs: list[tuple[int, int, float]] = []
    start = 0
    for end in range(1, len(pitch) + 1):
        if end == len(pitch) or abs(pitch[end] - pitch[start]) > _same(float(pitch[start])):
            if end - start >= 3:
                runs.append((start, end, float(np.median(pitch[start:end]))))
            start = end
    for i, (start, end, own) in enumerate(runs):
        around = [runs[k][2] for k in (i - 1, i + 1) if 0 <= k < len(runs)]
        # Slices that stand twice as far apart in the middle only: every second one is missing there.
        is_lost = len(around) == 2 and all(_that_fit(own / one) > 0 for one in around)
        usual[start:end] = [0.0 if is_lost else own] * (end - start)
    return usual


def _same(pitch: float) -> float:
    """Steps that differ by less belong to one part of the scan. Positions of thin slices may be rounded to 0.1 mm."""
    return max(0.1 * pitch, min(0.11, 0.2 * pitch))


def _that_fit(times: float) -> int:
    """Slices that fit into a step that is so many times the usual one."""
    return round(times) - 1 if times > _BARE else 0


def describe_steps(steps_mm: tuple[float, ...]) -> str:
    """Steps as text, from the first: ``"13 x 4.002, 1.081, 13 x 6.999 mm"``, eight runs and the longest step."""
    runs: list[tuple[float, int]] = []
    for step in steps_mm:
        if runs and abs(step - runs[-1][0]) <= _EVEN_FRACTION * runs[-1][0]:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((step, 1))
    texts = [f"{step:.3f}" if count == 1 else f"{count} x {step:.3f}" for step, count in runs]
    return ", ".join(texts[:8]) + (f" ..., the longest {max(steps_mm):.3f}" if len(texts) > 8 else "") + " mm"
