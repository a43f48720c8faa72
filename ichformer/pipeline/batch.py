"""The batch that travels from the loader to the device."""

from typing import Any, NamedTuple

SLICE_MULTIPLE = 8
"""Whole scans are padded to a multiple of this many slices, so that few shapes have to be compiled."""


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
    """

    hu: Any
    slice_mask: Any
    spacing_mm: Any
    slice_labels: Any
    scan_labels: Any
    weight: Any
    row: Any
