"""A DICOM series as a Volume: sorted and spaced along its normal, in HU, oriented, with all it took in the audit."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from ichformer.ct.audit import Audit, Note
from ichformer.ct.geometry.missing import Missing, interpolate_missing
from ichformer.ct.geometry.orientation import oblique_of, orient_lps, tilt_of
from ichformer.ct.io.dicom.headers import Header, quiet_pydicom
from ichformer.ct.io.dicom.series import Series
from ichformer.ct.io.dicom.slices import Stack, are_interleaved, describe_steps, stack_slices
from ichformer.ct.io.pixels.hounsfield import (
    Repairs,
    check_packing,
    check_pixels,
    codestream_mismatch,
    has_unused_bits,
    read_stored,
    to_hu,
)
from ichformer.ct.limits import MAX_SPACING_MM, check_extent, check_grid
from ichformer.ct.plausibility import check_values
from ichformer.ct.volume import Volume
from ichformer.errors import InputError, one_line
from ichformer.files.writing import path_text

_STRAIGHT_MM = 0.5
_LEVEL_DEG, _SAME_SPACING = 0.05, 1e-3
"""Orientations and pixel spacings that differ by more within a stack are noted."""

_STEP_MM = 0.1
"""A smaller step of SliceLocation is rounding."""

_NO_TAG = (
    "no study, patient, acquisition, voltage, time, kernel, thickness, image type or folder tells them apart, "
    "so they may be two scans under one SeriesInstanceUID"
)
_GEOMETRY = "export the series again with its geometry"
_ONE_SCAN = "put the files of each scan into a folder of its own"
_EXPORT = "export the series again from the scanner or the archive, as original CT images"


def read_series(series: Series, *, missing: Missing = "keep") -> Volume:
    """Read one axial CT series.

    Args:
      series: one that ``find_series`` found.
      missing: what becomes of missing slices.

    Raises:
      InputError: it cannot be read rightly: not CT, not axial, one slice, geometry or rescaling absent, pixels cut
        short or coded unreadably; or slices are missing and that is refused. Names the file, the tag and the mend.
    """
    _check(series)
    plane = _plane_axes(series)
    stack = _stack(series, plane)
    if stack.missing and missing == "refuse":
        raise InputError(
            f"{stack.missing} slices are missing; steps along the normal: {describe_steps(stack.steps_mm)}",
            where=series.path,
            mend="export the series again, or have them kept as gaps or interpolated (--missing)",
        )
    headers = [series.headers[i] for i in stack.order]
    first = headers[0]
    hu = np.empty((len(headers), first.rows, first.columns), np.int16)
    repairs = []
    with quiet_pydicom():
        for i, header in enumerate(headers):
            hu[i], repair = to_hu(read_stored(header), header)
            repairs.append(repair)
    source = tuple(header.sop_uid or path_text(header.path.name) for header in headers)
    doubts = check_values(hu, n_below=sum(r.padded for r in repairs), where=series.path, mend=_EXPORT)
    as_found = stack
    if stack.missing and missing == "interpolate":
        hu, source, stack = interpolate_missing(hu, source, stack, where=series.path)

    row_mm, column_mm = np.median([header.spacing_mm for header in headers], axis=0)
    affine = np.eye(4)
    affine[:3, 0] = stack.direction * stack.spacing_mm
    affine[:3, 1] = plane[1] * row_mm
    affine[:3, 2] = plane[0] * column_mm
    affine[:3, 3] = first.position_mm
    hu, oriented = orient_lps(hu, affine)
    audit = _audit(series, as_found, oriented, repairs, is_turned=not np.array_equal(affine, oriented))
    for note in doubts:
        audit = audit if note.code in {known.code for known in audit.notes} else audit.with_note(note.code, note.text)
    if stack is not as_found:
        steps_mm = () if stack.is_even else stack.steps_mm
        audit = audit.with_note("slices_interpolated", f"{as_found.missing} put into the gaps", steps_mm=steps_mm)
    row_mm, column_mm = (float(np.linalg.norm(oriented[:3, axis])) for axis in (1, 2))
    return Volume(hu=hu, spacing_mm=(stack.spacing_mm, row_mm, column_mm), affine=oriented, source=source, audit=audit)


def _check(series: Series) -> None:
    headers = series.headers
    first = headers[0]
    if series.modality != "CT":
        raise InputError(
            f"Modality (0008,0060) is {series.modality or 'absent'}, not CT",
            where=first.path,
            mend="choose a CT series",
        )
    for name, tag, values in (
        ("ImagePositionPatient", "(0020,0032)", [h.position_mm for h in headers]),
        ("ImageOrientationPatient", "(0020,0037)", [h.orientation for h in headers]),
        ("PixelSpacing", "(0028,0030)", [h.spacing_mm for h in headers]),
    ):
        lacking = [header for header, value in zip(headers, values, strict=True) if value is None]
        if lacking:
            raise InputError(
                f"{len(lacking)} of {len(headers)} slices lack a valid {name} {tag}: it is {lacking[0].said(name)}",
                where=lacking[0].path,
                mend=f"{_GEOMETRY}, or leave these files out",
            )
    assert first.spacing_mm is not None
    for header in headers:
        check_pixels(header)
    check_grid(
        (len(headers), first.rows, first.columns),
        what=f"{len(headers)} slices of {first.rows} x {first.columns}",
        where=series.path,
        mend="export the series with fewer or smaller slices",
    )
    check_packing(headers, where=series.path)
    row_mm, column_mm = first.spacing_mm
    check_extent(max(first.rows * row_mm, first.columns * column_mm), where=first.path, mend=_GEOMETRY)


def _plane_axes(series: Series) -> Float64[np.ndarray, "2 3"]:
    """Unit vectors to the next column and to the next row: the median over the slices, whose angles may waver."""
    path = series.headers[0].path
    axes = np.median([header.orientation for header in series.headers], axis=0).reshape(2, 3)
    lengths = np.linalg.norm(axes, axis=1)
    if not np.allclose(lengths, 1, atol=0.01) or abs(axes[0] @ axes[1]) > 0.01:
        raise InputError(
            f"ImageOrientationPatient (0020,0037) {series.headers[0].orientation} is no pair of perpendicular unit "
            "vectors",
            where=path,
            mend="export the series again",
        )
    axes = axes / lengths[:, None]
    normal = np.abs(np.cross(axes[0], axes[1]))
    if normal[2] < max(normal):
        plane = "sagittal" if normal[0] > normal[1] else "coronal"
        raise InputError(
            f"ImageOrientationPatient (0020,0037) says that the slices are {plane}, not axial",
            where=path,
            mend="choose the axial series of the study",
        )
    return axes


def _stack(series: Series, plane: Float64[np.ndarray, "2 3"]) -> Stack:
    normal = np.cross(plane[0], plane[1])
    normal /= np.linalg.norm(normal) * np.sign(normal[2])
    thickness_mm = np.array([np.nan if h.thickness_mm is None else h.thickness_mm for h in series.headers])
    stack = stack_slices(np.array([header.position_mm for header in series.headers]), normal, thickness_mm)
    if stack is None:
        count = len(series.headers)
        what = "the series has one slice" if count == 1 else f"all {count} slices stand at one ImagePositionPatient"
        raise InputError(f"{what} (0020,0032), so it is no scan", where=series.path, mend="name the whole series")
    check_extent(sum(stack.steps_mm), where=_farthest(series, stack), mend=f"leave this file out, or {_GEOMETRY}")
    if stack.spacing_mm > MAX_SPACING_MM:
        raise InputError(
            f"its slices stand {stack.spacing_mm:g} mm apart (ImagePositionPatient (0020,0032)), where "
            f"{MAX_SPACING_MM:g} mm are the most",
            where=series.path,
            mend=_GEOMETRY,
        )
    if stack.duplicates:
        again = series.headers[stack.duplicates[0]]
        raise InputError(
            f"{len(stack.duplicates)} of {len(series.headers)} slices stand at the ImagePositionPatient (0020,0032) of "
            f"others, but show something else, such as {one_line(again.path.name, max_chars=80)}; {_NO_TAG}",
            where=series.path,
            mend=_ONE_SCAN,
        )
    if are_interleaved(np.array(stack.steps_mm), float(np.median(thickness_mm))):
        raise InputError(
            f"two stacks of slices lie in each other (steps of {describe_steps(stack.steps_mm[:4])} and so on); "
            f"{_NO_TAG}",
            where=series.path,
            mend=_ONE_SCAN,
        )
    return stack


def _farthest(series: Series, stack: Stack) -> Path:
    """The file of the slice that stands farthest from the middle one, below or above."""
    from_middle_mm = np.abs(np.cumsum([0.0, *stack.steps_mm]) - np.sum(stack.steps_mm[: len(stack.steps_mm) // 2]))
    return series.headers[stack.order[int(from_middle_mm.argmax())]].path


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


def _audit(
    series: Series,
    stack: Stack,
    affine: Float64[np.ndarray, "4 4"],
    repairs: list[Repairs],
    *,
    is_turned: bool,
) -> Audit:
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
    """How far orientations lie from each other, in degrees, and pixel spacings, as a part of themselves."""
    axes = np.array([header.orientation for header in headers]).reshape(-1, 2, 3)
    apart = np.linalg.norm(np.ptp(axes, axis=0), axis=1).max()
    spacing_mm = np.array([header.spacing_mm for header in headers])
    return float(np.degrees(2 * np.arcsin(min(1, apart / 2)))), float((np.ptp(spacing_mm, 0) / spacing_mm.min(0)).max())
