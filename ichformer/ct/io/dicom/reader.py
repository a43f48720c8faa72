"""Reading a DICOM series as a Volume: sorted along its normal, in HU, oriented, with an audit."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int16

from ichformer.ct.audit import Note
from ichformer.ct.geometry.missing import Missing, interpolate_missing
from ichformer.ct.geometry.orientation import orient_lps
from ichformer.ct.io.dicom.dicom_file import quiet_pydicom
from ichformer.ct.io.dicom.headers import Header
from ichformer.ct.io.dicom.series import Series
from ichformer.ct.io.dicom.series_audit import audit_series
from ichformer.ct.io.dicom.slices import Stack, are_interleaved, describe_steps, stack_slices
from ichformer.ct.io.pixels.hounsfield import to_hu
from ichformer.ct.io.pixels.stored import check_packing, check_pixels, read_stored
from ichformer.ct.limits import MAX_SPACING_MM, check_extent, check_grid
from ichformer.ct.plausibility import check_values
from ichformer.ct.volume import Volume
from ichformer.errors import InputError, one_line
from ichformer.files.writing import path_text

_DENSE_HU = 500
"""Above it is bone or metal; below its negative is air."""

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
        short or coded unreadably; or slices are missing and that is refused. Names the file, the tag and the fix.
    """
    _check(series)
    plane = _plane_axes(series)
    stack = _stack(series, plane)
    if stack.missing and missing == "refuse":
        raise InputError(
            f"{stack.missing} slices are missing; steps along the normal: {describe_steps(stack.steps_mm)}",
            where=series.path,
            fix="export the series again, or have them kept as gaps or interpolated (--missing)",
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
    doubts = check_values(hu, n_below=sum(r.padded for r in repairs), where=series.path, fix=_EXPORT)
    _refuse_negative_slope(headers, hu, doubts, where=series.path)
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
    audit = audit_series(series, as_found, oriented, repairs, is_turned=not np.array_equal(affine, oriented))
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
            fix="choose a CT series",
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
                fix=f"{_GEOMETRY}, or leave these files out",
            )
    assert first.spacing_mm is not None
    for header in headers:
        check_pixels(header)
    check_grid(
        (len(headers), first.rows, first.columns),
        what=f"{len(headers)} slices of {first.rows} x {first.columns}",
        where=series.path,
        fix="export the series with fewer or smaller slices",
    )
    check_packing(headers, where=series.path)
    row_mm, column_mm = first.spacing_mm
    check_extent(max(first.rows * row_mm, first.columns * column_mm), where=first.path, fix=_GEOMETRY)


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
            fix="export the series again",
        )
    axes = axes / lengths[:, None]
    normal = np.abs(np.cross(axes[0], axes[1]))
    if normal[2] < max(normal):
        plane = "sagittal" if normal[0] > normal[1] else "coronal"
        raise InputError(
            f"ImageOrientationPatient (0020,0037) says that the slices are {plane}, not axial",
            where=path,
            fix="choose the axial series of the study",
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
        raise InputError(f"{what} (0020,0032), so it is no scan", where=series.path, fix="name the whole series")
    check_extent(sum(stack.steps_mm), where=_farthest(series, stack), fix=f"leave this file out, or {_GEOMETRY}")
    if stack.spacing_mm > MAX_SPACING_MM:
        raise InputError(
            f"its slices stand {stack.spacing_mm:g} mm apart (ImagePositionPatient (0020,0032)), where "
            f"{MAX_SPACING_MM:g} mm are the most",
            where=series.path,
            fix=_GEOMETRY,
        )
    if stack.duplicates:
        again = series.headers[stack.duplicates[0]]
        raise InputError(
            f"{len(stack.duplicates)} of {len(series.headers)} slices stand at the ImagePositionPatient (0020,0032) of "
            f"others, but show something else, such as {one_line(again.path.name, max_chars=80)}; {_NO_TAG}",
            where=series.path,
            fix=_ONE_SCAN,
        )
    if are_interleaved(np.array(stack.steps_mm), float(np.median(thickness_mm))):
        raise InputError(
            f"two stacks of slices lie in each other (steps of {describe_steps(stack.steps_mm[:4])} and so on); "
            f"{_NO_TAG}",
            where=series.path,
            fix=_ONE_SCAN,
        )
    return stack


def _refuse_negative_slope(
    headers: Sequence[Header], hu: Int16[np.ndarray, "s h w"], doubts: Sequence[Note], *, where: object
) -> None:
    """Raise InputError where values are turned upside down and do not look like HU.

    No scanner writes such a slope. Where air, soft tissue and bone lie where they should all the same, it is believed.
    """
    slope = min(header.slope or 0 for header in headers)
    if slope >= 0:
        return
    doubt = next((note.text for note in doubts if note.code == "range_suspicious"), "")
    if np.count_nonzero(hu > _DENSE_HU) > np.count_nonzero(hu < -_DENSE_HU):
        doubt = "more of it is as dense as bone than as thin as air"
    if doubt:
        raise InputError(
            f"RescaleSlope (0028,1053) is {slope:g}, which turns the values upside down: {doubt}",
            where=where,
            fix=_EXPORT,
        )


def _farthest(series: Series, stack: Stack) -> Path:
    """The file of the slice that stands farthest from the middle one, below or above."""
    from_middle_mm = np.abs(np.cumsum([0.0, *stack.steps_mm]) - np.sum(stack.steps_mm[: len(stack.steps_mm) // 2]))
    return series.headers[stack.order[int(from_middle_mm.argmax())]].path
