"""Slices at uneven distances resampled to an even grid along their normal."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float32, Float64

from ichformer.ct.geometry.regrid import slice_offsets_mm
from ichformer.ct.limits import check_grid
from ichformer.ct.volume import Volume
from ichformer.errors import InputError

_EVEN_ENOUGH_MM = 0.05


def even_slices(volume: Volume, spacing_mm: float) -> tuple[Volume, Float64[np.ndarray, "n s"]]:
    """Resample the slices to one distance along the normal; nothing changes within the plane.

    A new slice is the mean, over the thickness that it stands for, of what linear interpolation between the old ones
    gives: where the old ones are further apart this is interpolation, where they are closer it is the average that a
    thicker slice of the scanner would be.

    Args:
      volume: without tilt, as the slices of a tilted stack do not lie above each other (``geometry.remove_tilt``).
      spacing_mm: wanted distance.

    Returns:
      The volume, its slices named after the old ones that weigh most, and how much of each old slice is in each new
      one: see ``labels_of_slabs`` for labels, ``weights.argmax(1)`` for masks.

    Raises:
      InputError: a distance that is no sensible one for this scan.
    """
    if volume.audit.tilt_deg:
        raise ValueError("a tilted stack has to be straightened first")
    offsets_mm = slice_offsets_mm(volume)
    if not 0 < spacing_mm < np.inf:
        raise InputError(f"found {spacing_mm}", where="slice spacing in mm", fix="give 0.5 to 10")
    count = (offsets_mm[-1] + 1e-3 * spacing_mm) // spacing_mm + 1
    check_grid(
        (count, *volume.hu.shape[1:]),
        what=f"slices every {spacing_mm:g} mm over {offsets_mm[-1]:.0f} mm",
        where=volume.source[0],
        fix="give a larger slice spacing, or leave it out",
    )
    count = int(count)
    at_mm = np.arange(count) * spacing_mm
    if count == len(volume.hu) and np.allclose(offsets_mm, at_mm, atol=_EVEN_ENOUGH_MM):
        return volume, np.eye(count)
    weights = slab_weights(offsets_mm, at_mm, spacing_mm)
    hu = np.empty((count, *volume.hu.shape[1:]), np.int16)
    total, part = np.empty((2, *volume.hu.shape[1:]), np.float32)
    for new, row in zip(hu, weights, strict=True):
        first, *others = np.flatnonzero(row)
        np.multiply(volume.hu[first], np.float32(row[first]), out=total)
        for i in others:
            np.multiply(volume.hu[i], np.float32(row[i]), out=part)
            total += part
        np.rint(total, out=total)
        new[:] = total
    affine = volume.affine.copy()
    affine[:3, 0] *= spacing_mm / volume.spacing_mm[0]
    text = f"from {len(volume.hu)} slices to {count}, {spacing_mm:g} mm apart"
    evened = replace(
        volume,
        hu=hu,
        affine=affine,
        spacing_mm=(float(spacing_mm), *volume.spacing_mm[1:]),
        source=tuple(volume.source[i] for i in weights.argmax(1)),
        audit=volume.audit.with_note("slices_resampled", text, steps_mm=()),
    )
    return evened, weights


def labels_of_slabs(
    labels: Float32[np.ndarray, "s labels"], weights: Float64[np.ndarray, "n s"], *, num_targets: int = 0
) -> Float32[np.ndarray, "n labels"]:
    """Labels of resampled slices, from the old slices that make up much of each new one.

    Positive where one of those is. Otherwise unknown where one of those is unknown, as it may hold the bleed. Negative
    where all of them are. A target is known where it is the same in all of those, as nobody can say whether the numbers
    of slices add up.

    Args:
      labels: of the old slices, NaN where unknown.
      num_targets: the last so many columns are targets, not labels.
      weights: how much of each old slice is in each new one. An old slice makes up much of a new one where it weighs at
        least half of what the heaviest does.
    """
    much = (weights >= 0.5 * weights.max(1, keepdims=True))[:, :, None]
    is_positive = (much & (labels == 1)).any(1)
    is_unknown = (much & np.isnan(labels)).any(1)
    largest = np.where(much & ~np.isnan(labels), labels, 0).max(1)
    found = np.where(is_unknown & ~is_positive, np.nan, largest)
    if num_targets:
        targets = labels[:, -num_targets:]
        highest, lowest = np.where(much, targets, -np.inf).max(1), np.where(much, targets, np.inf).min(1)
        found[:, -num_targets:] = np.where(highest == lowest, highest, np.nan)
    return found.astype(np.float32)


def slab_weights(
    offsets_mm: Float64[np.ndarray, "s"], at_mm: Float64[np.ndarray, "n"], thickness_mm: float
) -> Float64[np.ndarray, "n s"]:
    """How much of each old slice is in each new one: the mean of linear interpolation over the new slice's slab.

    The slab is narrowed by the distance of the old slices round it, whose own thickness does the averaging already;
    what it reaches beyond the first and the last slice is left out.
    """
    weights = np.zeros((len(at_mm), len(offsets_mm)))
    steps_mm = np.diff(offsets_mm)
    for new, height in zip(weights, at_mm, strict=True):
        i = int(np.clip(np.searchsorted(offsets_mm, height, "right") - 1, 0, len(steps_mm) - 1))
        half_mm = max(0.0, thickness_mm - steps_mm[i]) / 2
        points = np.clip(np.linspace(height - half_mm, height + half_mm, 33), offsets_mm[0], offsets_mm[-1])
        below = np.clip(np.searchsorted(offsets_mm, points, "right") - 1, 0, len(steps_mm) - 1)
        part = (points - offsets_mm[below]) / steps_mm[below]
        np.add.at(new, below, (1 - part) / len(points))
        np.add.at(new, below + 1, part / len(points))
    weights[weights < 1e-6] = 0
    return weights / weights.sum(1, keepdims=True)
