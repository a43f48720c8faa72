"""Whether a scan shows the whole head, and whether the head has a size that heads have.

A scan that ends in the middle of the brain says nothing of the rest, and a model scores it all the same. A wrong
distance between pixels makes every volume and every diameter wrong. Both show in the inside of the skull.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool

from ichformer.ct.anatomy.brain import brain_mask
from ichformer.ct.audit import Note
from ichformer.ct.io.dicom.slices import offsets_of
from ichformer.ct.volume import Volume

_CUT_SHARE = 0.4
"""A whole head ends in slices that show less of the brain than this part of its largest area. Of the 41 patients of
CT-ICH that were tried, none of 38 whole heads reaches it, though some scans begin above the foramen magnum; three whose
slices are out of order do."""

_LONG_MM, _HIGH_MM = (80.0, 250.0), (50.0, 230.0)
"""From a premature child to the largest hydrocephalus: the longer side of the brain's largest section, and its height
where both ends are shown. An adult's are 160 to 190 mm and 110 to 150 mm."""


def note_head(volume: Volume, mask: Bool[np.ndarray, "s h w"] | None = None) -> Volume:
    """The volume with notes where the head is cut off, or where its size cannot be a head's.

    A scan in which no brain is found gets none: it is not scored at all.

    Args:
      volume: a scan as it was read.
      mask: of ``brain_mask``, where it is known already.
    """
    mask = brain_mask(volume) if mask is None else mask
    if not mask.any():
        return volume
    notes = (*_cut_off(mask), *_odd_size(volume, mask))
    return replace(volume, audit=replace(volume.audit, notes=(*volume.audit.notes, *notes)))


def _cut_off(mask: Bool[np.ndarray, "s h w"]) -> tuple[Note, ...]:
    lowest, highest = _ends(mask)
    cut = [
        f"the {slice_} slice still shows {share:.0%} of the brain's largest area"
        for slice_, share in (("lowest", lowest), ("highest", highest))
        if share > _CUT_SHARE
    ]
    if not cut:
        return ()
    text = f"{' and '.join(cut)}: a part of the head is not in this scan, or the slices are out of order"
    return (Note(code="head_cut_off", text=text),)


def _odd_size(volume: Volume, mask: Bool[np.ndarray, "s h w"]) -> tuple[Note, ...]:
    largest = mask[int(mask.sum((1, 2)).argmax())]
    sides_mm = [
        float(np.ptp(np.flatnonzero(largest.any(axis))) + 1) * mm
        for axis, mm in zip((1, 0), volume.spacing_mm[1:], strict=True)
    ]
    is_odd = not _LONG_MM[0] <= max(sides_mm) <= _LONG_MM[1]
    text = f"the brain's largest section measures {sides_mm[0]:.0f} x {sides_mm[1]:.0f} mm"
    if max(_ends(mask)) <= _CUT_SHARE:
        offsets_mm = offsets_of(volume.audit.steps_mm, volume.spacing_mm[0], len(mask))
        high_mm = float(np.ptp(offsets_mm[mask.any((1, 2))])) + volume.spacing_mm[0]
        is_odd |= not _HIGH_MM[0] <= high_mm <= _HIGH_MM[1]
        text += f", and the brain is {high_mm:.0f} mm high"
    if not is_odd:
        return ()
    return (Note(code="head_size_doubtful", text=f"{text}, which no head does: its distances in mm are wrong"),)


def _ends(mask: Bool[np.ndarray, "s h w"]) -> tuple[float, float]:
    """How much of the brain's largest area the lowest and the highest slice show."""
    area = mask.sum((1, 2))
    return float(area[0] / area.max()), float(area[-1] / area.max())
