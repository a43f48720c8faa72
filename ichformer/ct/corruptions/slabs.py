"""Corruptions of the stack: thicker slices, missing slices."""

from dataclasses import replace

import numpy as np

from ichformer.ct.corruptions.base import Scan
from ichformer.ct.geometry import remove_tilt, slice_offsets_mm
from ichformer.ct.spacing import even_slices


def thickness(scan: Scan, factor: float, rng: np.random.Generator) -> Scan:  # noqa: ARG001, the same for every seed
    """Slices ``factor`` times as thick and as far apart: neighbours are averaged as a thicker collimation would.

    A tilted stack is straightened first, as slices that do not lie above each other cannot be averaged.
    """
    volume, mask = remove_tilt(scan.volume, scan.mask)
    thicker, weights = even_slices(volume, factor * volume.spacing_mm[0])
    audit = replace(thicker.audit, thickness_mm=factor * thicker.audit.thickness_mm)
    return Scan(
        volume=replace(thicker, audit=audit),
        mask=None if mask is None else mask[weights.argmax(1)],
        weights=weights @ scan.weights,
    )


def missing_slices(scan: Scan, share: float, rng: np.random.Generator) -> Scan:
    """Leaves out a share of the slices, anywhere, at least one; two stay. The steps between the others say so."""
    volume, count = scan.volume, len(scan.volume.hu)
    lost = min(max(1, round(share * count)), max(0, count - 2))
    kept = np.sort(rng.permutation(count)[lost:])
    offsets_mm = slice_offsets_mm(volume)[kept]
    steps_mm = np.diff(offsets_mm)
    dz_mm = float(np.sort(steps_mm)[(len(steps_mm) - 1) // 2]) if len(steps_mm) else volume.spacing_mm[0]
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, 0] * offsets_mm[0] / volume.spacing_mm[0]
    affine[:3, 0] *= dz_mm / volume.spacing_mm[0]
    audit = replace(volume.audit, steps_mm=tuple(steps_mm.tolist()), missing_slices=volume.audit.missing_slices + lost)
    fewer = replace(
        volume,
        hu=volume.hu[kept],
        spacing_mm=(dz_mm, *volume.spacing_mm[1:]),
        affine=affine,
        source=tuple(volume.source[s] for s in kept),
        audit=audit,
    )
    return Scan(volume=fewer, mask=None if scan.mask is None else scan.mask[kept], weights=scan.weights[kept])
