"""What the values of masks mean: each cohort has its own, and here they become labels."""

import numpy as np
from jaxtyping import UInt8

NO_LESION = 0
"""A voxel without a lesion; 1 is the first label of the label set, 2 the second, and so on."""

BOXED = 128
"""``BOXED + k`` is a voxel in a box round a lesion of the k-th label; which voxels of the box it has is unknown."""

UNKNOWN_LABEL = 254
"""A voxel of a lesion whose label is not known."""

UNKNOWN = 255
"""A voxel of which nothing is known."""

_BY_LABEL = frozenset({"bhsd", "phantom"})
"""Cohorts in whose masks value k is the k-th subtype of ``ichformer.LABELS``; in those of the others every value but 0
is a lesion of whatever label."""

_SUBTYPES = 5


def has_mask_labels(cohort: str) -> bool:
    """Whether the masks of a cohort tell the label of a lesion."""
    return cohort in _BY_LABEL


def label_mask(mask: UInt8[np.ndarray, "*grid"], cohort: str) -> UInt8[np.ndarray, "*grid"]:
    """Labels of the voxels of a mask: ``NO_LESION``, 1 + the place of the label in the label set, or ``UNKNOWN_LABEL``.

    Example:
      >>> label_mask(np.array([0, 2, 9], np.uint8), "phantom").tolist()
      [0, 2, 254]
      >>> label_mask(np.array([0, 255], np.uint8), "ctich").tolist()
      [0, 254]

    Args:
      mask: with the values of the cohort, as ``PreparedScan.mask`` has them.
      cohort: whose mask it is, as the store's index names it.
    """
    known = mask <= _SUBTYPES if has_mask_labels(cohort) else mask == NO_LESION
    return np.where(known, mask, np.uint8(UNKNOWN_LABEL))
