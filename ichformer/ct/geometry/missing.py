"""Slices that are missing from a stack: they are kept as gaps, refused or interpolated."""

from dataclasses import replace
from typing import Literal

import numpy as np
from jaxtyping import Int16

from ichformer.ct.io.dicom.slices import Stack, median_step
from ichformer.ct.limits import check_grid

Missing = Literal["keep", "refuse", "interpolate"]
"""What becomes of missing slices: the gap stays and the audit says so; an error; or linear interpolation."""


def interpolate_missing(
    hu: Int16[np.ndarray, "s h w"], source: tuple[str, ...], stack: Stack, *, where: object
) -> tuple[Int16[np.ndarray, "s2 h w"], tuple[str, ...], Stack]:
    """Fill every gap of whole slices, voxel by voxel along the stack, by linear interpolation between its two sides.

    Args:
      hu: the slices that are there.
      source: of each.
      stack: how they lie on each other.
      where: the series, for an error.

    Returns:
      HU, sources (``"interpolated:1/2:<below>"`` for the first of two new slices) and stack with the new slices: its
      steps, its median step, and nothing missing.

    Raises:
      InputError: so many slices are missing that the scan would become too large.
    """
    check_grid(
        (len(hu) + stack.missing, *hu.shape[1:]),
        what=f"filling {stack.missing} missing slices (the longest step is {max(stack.steps_mm):.0f} mm)",
        where=where,
        fix="leave out the slices that stand apart, or keep the gaps (--missing keep)",
    )
    filled_hu = np.empty((len(hu) + stack.missing, *hu.shape[1:]), np.int16)
    filled_hu[0] = hu[0]
    names, steps_mm = [source[0]], []
    for i, count in enumerate(stack.missing_in):
        below, above = hu[i].astype(np.float32), hu[i + 1].astype(np.float32)
        for k in range(1, count + 1):
            part = k / (count + 1)
            filled_hu[len(names)] = np.rint(below + (above - below) * np.float32(part))
            names.append(f"interpolated:{k}/{count}:{source[i]}")
        filled_hu[len(names)] = hu[i + 1]
        names.append(source[i + 1])
        steps_mm += [stack.steps_mm[i] / (count + 1)] * (count + 1)
    filled = replace(
        stack,
        steps_mm=tuple(steps_mm),
        spacing_mm=median_step(np.array(steps_mm)),
        missing_in=(0,) * len(steps_mm),
    )
    return filled_hu, tuple(names), filled
