"""Voxels of a scan as a NIfTI file that says nothing but its grid."""

import gzip

import nibabel
import numpy as np
from jaxtyping import Float64, Shaped


def nifti_bytes(voxels: Shaped[np.ndarray, "s h w"], affine: Float64[np.ndarray, "4 4"]) -> bytes:
    """A packed NIfTI file (``.nii.gz``): axes (column, row, slice), with the RAS affine of the scan.

    Args:
      voxels: on the grid of a scan, of a dtype that NIfTI has.
      affine: of the scan, LPS (``Volume.affine``).

    Returns:
      The content of the file. Equal voxels give equal files, and no name, date or path is in it.
    """
    to_ras = np.diag([-1.0, -1.0, 1.0, 1.0])
    reorder = np.eye(4)[[2, 1, 0, 3]]
    image = nibabel.Nifti1Image(voxels.transpose(2, 1, 0), to_ras @ affine @ reorder)
    image.header.set_xyzt_units("mm")
    # The time stamp of gzip would make equal files differ.
    return gzip.compress(image.to_bytes(), compresslevel=4, mtime=0)
