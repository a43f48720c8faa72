"""Reads a mask from a NIfTI file, on the grid of its series."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ichformer.ct.geometry.orientation import orient_lps
from ichformer.ct.io.masks import mask_values
from ichformer.ct.io.nifti import open_nifti
from ichformer.ct.volume import Volume
from ichformer.errors import InputError, one_line
from ichformer.files.writing import text_path


def read_mask(path: Path | str, volume: Volume) -> UInt8[np.ndarray, "s h w"]:
    """Reads voxel labels that lie on ``volume`` as it was read, before any preparation.

    Raises:
      InputError: no NIfTI file, another grid than the volume's (shape, or more than half a voxel off), or values that
        are no whole numbers from 0 to 255.
    """
    path = text_path(str(path))
    image, affine = open_nifti(path)
    if sorted(image.shape) != sorted(volume.hu.shape):  # before the voxels are read
        raise InputError(
            f"shape {list(image.shape)}, but the series has {list(volume.hu.shape)}",
            where=path,
            fix="use the mask of this series",
        )
    try:
        grid, oriented = orient_lps(np.asanyarray(image.dataobj), affine)
    except Exception as error:  # nibabel raises whatever it stumbles over
        raise InputError(
            f"its voxels cannot be read ({type(error).__name__}: {one_line(error)})",
            where=path,
            fix="copy the file again",
        ) from None
    offset_mm = _largest_offset_mm(oriented, volume)
    if grid.shape != volume.hu.shape or offset_mm > min(volume.spacing_mm) / 2:
        raise InputError(f"lies {offset_mm:.1f} mm off the series", where=path, fix="use the mask of this series")
    return mask_values(grid, where=path, fix="save it as whole-numbered labels")


def _largest_offset_mm(affine: np.ndarray, volume: Volume) -> float:
    """How far the corners of two grids of the same shape are apart; of the first slice only where steps are uneven."""
    last = np.array(volume.hu.shape) - 1
    if volume.audit.steps_mm:
        last[0] = 0
    corners = np.array([(s, h, w, 1) for s in (0, last[0]) for h in (0, last[1]) for w in (0, last[2])], np.float64)
    return float(np.linalg.norm((corners @ (affine - volume.affine).T)[:, :3], axis=1).max())
