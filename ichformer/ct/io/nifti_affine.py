"""Which of the affines of a NIfTI file is believed: sform, qform and pixdim may say different things.

The lengths of pixdim are those of the qform, the sform has lengths of its own (NIfTI-1 standard, "3D image (volume)
orientation and location in space"). Tools set one of them and leave the others as they were, often as 1 x 1 x 1.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from ichformer.ct.limits import MAX_POSITION_MM, MAX_SPACING_MM, MIN_SPACING_MM, check_extent
from ichformer.errors import InputError

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_UNITS = {1: "meter", 2: "mm", 3: "micron"}
"""The three lowest bits of xyzt_units (NIfTI-1); the others are for time. Any other value does not tell the unit."""
_MM_PER_UNIT = {"mm": 1.0, "unknown": 1.0, "meter": 1000.0, "micron": 0.001}

_SAME, _ALIKE = 0.01, 0.25
"""Lengths that differ by less than the first are the same; by more than the second, no one knows which is right."""

_FIX = "correct the header, or convert the scan from DICOM again"

Note = tuple[bool, str, str]
"""Whether it is so, a code of ``AUDIT_CODES``, a text."""


def read_affine(header: Any, shape: tuple[int, ...], path: Path) -> tuple[Float64[np.ndarray, "4 4"], list[Note]]:
    """The affine of a NIfTI header in mm, LPS, and notes about how it was chosen.

    The sform is taken where its lengths agree with pixdim, or where one of both is 1 x 1 x 1 and so was never set; in
    the latter case the lengths that were set. Where neither affine is set, the axes run as the standard's method 1 has
    them.

    Args:
      header: of nibabel.
      shape: voxels along the three axes.
      path: the file, for messages.

    Raises:
      InputError: no affine, none that is invertible, sform and pixdim that differ by more than a quarter, sform and
        qform that mirror each other, or distances and positions that no head has.
    """
    affine, notes = _choose(header, shape, path)
    units = _UNITS.get(int(header["xyzt_units"]) & 7, "unknown")
    affine = _RAS_TO_LPS @ affine
    affine[:3] *= _MM_PER_UNIT[units]
    lengths = _lengths(affine)
    if not all(MIN_SPACING_MM <= mm <= MAX_SPACING_MM for mm in lengths):
        raise InputError(
            f"its voxels lie {_mm(lengths)} apart, where {MIN_SPACING_MM:g} to {MAX_SPACING_MM:g} mm are possible",
            where=path,
            fix="correct pixdim, sform and xyzt_units",
        )
    corners = np.array([(i, j, k, 1) for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * [*shape, 1]
    if np.abs(corners @ affine.T).max() > MAX_POSITION_MM:
        raise InputError(
            f"its affine places voxels more than {MAX_POSITION_MM / 1000:g} m from the origin",
            where=path,
            fix=_FIX,
        )
    check_extent(float((lengths * shape).max()), where=path, fix=_FIX)
    return affine, [*notes, (_MM_PER_UNIT[units] != 1, "units_converted", f"lengths in {units} were turned into mm")]


def _choose(header: Any, shape: tuple[int, ...], path: Path) -> tuple[Float64[np.ndarray, "4 4"], list[Note]]:
    """The affine in the file's units, RAS."""
    pixdim = np.abs(np.asarray(header["pixdim"][1:4], np.float64))
    has_sform, has_qform = bool(header["sform_code"] > 0), bool(header["qform_code"] > 0)
    sform, qform = _sform(header) if has_sform else None, _qform(header) if has_qform else None
    if not has_sform and not has_qform:
        base = np.asarray(header.get_base_affine(), np.float64)
        if not _is_usable(base):
            raise _not_invertible(path)
        text = "neither sform nor qform is set: axes taken as the standard's method 1 has them"
        is_bare = bool(np.all(pixdim == 1))
        bare = "pixdim is 1 x 1 x 1, as in a header that nobody filled in: 1 mm along each axis taken"
        return base, [(True, "orientation_assumed", text), (is_bare, "spacing_assumed", bare)]
    if sform is None:
        if qform is None:
            raise _not_invertible(path)
        return qform, [(has_sform, "affines_differ", "the sform is not invertible: qform taken")]
    own = _lengths(sform)
    if qform is not None and np.linalg.det(sform[:3, :3]) * np.linalg.det(qform[:3, :3]) < 0:
        raise InputError("its sform and qform mirror each other, so its sides are not known", where=path, fix=_FIX)
    if np.allclose(own, pixdim, rtol=_SAME, atol=0):
        return sform, [_differ(sform, qform, shape, has_qform)]
    said = f"sform says {_mm(own)} between voxels, pixdim {_mm(pixdim)}"
    if np.allclose(own, 1, rtol=_SAME) and _is_set(pixdim):
        if qform is not None:
            return qform, [(True, "affines_differ", f"{said}: qform taken, which agrees with pixdim")]
        scaled = sform.copy()
        scaled[:3, :3] *= pixdim / own
        return scaled, [(True, "affines_differ", f"{said}: directions of the sform and lengths of pixdim taken")]
    if _is_set(pixdim) and np.abs(np.log(own / pixdim)).max() > math.log1p(_ALIKE):
        raise InputError(f"its {said}, and which is right is not known", where=path, fix=_FIX)
    _, code, text = _differ(sform, qform, shape, has_qform)
    return sform, [(True, code, text if qform is not None else f"{said}: sform taken")]


def _differ(sform: Float64[np.ndarray, "4 4"], qform: Any, shape: tuple[int, ...], has_qform: bool) -> Note:
    if has_qform and qform is None:
        return True, "affines_differ", "the qform is not invertible: sform taken"
    differ_mm = 0.0
    if qform is not None:
        corners = np.array([(i, j, k, 1) for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * [*shape, 1]
        differ_mm = float(np.linalg.norm((corners @ (sform - qform).T)[:, :3], axis=1).max())
    return differ_mm > 1, "affines_differ", f"sform and qform differ by {differ_mm:.1f} mm at the corners: sform taken"


def _sform(header: Any) -> Float64[np.ndarray, "4 4"] | None:
    affine = np.asarray(header.get_sform(), np.float64)
    return affine if _is_usable(affine) else None


def _qform(header: Any) -> Float64[np.ndarray, "4 4"] | None:
    try:
        affine = np.asarray(header.get_qform(), np.float64)
    except ValueError:  # a quaternion that is none
        return None
    return affine if _is_usable(affine) else None


def _is_usable(affine: Float64[np.ndarray, "4 4"]) -> bool:
    """Whether an affine is finite and invertible, and no two of its axes are nearly parallel."""
    if not np.isfinite(affine).all() or np.abs(affine).max() > 1e30:
        return False
    lengths = _lengths(affine)
    return bool((lengths > 0).all() and abs(np.linalg.det(affine[:3, :3] / lengths)) >= 0.1)


def _is_set(lengths: Float64[np.ndarray, "3"]) -> bool:
    """Whether lengths were set: an empty header has 1 x 1 x 1."""
    return bool(np.isfinite(lengths).all() and (lengths > 0).all() and not np.allclose(lengths, 1, rtol=_SAME))


def _lengths(affine: Float64[np.ndarray, "4 4"]) -> Float64[np.ndarray, "3"]:
    return np.linalg.norm(affine[:3, :3], axis=0)


def _mm(lengths: Float64[np.ndarray, "3"]) -> str:
    return " x ".join(f"{mm:.4g}" for mm in lengths)


def _not_invertible(path: Path) -> InputError:
    return InputError("its affine (sform or qform) is not invertible", where=path, fix="export the scan again")
