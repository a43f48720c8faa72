"""Chooses which slices of a scan are read, merged into thicker ones and reversed."""

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Int64

from ichformer.cohorts.mask_labels import merge_masks
from ichformer.pipeline.augmentation.sample import Sample


@dataclass(frozen=True, kw_only=True, eq=False)
class SlicePlan:
    """The choice of slices of a scan, made before a pixel is read.

    Attributes:
      taken: the slices to read, ascending; ``per_slab`` neighbours in turn become one.
      per_slab: 1 leaves the slices as they are.
      is_reversed: the last one comes first.
      is_whole: the slices stand for the whole scan, so that its labels stay true for them.
      spacing_z_mm: mean distance of what comes out; None where it is that of the slices that are read.
    """

    taken: Int64[np.ndarray, "n"]
    per_slab: int
    is_reversed: bool
    is_whole: bool = False
    spacing_z_mm: float | None = None


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
    """Chooses a random run of up to ``num_slices`` neighbouring slices or slabs; a setting of 0 draws nothing.

    Args:
      n_slices: of the scan.
      rng: of this sample.
      num_slices: most slices that come out.
      spacing_z_mm: from slice to slice; used where ``thicken_mm`` is not 0.
      thicken_mm: largest spacing that neighbours may come together to.
      drop: chance of each slice to be missing; one always stays.
      reverse: chance that the order is turned round.
    """
    per_slab = _random_slab(n_slices, rng, spacing_z_mm=spacing_z_mm, thicken_mm=thicken_mm)
    length = min(num_slices, n_slices // per_slab)
    first = int(rng.integers(0, n_slices - length * per_slab + 1))
    slabs = first + np.arange(length * per_slab).reshape(length, per_slab)
    if drop:
        chances = rng.random(length)
        slabs = slabs[(chances >= drop) | (chances == chances.max())]
    return SlicePlan(taken=slabs.ravel(), per_slab=per_slab, is_reversed=bool(reverse) and rng.random() < reverse)


def plan_whole(
    n_slices: int, rng: np.random.Generator, *, num_slices: int, spacing_z_mm: float, thicken_mm: float, reverse: float
) -> SlicePlan:
    """Chooses all slices of a scan, or ``num_slices`` evenly from a random start: every k-th, k = n / ``num_slices``.

    For scans that only have labels of their own: a run of neighbouring slices may miss the bleed that a scan's label
    speaks of. Slices between two that are taken are missed too, so a bleed that is shorter than k slices is seen in
    some epochs only. Each slice has the same chance of 1 in k (systematic sampling, Madow and Madow, Annals of
    Mathematical Statistics 1944); k is no whole number in general, so that a scan of 30 slices shows 24 of them and
    not 15, which would be another scan than the whole one that the model is used on. Means of k slices would show each
    bleed every time, but thinned by k, down to the noise.

    Slices are not dropped beyond that. Arguments are those of ``plan_slices``; ``spacing_z_mm`` is always used.
    """
    per_slab = _random_slab(n_slices, rng, spacing_z_mm=spacing_z_mm, thicken_mm=thicken_mm)
    n_slabs = n_slices // per_slab
    # What slabs leave over, less than one of them, lies at either end.
    first = int(rng.integers(0, n_slices - n_slabs * per_slab + 1))
    length = min(num_slices, n_slabs)
    taken = (np.arange(length) * n_slabs + rng.integers(0, n_slabs)) // length
    slabs = first + np.arange(n_slabs * per_slab).reshape(n_slabs, per_slab)[taken]
    return SlicePlan(
        taken=slabs.ravel(),
        per_slab=per_slab,
        is_reversed=bool(reverse) and rng.random() < reverse,
        is_whole=True,
        spacing_z_mm=spacing_z_mm * per_slab * n_slabs / length,
    )


def evenly_thinned(n_slices: int, num_slices: int) -> Int64[np.ndarray, "num_slices"] | None:
    """Returns ``num_slices`` evenly spaced slices of a longer scan, always the same; None where all may stay."""
    if n_slices <= num_slices:
        return None
    return (np.arange(num_slices) * n_slices + n_slices // 2) // num_slices


def arrange(sample: Sample, plan: SlicePlan) -> Sample:
    """Merges and reverses the slices ``plan.taken`` of a sample as the plan says."""
    if plan.per_slab > 1:
        sample = thicken(sample, plan.per_slab)
    if plan.spacing_z_mm is not None:
        sample = replace(sample, spacing_mm=(plan.spacing_z_mm, *sample.spacing_mm[1:]))
    return reverse_slices(sample) if plan.is_reversed else sample


def thicken(sample: Sample, per_slab: int) -> Sample:
    """Merges every ``per_slab`` neighbours into their mean, which is what a scanner's thicker slice is.

    A slab's label is the largest of its slices', unknown where one is unknown and none positive; so is its mask. Its
    target is that of its slices where they agree, else unknown: nobody can say whether the numbers of slices add up.
    The number of slices has to be a multiple of ``per_slab``.
    """
    dz_mm, dy_mm, dx_mm = sample.spacing_mm
    grid = (-1, per_slab, *sample.hu.shape[1:])
    return replace(
        sample,
        hu=np.rint(sample.hu.reshape(grid).mean(1, dtype=np.float32)).astype(np.int16),
        spacing_mm=(dz_mm * per_slab, dy_mm, dx_mm),
        slice_labels=_merge_labels(
            sample.slice_labels.reshape(-1, per_slab, sample.slice_labels.shape[1]), sample.num_targets
        ),
        mask=None if sample.mask is None else merge_masks(np.moveaxis(sample.mask.reshape(grid), 1, 0)),
    )


def reverse_slices(sample: Sample) -> Sample:
    """Reverses the order of the slices."""
    return replace(
        sample,
        hu=sample.hu[::-1],
        slice_labels=sample.slice_labels[::-1],
        mask=None if sample.mask is None else sample.mask[::-1],
    )


def _random_slab(n_slices: int, rng: np.random.Generator, *, spacing_z_mm: float, thicken_mm: float) -> int:
    if not thicken_mm:
        return 1
    # A hair's breadth more: 2.5 mm goes twice into 5 mm, whatever the rounding of either.
    most = math.floor(min(thicken_mm / spacing_z_mm + 1e-3, n_slices))
    return int(rng.integers(1, max(most, 1) + 1))


def _merge_labels(
    labels: Float32[np.ndarray, "n per_slab labels"], num_targets: int
) -> Float32[np.ndarray, "n labels"]:
    known = np.where(np.isnan(labels), np.float32(-1), labels).max(1)
    merged = np.where((known < 1) & np.isnan(labels).any(1), np.float32(np.nan), known)
    if num_targets:
        targets = labels[..., -num_targets:]
        agree = (targets == targets[:, :1]).all(1)
        merged[:, -num_targets:] = np.where(agree, targets[:, 0], np.float32(np.nan))
    return merged
