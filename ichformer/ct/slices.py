"""From the positions of slices to a stack: order, duplicates, steps and gaps. Pure functions of numbers."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

SAME_POSITION_MM = 0.02
"""Slices nearer than this along the normal are duplicates; the thinnest CT slices are ten times as far apart."""

_EVEN_FRACTION = 0.02
"""Steps within 2 % of their median are even: headers round positions and thicknesses to 0.01 or 0.1 mm."""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """How slices lie on each other.

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
        """All steps are the same."""
        return bool(np.ptp(self.steps_mm) <= 2 * _EVEN_FRACTION * self.spacing_mm)


def stack_slices(
    positions_mm: Float64[np.ndarray, "n 3"], normal: Float64[np.ndarray, "3"], thickness_mm: Float64[np.ndarray, "n"]
) -> Stack | None:
    """Sort slices along their normal and look at the steps between them.

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
        missing_in=_count_missing(steps_mm, spacing_mm, thickness_mm[kept]),
    )


def median_step(steps_mm: Float64[np.ndarray, "steps"]) -> float:
    """The lower median, so that it is one of the steps."""
    return float(np.sort(steps_mm)[(len(steps_mm) - 1) // 2])


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


def _count_missing(
    steps_mm: Float64[np.ndarray, "steps"], spacing_mm: float, thickness_mm: Float64[np.ndarray, "s"]
) -> tuple[int, ...]:
    """For every step the slices that would fit into it.

    A gap is a step of a whole number of spacings. It is none where the slices on both its sides are thick enough to
    fill it, or where three such steps or more follow each other: then the slab is thicker there, as in protocols with
    5 mm through the posterior fossa and 10 mm above.
    """
    multiples = np.rint(steps_mm / spacing_mm)
    is_long = (multiples >= 2) & (np.abs(steps_mm / spacing_mm - multiples) < 0.15)
    filled_mm = np.fmin(thickness_mm[:-1], thickness_mm[1:])
    is_long &= ~(filled_mm > 0.75 * steps_mm)
    missing, start = np.zeros(len(steps_mm), int), 0
    for end in range(1, len(steps_mm) + 1):
        if end == len(steps_mm) or multiples[end] != multiples[start]:
            if end - start < 3:
                missing[start:end] = np.where(is_long[start:end], multiples[start:end] - 1, 0)
            start = end
    return tuple(int(count) for count in missing)


def describe_steps(steps_mm: tuple[float, ...]) -> str:
    """Steps as text, from the first: ``"13 x 4.002, 1.081, 13 x 6.999 mm"``, at most eight runs."""
    runs: list[tuple[float, int]] = []
    for step in steps_mm:
        if runs and abs(step - runs[-1][0]) <= _EVEN_FRACTION * runs[-1][0]:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((step, 1))
    texts = [f"{step:.3f}" if count == 1 else f"{count} x {step:.3f}" for step, count in runs]
    return ", ".join(texts[:8]) + (" ..." if len(texts) > 8 else "") + " mm"
