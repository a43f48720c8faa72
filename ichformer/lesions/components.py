"""Connected lesions of a mask."""

import numpy as np
from jaxtyping import Bool, Int32
from scipy import ndimage

from ichformer.lesions.grid import Box, Grid

LEAST_ML = 0.05
"""A predicted lesion that is smaller is left out: a few voxels above the threshold are noise more often than blood.
Half of the blood from which a phantom's slice is positive."""

_FULL = np.ones((3, 3, 3), bool)


def connected(mask: Bool[np.ndarray, "s h w"]) -> tuple[Int32[np.ndarray, "s h w"], int]:
    """Number the lesions of a mask from 1: voxels that share a face, an edge or a corner belong together.

    Corners count because the sections of a slanted lesion in thick slices may touch by nothing else.
    """
    numbers, count = ndimage.label(mask, _FULL)
    return numbers.astype(np.int32, copy=False), int(count)


def without_specks(mask: Bool[np.ndarray, "s h w"], grid: Grid) -> Bool[np.ndarray, "s h w"]:
    """The mask without its connected lesions of less than ``LEAST_ML``."""
    numbers, count = connected(mask)
    if not count:
        return mask
    voxels = np.stack([np.bincount(part.ravel(), minlength=count + 1) for part in numbers], axis=1)
    keep = voxels @ grid.voxel_ml >= LEAST_ML
    keep[0] = False
    return keep[numbers]


def boxes_of(numbers: Int32[np.ndarray, "s h w"]) -> list[Box]:
    """The smallest box round every lesion of ``connected``, in the order of the numbers."""
    return ndimage.find_objects(numbers)
