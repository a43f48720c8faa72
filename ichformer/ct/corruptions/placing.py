"""Corruptions of how the head lies in the pictures: shear of a tilted gantry, a wrong field of view."""

from dataclasses import replace

import numpy as np
from scipy import ndimage

from ichformer.ct.anatomy.head import head_box
from ichformer.ct.corruptions.base import Scan
from ichformer.ct.geometry.orientation import slice_normal, tilt_of
from ichformer.ct.geometry.regrid import resample_plane, slice_offsets_mm
from ichformer.ct.volume import AIR_HU


def tilt(scan: Scan, degrees: float, rng: np.random.Generator) -> Scan:
    """Shear the stack as a gantry tilted by ``degrees`` does: every slice is shifted within its plane.

    The affine follows, so ``geometry.remove_tilt`` undoes it: the fault is that nobody has. The middle slice stays, the
    picture keeps its size, and what slips out of it is lost.
    """
    volume = scan.volume
    slope = np.tan(np.deg2rad(degrees)) * rng.choice([-1.0, 1.0])
    offsets_mm = slice_offsets_mm(volume)
    middle_mm = (offsets_mm[0] + offsets_mm[-1]) / 2
    # Where the pictures' origins go one way, what they show of the patient goes the other.
    slips = -slope * (offsets_mm - middle_mm) / volume.spacing_mm[1]
    hu = np.stack(
        [
            ndimage.shift(picture.astype(np.float32), (slip, 0), order=1, cval=AIR_HU)
            for picture, slip in zip(volume.hu, slips, strict=True)
        ]
    )
    affine = volume.affine.copy()
    rows = affine[:3, 1] / volume.spacing_mm[1]
    across = affine[:3, 0] @ slice_normal(affine)
    affine[:3, 0] += slope * across * rows
    affine[:3, 3] -= slope * middle_mm * rows
    degrees_now = tilt_of(affine)
    audit = volume.audit.with_note("tilt", f"{degrees_now:.1f} degrees", tilt_deg=degrees_now)
    sheared = replace(scan, volume=replace(volume, affine=affine, audit=audit)).with_hu(hu)
    if scan.mask is None:
        return sheared
    slipped = [ndimage.shift(m, (slip, 0), order=0) for m, slip in zip(scan.mask, slips, strict=True)]
    return replace(sheared, mask=np.stack(slipped))


def field_of_view(scan: Scan, share: float, rng: np.random.Generator) -> Scan:
    """A wrong field of view: the head is cut off or small in the picture, by turns of the seed.

    Cut off, ``share`` of the head's width or length lies outside of one edge; small, the field is larger by twice that
    share. Labels stay as they are, whether or not the bleed is in the part that was cut off.
    """
    volume = scan.volume
    shape = volume.hu.shape[1:]
    box = head_box(volume.hu, volume.spacing_mm) or (0.0, shape[0] - 1.0, 0.0, shape[1] - 1.0)
    first, last = np.array(box).reshape(2, 2).T
    is_cut, axis, low_edge = rng.random() < 0.5, int(rng.integers(2)), bool(rng.integers(2))
    begin, step = np.zeros(2), np.ones(2)
    if is_cut:
        lost = share * (last[axis] - first[axis] + 1)
        begin[axis] = round(first[axis] + lost if low_edge else last[axis] - lost - (shape[axis] - 1))
    else:
        step = np.full(2, 1 + 2 * share)
        begin = (np.array(shape) - 1) / 2 * (1 - step)
    placed, mask = resample_plane(volume, start=begin, step=step, shape=shape, mask=scan.mask)
    return replace(scan, volume=placed, mask=mask)
