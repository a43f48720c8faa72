"""The audit of a scan: what its reader found and what it did about it, as stable codes with readable texts."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ichformer.files.json_files import convert

AUDIT_CODES: dict[str, str] = {
    "affines_differ": "sform and qform of a NIfTI file say different things; the sform was taken",
    "bent_stack": "the positions of the slices do not lie on a straight line; the affine joins the first and the last",
    "blank_slices": "slices between others hold one value only, as a failed export leaves them",
    "brain_not_found": "no inside of a skull could be made out, so nothing of the scan was kept",
    "codestream_differs": "a JPEG 2000 code stream and its header disagree on sign or bits",
    "corrupted": "the scan was made worse on purpose, to measure what a model makes of that",
    "decimal_comma": "numbers in the header are written with a decimal comma, which was taken as a point",
    "display_window": "a display picture: grey was turned back into the HU of its window, what lies beyond is lost",
    "duplicates_dropped": "files that hold the same slice again, with the same pixels, were left out",
    "dynamic": "a volume of a time series, such as perfusion, taken while contrast medium runs through",
    "failed": "the series could not be read because of a fault of ichformer; the text says which",
    "frame_of_reference_varies": "FrameOfReferenceUID changes within the series, so positions may not belong together",
    "geometry_varies": "orientation or pixel spacing varies slightly within the stack; the median was taken",
    "greys_inverted": "a display picture with black bone and white air; its greys were turned round",
    "head_cut_off": "the brain goes on beyond the lowest or the highest slice, so a part of the head is not shown",
    "head_not_found": "no head could be made out; the middle of the picture was framed",
    "head_size_doubtful": "the brain is smaller or larger than any, so the distances in the file are wrong",
    "header_repaired": "a value in a NIfTI header that cannot be was replaced, as nibabel does it",
    "high_bit_unusual": "HighBit is not BitsStored - 1; values were taken from the bits it names, where these are used",
    "hu_clipped": "values above what 16 bits hold were cut to 32767",
    "hu_rounded": "values with fractions were rounded to whole HU",
    "intercept_repaired": "values wrapped at 12 bits and a wrong intercept were repaired (seen in RSNA 2019)",
    "kernel_varies": "the reconstruction kernel changes within the stack",
    "lossy": "the pixels have been compressed with loss",
    "missing_slices": "the positions show gaps of whole slices",
    "oblique": "the slices are not level in the patient, but stacked along their normal, so there is no shear",
    "order_doubtful": "SliceLocation and ImagePositionPatient order the slices differently; positions were taken",
    "orientation_assumed": "the file does not say how it lies in the patient; the format's default was taken",
    "outside_blanked": "everything outside the skull's inside (skull, scalp, face) was set to -1024 HU",
    "padding_kept": "PixelPaddingValue occurs but lies in the range of tissue, so it was taken as tissue",
    "padding_repaired": "padding and values below -1024 HU were set to -1024",
    "picture_transparent": "a display picture is transparent in places, which were taken as black",
    "picture_turned": "a display picture was turned as the orientation in the file says",
    "pixels_not_square": "rows and columns are not equally far apart, which scanners do not write",
    "range_suspicious": "air, bone or soft tissue is not where it is in HU, so the values may be something else",
    "reoriented": "rows or columns were flipped or exchanged to run anterior to posterior and right to left",
    "rescale_type_absent": "RescaleType is absent; the rescaled values were taken as HU",
    "rescale_varies": "the rescaling to HU changes within the stack, so that slices may differ in brightness",
    "series_divided": "one SeriesInstanceUID holds several stacks, which were told apart; this is one of them",
    "sign_repaired": "the values make sense only with the other sign than PixelRepresentation or the data type says",
    "slices_interpolated": "missing slices were interpolated from those on both sides",
    "slices_resampled": "the slices were resampled to an even distance",
    "slices_sparse": "the slices are much thinner than their distance, so parts of the head are not shown",
    "spacing_assumed": "the file says nothing of distances; usual ones were taken",
    "steps_coarse": "HU come in coarse steps (RescaleSlope), so narrow windows show bands",
    "thickness_unknown": "SliceThickness is no thickness that a slice can have, so it was not used",
    "tilt": "the slices are stacked at an angle to their normal (gantry tilt), so the stack is sheared",
    "tilt_removed": "the shear was undone: rows were shifted so that the stack is a box",
    "units_converted": "lengths in other units were turned into mm",
    "unreadable": "the series could not be read; the text says why and what to do",
    "unused_bits_set": "bits above BitsStored are set and were dropped: an overlay, or BitsStored is too small",
    "variable_spacing": "the distance between slices changes within the series",
    "window_doubtful": "nothing tells the window of a display picture well, so its values may be no HU",
    "window_estimated": "the window of a display picture was estimated from its greys, so its HU are estimates",
}
"""Stable code of every audit note -> what it means. The README's table is made from it."""


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
    """What a reader found in a series. It holds no identity: no names, dates, institutions or accession numbers.

    Attributes:
      modality: DICOM Modality, or "" where the format has none.
      description: SeriesDescription, made printable.
      kernel: ConvolutionKernel, made printable.
      manufacturer: Manufacturer and model, made printable.
      age_years: of the patient, 90 for all that are older; None where unknown.
      sex: of the patient, "F", "M" or "O"; "" where unknown.
      thickness_mm: nominal SliceThickness, NaN where unknown; the median where it changes.
      tilt_deg: angle between the slices' normal and the line along which they are stacked, from the geometry, never
        from the tag: the shear of the stack. Positive where the normal leans towards posterior (+y in LPS). 0 means
        that the stack is a box, be it level or oblique in the patient; the affine tells which.
      steps_mm: distance along the normal from each slice to the next, S-1 of them, where they differ (slices missing,
        or thinner slabs below than above); empty where all are ``spacing_mm[0]``.
      missing_slices: how many slices the positions say are missing.
      window_hu: the HU that black and white stand for, where the values were cut to a display window; else None.
      notes: everything else, each with a stable code.
    """

    modality: str = "CT"
    description: str = ""
    kernel: str = ""
    manufacturer: str = ""
    age_years: float | None = None
    sex: str = ""
    thickness_mm: float = float("nan")
    tilt_deg: float = 0.0
    steps_mm: tuple[float, ...] = ()
    missing_slices: int = 0
    window_hu: tuple[float, float] | None = None
    notes: tuple[Note, ...] = ()

    def with_note(self, code: str, text: str, **changes: Any) -> "Audit":
        """A copy with one more note, and with other fields changed."""
        return replace(self, notes=(*self.notes, Note(code=code, text=text)), **changes)

    def to_json(self) -> dict[str, Any]:
        """The audit as plain values for JSON; NaN becomes None."""
        values = asdict(self)
        if np.isnan(self.thickness_mm):
            values["thickness_mm"] = None
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Audit":
        """The inverse of ``to_json``; earlier records have neither age and sex nor a window.

        Raises:
          InputError: a value is not of its type, or there is no such audit code.
        """
        thickness_mm = values.get("thickness_mm")
        known = values | {"thickness_mm": float("nan") if thickness_mm is None else thickness_mm}
        return convert(known, cls, where="audit", fix="the store is damaged: run prepare again")
