"""Whether a Volume that did not come from a file is what a Volume has to be: in HU, and lying as its affine says."""

import numpy as np

from ichformer.ct.geometry.orientation import lps_order, slice_normal
from ichformer.ct.plausibility import check_values
from ichformer.ct.volume import AIR_HU, Volume
from ichformer.errors import InputError

_AXES = {(0, True): "left", (0, False): "right", (1, True): "posterior", (1, False): "anterior"} | {
    (2, True): "superior",
    (2, False): "inferior",
}
"""Where an axis of the patient points, and the sign of a step along it."""

_ALIKE = 0.01
"""Spacing and affine that differ by less say the same."""

_READ = "save it as NIfTI with its affine and read it with ichformer.read_volume"


def check_volume(volume: Volume) -> None:
    """Refuses a volume whose values or axes are not those of a ``Volume``, so that it is not scored as another scan.

    A volume that ``read_volume`` gave passes. Those that people make of arrays of their own may be upside down, or hold
    a display picture.

    Args:
      volume: any.

    Raises:
      InputError: no voxels; an affine that cannot be inverted, says that slices do not run from inferior to superior,
        rows from anterior to posterior or columns from right to left, or says other distances than ``spacing_mm``; or
        values that are no HU (below ``AIR_HU``, or see ``check_values``). Pictures that ``read_volume`` turned into HU
        are cut to their window, which is no fault.
    """
    if not volume.hu.size:
        raise InputError(f"has no voxels, {list(volume.hu.shape)}", where="volume", fix="give a whole scan")
    where, axes = volume.source[0], volume.affine[:3, :3]
    lengths = np.linalg.norm(axes, axis=0)
    if not (lengths > 0).all() or abs(np.linalg.det(axes / lengths)) < 1e-3:
        raise InputError("its affine cannot be inverted", where=where, fix=_READ)
    order, forward = lps_order(volume.affine)
    if order != (0, 1, 2) or not all(forward):
        targets = {axis: (2 - target, forward[target]) for target, axis in enumerate(order)}
        raise InputError(
            "its affine says that slices run to {}, rows to {} and columns to {}, where a Volume has superior, "
            "posterior and left".format(*(_AXES[targets[axis]] for axis in range(3))),
            where=where,
            fix=_READ,
        )
    # Where the distance of slices changes, the affine has that of the first two and the spacing the median.
    said = [abs(float(axes[:, 0] @ slice_normal(volume.affine))), float(lengths[1]), float(lengths[2])]
    skipped = int(bool(volume.audit.steps_mm))
    if not np.allclose(said[skipped:], volume.spacing_mm[skipped:], rtol=_ALIKE, atol=0):
        told = " x ".join(f"{mm:.4g}" for mm in volume.spacing_mm)
        raise InputError(
            f"spacing_mm is {told}, and its affine says {' x '.join(f'{mm:.4g}' for mm in said)} mm",
            where=where,
            fix="give the distances of the affine",
        )
    if (low := int(volume.hu.min())) < AIR_HU:
        fix = f"set them to {AIR_HU} if they are padding: np.maximum(hu, {AIR_HU})"
        raise InputError(f"has values down to {low}, and no HU lie below {AIR_HU}", where=where, fix=fix)
    if volume.audit.window_hu is None:
        check_values(volume.hu, n_below=0, where=where, fix="give HU, or pictures to ichformer.read_volume")
