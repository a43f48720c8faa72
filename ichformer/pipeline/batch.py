"""The batch that travels from the loader to the device."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class Batch(NamedTuple):
    """B scans of S slices: a pytree of arrays, NumPy on the host and JAX on the device.

    Attributes:
      hu: int16 [B,S,H,W]. Windows are the first thing the jitted step does, so that 2 bytes a voxel travel.
      slice_mask: bool [B,S], False where a slice is padding.
      spacing_mm: float32 [B,3], (z, y, x).
      slice_labels: float32 [B,S,L] in the order of ``Store.label_set.columns``, NaN where unknown.
      scan_labels: float32 [B,L], NaN where unknown.
      weight: float32 [B], 0 for the scans that only fill up the last batch of an evaluation.
      row: int32 [B], the scan's row in the store's index.
      lesions: uint8 [B,S,H,W], the label of each voxel: 0 for no lesion, 1 + the place of a label in the label set, 254
        for a lesion of unknown label, 255 where nothing is known (``cohorts.mask_labels``); None where nobody asks.
    """

    hu: Any
    slice_mask: Any
    spacing_mm: Any
    slice_labels: Any
    scan_labels: Any
    weight: Any
    row: Any
    lesions: Any = None


def stack_examples(examples: Sequence[Batch]) -> Batch:
    """One batch of scans that have no batch axis yet."""
    return Batch(*(None if arrays[0] is None else np.stack(arrays) for arrays in zip(*examples, strict=True)))
