"""A head CT in memory: HU, geometry, and the audit of how it was read."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float64, Int16

from ichformer.ct.audit import Audit
from ichformer.errors import InputError, one_line
from ichformer.settings import described

AIR_HU = -1024
"""What padding and everything outside the picture becomes: the lowest value that 12-bit CT holds."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Volume:
    """One series of a head CT.

    Example:
      >>> import ichformer as ich
      >>> import numpy as np
      >>> ich.Volume(
      ...     hu=np.zeros((2, 512, 512), np.int16),
      ...     spacing_mm=(5.0, 0.5, 0.5),
      ...     affine=np.array([[0, 0, 0.5, 0], [0, 0.5, 0, 0], [5.0, 0, 0, 0], [0, 0, 0, 1]]),
      ...     source=("1", "2"),
      ... )
      Volume: 2 slices of 512 x 512, 0 to 0 HU, 5 mm between slices, pixels of 0.5 x 0.5 mm
              CT; notes: none

    Attributes:
      hu: Hounsfield units, slices from inferior to superior, rows from anterior to posterior, columns from the
        patient's right to left (LPS).
      spacing_mm: distance between the centres of voxels along (z, y, x); z along the slices' normal, the median where
        ``audit.steps_mm`` says that it changes.
      affine: takes a voxel's index ``(s, h, w, 1)`` to patient coordinates ``(x, y, z, 1)`` in mm, LPS. Exact for the
        first slice; for the others too where the spacing is even, else see ``ct.geometry.slice_origins_mm``.
      source: for each slice the SOPInstanceUID, or the file's name where the format has no UIDs.
      audit: what was found and done.

    Raises:
      InputError: HU of another shape or dtype, a matrix or a spacing that is none, or not one source for each slice.
    """

    hu: Int16[np.ndarray, "s h w"]
    spacing_mm: tuple[float, float, float]
    affine: Float64[np.ndarray, "4 4"]
    source: tuple[str, ...]
    audit: Audit = field(default_factory=Audit)

    def __post_init__(self) -> None:
        hu, affine = self.hu, self.affine
        if not isinstance(hu, np.ndarray) or hu.ndim != 3 or hu.dtype != np.int16:
            found = f"{hu.dtype} {list(hu.shape)}" if isinstance(hu, np.ndarray) else described(hu)
            fix = "give rounded HU of one scan: array.astype(np.int16)"
            raise InputError(f"expected int16 [slices, rows, columns], found {found}", where="Volume.hu", fix=fix)
        if not isinstance(self.source, tuple | list) or len(self.source) != len(hu):
            count = len(self.source) if isinstance(self.source, tuple | list) else described(self.source)
            what = f"found {count} for {len(hu)} slices"
            raise InputError(what, where="Volume.source", fix="name every slice once")
        if not isinstance(affine, np.ndarray) or affine.shape != (4, 4) or not np.isfinite(affine).all():
            fix = "give a finite NumPy matrix of 4 x 4"
            raise InputError(f"found {described(affine)}", where="Volume.affine", fix=fix)
        if self.audit.steps_mm and len(self.audit.steps_mm) != len(hu) - 1:
            what = f"{len(self.audit.steps_mm)} steps between {len(hu)} slices"
            raise InputError(
                what, where="Volume.audit.steps_mm", fix="give one step less than there are slices, or none"
            )
        if not _is_spacing(self.spacing_mm):
            found = f"found {one_line(self.spacing_mm)}"
            raise InputError(found, where="Volume.spacing_mm", fix="give three positive numbers in mm: (z, y, x)")

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


def _is_spacing(value: Any) -> bool:
    try:
        return len(value) == 3 and all(np.isfinite(v) and v > 0 for v in value)
    except TypeError:
        return False
