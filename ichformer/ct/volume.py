"""A head CT as the rest of the library sees it: HU, geometry, and what was found and done on the way in."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float64, Int16

AUDIT_CODES: dict[str, str] = {}
"""Stable code of every audit note -> what it means. Readers add theirs here; the README's table is made from it."""


@dataclass(frozen=True, kw_only=True)
class Note:
    """One thing that was found in a series and what was done about it: a stable ``code`` and a readable ``text``."""

    code: str
    text: str

    def __post_init__(self) -> None:
        if self.code not in AUDIT_CODES:
            raise ValueError(f"audit code {self.code!r} is not documented in AUDIT_CODES")

    def __str__(self) -> str:
        return f"{self.code}: {self.text}"


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What a reader found out about a series. Holds no identity: no names, dates, institutions or accession numbers.

    Attributes:
      modality: DICOM Modality, or "" where the format has none.
      description: SeriesDescription, made printable.
      kernel: ConvolutionKernel, made printable.
      manufacturer: Manufacturer and model, made printable.
      thickness_mm: nominal SliceThickness, NaN where unknown.
      tilt_deg: angle between the slices' normal and the patient's z axis, from the geometry, never from the tag. Positive
        where the normal leans towards posterior (+y in LPS). 0 after the shear was removed.
      missing_slices: how many slices the positions say are missing.
      notes: everything else, each with a stable code.
    """

    modality: str = "CT"
    description: str = ""
    kernel: str = ""
    manufacturer: str = ""
    thickness_mm: float = float("nan")
    tilt_deg: float = 0.0
    missing_slices: int = 0
    notes: tuple[Note, ...] = ()

    def with_note(self, code: str, text: str, **changes: Any) -> "Audit":
        """A copy with one more note, and with other fields changed."""
        return replace(self, notes=(*self.notes, Note(code=code, text=text)), **changes)

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; NaN becomes None."""
        values = asdict(self)
        if np.isnan(self.thickness_mm):
            values["thickness_mm"] = None
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Audit":
        """The inverse of ``to_json``."""
        thickness_mm = values["thickness_mm"]
        return cls(
            **{
                **values,
                "thickness_mm": float("nan") if thickness_mm is None else thickness_mm,
                "notes": tuple(Note(**note) for note in values["notes"]),
            }
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Volume:
    """One series of a head CT.

    Attributes:
      hu: Hounsfield units, slices from inferior to superior, rows from anterior to posterior, columns from the
        patient's right to left (LPS).
      spacing_mm: distance between the centres of voxels along (z, y, x); z along the slices' normal.
      affine: takes a voxel's index ``(s, h, w, 1)`` to patient coordinates ``(x, y, z, 1)`` in mm, LPS.
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
        if len(self.spacing_mm) != 3 or not all(np.isfinite(v) and v > 0 for v in self.spacing_mm):
            raise ValueError(f"spacing_mm must be three positive numbers (z, y, x), got {self.spacing_mm}")
