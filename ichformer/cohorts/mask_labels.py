"""What the values of masks mean: each cohort has its own, and here they become labels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

NO_LESION = 0
"""A voxel without a lesion; 1 is the first label of the label set, 2 the second, and so on."""

BOXED = 128
"""A voxel that lies in boxes round lesions has this bit, and for a box of the k-th subtype, from 0, the bit ``1 << k``.
Which voxels of the box belong to the lesion is not known."""

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


def lesion_of(label: str, labels: UInt8[np.ndarray, "*grid"], names: Sequence[str]) -> Bool[np.ndarray, "*grid"] | None:
    """The voxels with a lesion of a label; None where the mask does not say.

    Example:
      >>> lesion_of("bleed", np.array([0, 2, 254], np.uint8), ("bleed", "fracture")) is None
      True
      >>> lesion_of("any", np.array([0, 2, 254], np.uint8), ("bleed", "any")).tolist()
      [False, True, True]

    Args:
      label: "any" for every lesion.
      labels: as ``label_mask`` gives them.
      names: the label set; where it has one name, every lesion is of it.
    """
    if label == "any" or len(names) == 1:
        return labels != NO_LESION
    return None if (labels == UNKNOWN_LABEL).any() else labels == 1 + names.index(label)


def is_boxed(mask: UInt8[Any, "*grid"]) -> Bool[Any, "*grid"]:
    """Which voxels lie in a box round a lesion; of arrays of NumPy and of JAX.

    Example:
      >>> is_boxed(np.array([0, 5, BOXED | 1, BOXED | 1 | 16, 254, 255], np.uint8)).tolist()
      [False, False, True, True, False, False]
    """
    return (mask >= BOXED) & (mask < UNKNOWN_LABEL)


def boxes_in(mask: UInt8[np.ndarray, "*grid"]) -> Bool[np.ndarray, "subtypes *grid"]:
    """For each of the five subtypes, which voxels lie in a box round such a lesion."""
    bits = (1 << np.arange(_SUBTYPES, dtype=np.uint8)).reshape(-1, *(1,) * mask.ndim)
    return is_boxed(mask) & ((mask & bits) != 0)


def merge_masks(masks: UInt8[np.ndarray, "n *grid"]) -> UInt8[np.ndarray, "*grid"]:
    """What several slices show together: all boxes of a voxel, else its largest value.

    Example:
      >>> masks = np.array([[0, 2, 129, 129], [0, 0, 130, 255]], np.uint8)
      >>> merge_masks(masks).tolist()
      [0, 2, 131, 255]
    """
    largest = masks.max(0)
    joined = np.bitwise_or.reduce(np.where(is_boxed(masks), masks, 0), 0)
    return np.where(is_boxed(largest), joined, largest)
