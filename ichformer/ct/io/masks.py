"""Voxels of a mask file as whole numbers."""

from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8

from ichformer.errors import InputError


def mask_values(voxels: Shaped[np.ndarray, "*grid"], *, where: Any, fix: str) -> UInt8[np.ndarray, "*grid"]:
    """Returns the labels of a mask as uint8, in the order in which they are.

    Example:
      >>> mask_values(np.array([[0.0, 2.0]]), where="mask.nii.gz", fix="save it as whole-numbered labels")
      array([[0, 2]], dtype=uint8)

    Args:
      voxels: as the file holds them, of any type.
      where: the file, for the error.
      fix: what to do about other values, for the error.

    Raises:
      InputError: values that are no whole numbers from 0 to 255: fractions, NaN, complex numbers, colours.
    """
    if voxels.dtype.kind in "biuf":
        with np.errstate(invalid="ignore"):  # NaN and numbers beyond 255 become others, and then differ
            labels = voxels.astype(np.uint8)
        if np.array_equal(labels, voxels):
            return labels
    raise InputError("holds other values than 0 to 255", where=where, fix=fix)
