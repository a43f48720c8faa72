"""A head CT in memory: HU, geometry, and the audit of how it was read."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64, Int16

from ichformer.ct.audit import Audit

AIR_HU = -1024
"""What padding and everything outside the picture becomes: the lowest value that 12-bit CT holds."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Volume:
    """One series of a head CT.

    Attributes:
      hu: Hounsfield units, slices from inferior to superior, rows from anterior to posterior, columns from the
        patient's right to left (LPS).
      spacing_mm: distance between the centres of voxels along (z, y, x); z along the slices' normal, the median where
        ``audit.steps_mm`` says that it changes.
      affine: takes a voxel's index ``(s, h, w, 1)`` to patient coordinates ``(x, y, z, 1)`` in mm, LPS. Exact for the
        first slice; for the others too where the spacing is even, else see ``ct.geometry.slice_origins_mm``.
      source: for each slice the SOPInstanceUID, or the file's name where the format has no UIDs.
      audit: what was found and done.
    """

    hu: Int16[np.ndarray, "s h w"]
    spacing_mm: tuple[float, float, float]
    affine: Float64[np.ndarray, "4 4"]
    source: tuple[str, ...]
    audit: Audit = field(default_factory=Audit)

    def __post_init__(self) -> None:
        if self.hu.ndim != 3 or self.hu.dtype != np.int16:
            raise ValueError(f"hu must be int16 [S,H,W], got {self.hu.dtype} {list(self.hu.shape)}")
        if len(self.source) != self.hu.shape[0]:
            raise ValueError(f"{self.hu.shape[0]} slices but {len(self.source)} sources")
        if self.affine.shape != (4, 4) or not np.isfinite(self.affine).all():
            raise ValueError("affine must be a finite [4,4] matrix")
        if self.audit.steps_mm and len(self.audit.steps_mm) != self.hu.shape[0] - 1:
            raise ValueError(f"{self.hu.shape[0]} slices but {len(self.audit.steps_mm)} steps between them")
        if len(self.spacing_mm) != 3 or not all(np.isfinite(v) and v > 0 for v in self.spacing_mm):
            raise ValueError(f"spacing_mm must be three positive numbers (z, y, x), got {self.spacing_mm}")

    def __repr__(self) -> str:
        """Two lines: what it holds, and what was found. No array, and no text of the header that may name somebody."""
        slices, rows, columns = self.hu.shape
        along_z, along_y, along_x = (f"{value:.3g}" for value in self.spacing_mm)
        values = f"{self.hu.min()} to {self.hu.max()} HU" if self.hu.size else "no voxels"
        found = [
            *([f"thickness {self.audit.thickness_mm:g} mm"] if np.isfinite(self.audit.thickness_mm) else []),
            *([f"tilt {self.audit.tilt_deg:.1f} degrees"] if self.audit.tilt_deg else []),
            *([f"{self.audit.missing_slices} slices missing"] if self.audit.missing_slices else []),
            f"notes: {', '.join(sorted({note.code for note in self.audit.notes})) or 'none'}",
        ]
        return (
            f"Volume: {slices} slices of {rows} x {columns}, {values}, "
            f"{along_z} mm between slices, pixels of {along_y} x {along_x} mm\n"
            f"        {'; '.join([self.audit.modality, *found] if self.audit.modality else found)}"
        )
