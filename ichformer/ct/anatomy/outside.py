"""The air outside the head, where nothing of the patient is."""

import numpy as np
from jaxtyping import Bool, Int16
from scipy import ndimage

from ichformer.ct.anatomy.head import SKIN_HU


def air_outside(hu: Int16[np.ndarray, "s h w"]) -> Bool[np.ndarray, "s h w"]:
    """Voxels of air that are joined, within their slice, to the border of the picture.

    Air inside the head, such as in the sinuses, is not among them unless it opens to the outside in that slice.
    """
    outside = np.empty(hu.shape, bool)
    for found, picture in zip(outside, hu, strict=True):
        # A frame of air joins what only the border divides, and is the part that holds the first corner.
        parts, _ = ndimage.label(np.pad(picture < SKIN_HU, 1, constant_values=True))
        found[:] = (parts == parts[0, 0])[1:-1, 1:-1]
    return outside
