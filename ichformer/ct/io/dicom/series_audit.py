"""The audit of a DICOM series: what its headers and pixels show, as notes."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from ichformer.ct.audit import Audit, Note
from ichformer.ct.geometry.orientation import are_square, oblique_of, tilt_of
from ichformer.ct.io.dicom.elements import ACQUISITION_TAGS
from ichformer.ct.io.dicom.headers import Header
from ichformer.ct.io.dicom.series import Series
from ichformer.ct.io.dicom.slices import Stack, describe_steps
from ichformer.ct.io.pixels.hounsfield import Repairs
from ichformer.ct.io.pixels.stored import codestream_mismatch, has_unused_bits

_STRAIGHT_MM = 0.5

_LEVEL_DEG, _SAME_SPACING = 0.05, 1e-3
"""Orientations and pixel spacings that differ by more within a stack are noted."""

_STEP_MM = 0.1
"""A smaller step of SliceLocation is rounding."""

_FRAME_OF_REFERENCE = list(ACQUISITION_TAGS).index("FrameOfReferenceUID")


def _is_another_order(headers: Sequence[Header]) -> bool:
    """Whether SliceLocation rises and falls among slices in the order of their positions.

    Which end it starts from, and where its zero is, is left to the scanner (PS3.3 C.7.6.2.1.2). Some write it without a
    sign.
    """
    found = [header.location_mm for header in headers if header.location_mm is not None]
    if len(found) < len(headers) or len(found) < 3:
        return False
    steps_mm, z_mm = np.diff(found), [header.position_mm[2] for header in headers if header.position_mm]
    has_no_sign = min(found) >= 0 and np.allclose(found, np.abs(z_mm), atol=1.0)
    return bool((steps_mm > _STEP_MM).any() and (steps_mm < -_STEP_MM).any() and not has_no_sign)


def audit_series(
    series: Series,
    stack: Stack,
    affine: Float64[np.ndarray, "4 4"],
    repairs: list[Repairs],
    *,
    is_turned: bool,
) -> Audit:
    """The audit of a series that was read: everything unusual as a note.

    Args:
      series: as it was found.
      stack: how its slices lie on each other.
      affine: of the volume.
      repairs: what was done to each slice, in the order of ``stack``.
      is_turned: rows or columns were flipped or exchanged.
    """
    headers = [series.headers[i] for i in stack.order]
    first = headers[0]
    notes: list[Note] = []

    def note(is_so: bool, code: str, text: str) -> None:
        if is_so:
            notes.append(Note(code=code, text=text))

    tilt_deg = tilt_of(affine)
    oblique_deg = oblique_of(affine)
    slopes = {header.slope for header in headers}
    padded = sum(repair.padded for repair in repairs)
    lowest = min(repair.lowest_hu for repair in repairs)
    clipped = sum(repair.clipped for repair in repairs)
    steps = describe_steps(stack.steps_mm)
    wavers_deg, spread = _spread(headers)
    kernels = sorted({header.kernel for header in headers} - {""})
    thickness = [header.thickness_mm for header in headers if header.thickness_mm is not None]
    thickness_mm = float(np.median(thickness)) if thickness else float("nan")
    doubtful = [said for header in headers if (said := header.said("SliceThickness")) != "absent"]
    sparse_mm = stack.spacing_mm if stack.spacing_mm > 1.5 * thickness_mm > 0 else 0
    note(tilt_deg != 0, "tilt", f"slices lean {tilt_deg:.1f} degrees against their stack, from positions, not the tag")
    note(tilt_deg == 0 and oblique_deg > 1, "oblique", f"slices lie {oblique_deg:.1f} degrees off the patient's axis")
    note(stack.missing > 0, "missing_slices", f"{stack.missing} missing; steps along the normal: {steps}")
    note(not stack.is_even, "variable_spacing", f"steps along the normal: {steps}")
    note(stack.bend_mm > _STRAIGHT_MM, "bent_stack", f"slices stand up to {stack.bend_mm:.1f} mm off a straight line")
    note(sparse_mm > 0, "slices_sparse", f"slices of {thickness_mm:g} mm stand {sparse_mm:.3f} mm apart")
    note(
        _is_another_order(headers),
        "order_doubtful",
        "SliceLocation runs in another order than the positions, so one of the two is wrong; positions were taken",
    )
    note(len(series.copies) > 0, "duplicates_dropped", f"{len(series.copies)} files hold a slice again")
    note(bool(series.told_apart), "series_divided", f"one SeriesInstanceUID holds several stacks: {series.told_apart}")
    note(series.time_points > 1, "dynamic", f"one of {series.time_points} volumes of a time series")
    note(len(kernels) > 1, "kernel_varies", f"ConvolutionKernel changes within the stack: {', '.join(kernels[:4])}")
    note(
        wavers_deg > _LEVEL_DEG or spread > _SAME_SPACING,
        "geometry_varies",
        f"orientation varies by {wavers_deg:.2f} degrees and pixel spacing by {spread:.1%}; the median was taken",
    )
    frames_of_reference = {header.acquisition[_FRAME_OF_REFERENCE] for header in headers}
    note(
        len(frames_of_reference) > 1,
        "frame_of_reference_varies",
        f"{len(frames_of_reference)} values of FrameOfReferenceUID (0020,0052) within the stack: the scanner does not "
        "say that their positions belong together",
    )
    row_mm, column_mm = np.median([header.spacing_mm for header in headers], axis=0)
    note(
        not are_square(row_mm, column_mm),
        "pixels_not_square",
        f"rows are {row_mm:.3f} mm apart and columns {column_mm:.3f} mm (PixelSpacing), as no scanner has them",
    )
    note(
        bool(doubtful),
        "thickness_unknown",
        f"SliceThickness (0018,0050) is {doubtful[0] if doubtful else ''} in {len(doubtful)} of {len(headers)} slices",
    )
    note(any(h.decimal_comma for h in headers), "decimal_comma", "numbers with a comma, taken as a decimal point")
    note(is_turned, "reoriented", "rows or columns were flipped or exchanged")
    note(
        any(r.intercept for r in repairs),
        "intercept_repaired",
        f"intercept {first.intercept:g} on wrapped 12-bit values",
    )
    note(padded > 0, "padding_repaired", f"{padded} voxels, down to {lowest} HU, set to -1024")
    note(
        any(r.sign for r in repairs),
        "sign_repaired",
        f"PixelRepresentation says {'signed' if first.signed else 'unsigned'}, which the values contradict",
    )
    shifted = {(h.high_bit, h.bits_stored) for h in headers if h.bits_stored and h.high_bit != h.bits_stored - 1}
    note(
        bool(shifted),
        "high_bit_unusual",
        ", ".join(f"HighBit {high} with {stored} bits stored" for high, stored in sorted(shifted)),
    )
    note(any(r.padding_kept for r in repairs), "padding_kept", f"PixelPaddingValue {first.padding} taken as tissue")
    note(clipped > 0, "hu_clipped", f"{clipped} voxels above 32767 HU")
    note(has_unused_bits(headers[len(headers) // 2]), "unused_bits_set", f"bits above the {first.bits_stored} stored")
    mismatch = codestream_mismatch(first)
    note(bool(mismatch), "codestream_differs", f"{mismatch}; read as the decoder has it")
    note(any(h.lossy for h in headers), "lossy", "compressed with loss")
    note(not first.rescale_type, "rescale_type_absent", "RescaleType absent, taken as HU")
    scales = sorted({(header.slope, header.intercept) for header in headers})
    said = ", ".join(f"{slope:g} and {intercept:g}" for slope, intercept in scales[:4])
    note(len(scales) > 1, "rescale_varies", f"RescaleSlope and RescaleIntercept change within the stack: {said}")
    note(max(abs(s or 0) for s in slopes) > 2, "steps_coarse", f"HU in steps of {max(abs(s or 0) for s in slopes):g}")
    return Audit(
        modality=first.modality,
        description=first.description,
        kernel=first.kernel,
        manufacturer=first.manufacturer,
        age_years=first.age_years,
        sex=first.sex,
        thickness_mm=thickness_mm,
        tilt_deg=tilt_deg,
        steps_mm=() if stack.is_even else stack.steps_mm,
        missing_slices=stack.missing,
        notes=tuple(notes),
    )


def _spread(headers: list[Header]) -> tuple[float, float]:
    """Spread of the orientations in degrees, and of the pixel spacings as a share."""
    axes = np.array([header.orientation for header in headers]).reshape(-1, 2, 3)
    apart = np.linalg.norm(np.ptp(axes, axis=0), axis=1).max()
    spacing_mm = np.array([header.spacing_mm for header in headers])
    return float(np.degrees(2 * np.arcsin(min(1, apart / 2)))), float((np.ptp(spacing_mm, 0) / spacing_mm.min(0)).max())
