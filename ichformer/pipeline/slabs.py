"""Changes of the stack of slices: which are read, which come together as one thicker slice, in which order."""

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Int64

from ichformer.pipeline.sample import Sample


@dataclass(frozen=True, kw_only=True, eq=False)
class SlicePlan:
    """What is taken of a stack, decided before a pixel is read.

    Attributes:
      taken: the slices to read, ascending; ``per_slab`` neighbours in turn become one.
      per_slab: 1 leaves the slices as they are.
      is_reversed: the last one comes first.
    """

    taken: Int64[np.ndarray, "n"]
    per_slab: int
    is_reversed: bool


def plan_slices(
    n_slices: int,
    rng: np.random.Generator,
    *,
    num_slices: int,
    spacing_z_mm: float,
    thicken_mm: float,
    drop: float,
    reverse: float,
) -> SlicePlan:
    """A random run of up to ``num_slices`` slices, or slabs of them; a setting of 0 draws nothing.

    Args:
      n_slices: of the scan.
      rng: of this sample.
      num_slices: most slices that come out.
      spacing_z_mm: from slice to slice; looked at where ``thicken_mm`` is not 0.
      thicken_mm: largest spacing that neighbours may come together to.
      drop: chance of each slice to be missing; one always stays.
      reverse: chance that the order is turned round.
    """
    per_slab = 1
    if thicken_mm:
        # A hair's breadth more: 2.5 mm goes twice into 5 mm, whatever the rounding of either.
        most = math.floor(min(thicken_mm / spacing_z_mm + 1e-3, n_slices))
        per_slab = int(rng.integers(1, max(most, 1) + 1))
    length = min(num_slices, n_slices // per_slab)
    first = int(rng.integers(0, n_slices - length * per_slab + 1))
    slabs = first + np.arange(length * per_slab).reshape(length, per_slab)
    if drop:
        chances = rng.random(length)
        slabs = slabs[(chances >= drop) | (chances == chances.max())]
    return SlicePlan(taken=slabs.ravel(), per_slab=per_slab, is_reversed=bool(reverse) and rng.random() < reverse)


def arrange(sample: Sample, plan: SlicePlan) -> Sample:
    """The sample of the slices ``plan.taken``, as the plan wants it."""
    if plan.per_slab > 1:
        sample = thicken(sample, plan.per_slab)
    return reverse_slices(sample) if plan.is_reversed else sample


def thicken(sample: Sample, per_slab: int) -> Sample:
    """Every ``per_slab`` neighbours as their mean, which is what a scanner's thicker slice is.

    A slab's label is the largest of its slices', unknown where one is unknown and none positive; so is its mask. Boxes
    of all its slices stay. The number of slices has to be a multiple of ``per_slab``.
    """
    dz_mm, dy_mm, dx_mm = sample.spacing_mm
    grid = (-1, per_slab, *sample.hu.shape[1:])
    boxes = sample.boxes
    if boxes is not None:
        boxes = boxes.copy()
        boxes[:, 0] //= per_slab
    return replace(
        sample,
        hu=np.rint(sample.hu.reshape(grid).mean(1, dtype=np.float32)).astype(np.int16),
        spacing_mm=(dz_mm * per_slab, dy_mm, dx_mm),
        slice_labels=_largest(sample.slice_labels.reshape(-1, per_slab, sample.slice_labels.shape[1])),
        mask=None if sample.mask is None else sample.mask.reshape(grid).max(1),
        boxes=boxes,
    )


def reverse_slices(sample: Sample) -> Sample:
    """The last slice first."""
    boxes = sample.boxes
    if boxes is not None:
        boxes = boxes.copy()
        boxes[:, 0] = len(sample.hu) - 1 - boxes[:, 0]
    return replace(
        sample,
        hu=sample.hu[::-1],
        slice_labels=sample.slice_labels[::-1],
        mask=None if sample.mask is None else sample.mask[::-1],
        boxes=boxes,
    )


def _largest(labels: Float32[np.ndarray, "n per_slab labels"]) -> Float32[np.ndarray, "n labels"]:
    known = np.where(np.isnan(labels), np.float32(-1), labels).max(1)
    return np.where((known < 1) & np.isnan(labels).any(1), np.float32(np.nan), known)
