"""Corruptions of the stack: thicker slices, missing slices."""

import math
from dataclasses import replace

import numpy as np
from jaxtyping import Int64

from ichformer.ct.corruptions.base import Scan
from ichformer.ct.geometry.regrid import remove_tilt, slice_offsets_mm
from ichformer.ct.geometry.spacing import even_slices
from ichformer.ct.io.dicom.slices import geometry_of_some


def thickness(scan: Scan, factor: float, rng: np.random.Generator) -> Scan:
    """Slices ``factor`` times as thick and as far apart: neighbours are averaged as a thicker collimation would.

    The first of them begins anywhere within its thickness, as it decides much which slices take in the skull base and
    the vertex. A tilted stack is straightened first: slices that do not lie above each other cannot be averaged.
    """
    count = len(scan.volume.hu)
    skipped = min(int(rng.uniform() * math.ceil(factor)), count - 1)
    scan = _take(scan, np.arange(skipped, count))
    volume, mask = remove_tilt(scan.volume, scan.mask)
    thicker, weights = even_slices(volume, factor * volume.spacing_mm[0])
    audit = replace(thicker.audit, thickness_mm=factor * thicker.audit.thickness_mm)
    return Scan(
        volume=replace(thicker, audit=audit),
        mask=None if mask is None else mask[weights.argmax(1)],
        weights=weights @ scan.weights,
    )


def missing_slices(scan: Scan, share: float, rng: np.random.Generator) -> Scan:
    """Remove a share of the slices at random places: at least one goes, and two stay."""
    count = len(scan.volume.hu)
    lost = min(max(1, round(share * count)), max(0, count - 2))
    fewer = _take(scan, np.sort(rng.permutation(count)[lost:]))
    audit = replace(fewer.volume.audit, missing_slices=scan.volume.audit.missing_slices + lost)
    return replace(fewer, volume=replace(fewer.volume, audit=audit))


def _take(scan: Scan, kept: Int64[np.ndarray, " kept"]) -> Scan:
    """Some of the slices, in order, at their own positions."""
    volume = scan.volume
    affine, dz_mm, steps_mm = geometry_of_some(volume.affine, slice_offsets_mm(volume)[kept], volume.spacing_mm[0])
    taken = replace(
        volume,
        hu=volume.hu[kept],
        spacing_mm=(dz_mm, *volume.spacing_mm[1:]),
        affine=affine,
        source=tuple(volume.source[s] for s in kept),
        audit=replace(volume.audit, steps_mm=steps_mm),
    )
    return Scan(volume=taken, mask=None if scan.mask is None else scan.mask[kept], weights=scan.weights[kept])
