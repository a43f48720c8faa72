"""Changing a scan's grid: undoing the shear of a tilted gantry, framing the head, laying one grid over another.

All of it keeps the affine exact: a point of the patient has the same coordinates before and after.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int16, Real, Shaped
from scipy import sparse

from ichformer.ct.anatomy.head import head_box
from ichformer.ct.geometry.orientation import slice_normal, tilt_of
from ichformer.ct.geometry.resampling import covering_matrix, shrinking_matrix
from ichformer.ct.io.dicom.slices import offsets_of
from ichformer.ct.limits import MAX_EXTENT_MM, check_grid
from ichformer.ct.volume import AIR_HU, Volume
from ichformer.errors import InputError

MAX_TILT_DEG = 60.0
MARGIN_MM = 10.0
"""Left round the head where no field of view is asked for."""


def slice_offsets_mm(volume: Volume) -> Float64[np.ndarray, "s"]:
    """Distance of every slice from the first, along the normal."""
    return offsets_of(volume.audit.steps_mm, volume.spacing_mm[0], volume.hu.shape[0])


def slice_origins_mm(volume: Volume) -> Float64[np.ndarray, "s 3"]:
    """Position of voxel (0, 0) of every slice in the patient (LPS, mm), for uneven steps too."""
    return _origins_mm(volume.affine, slice_offsets_mm(volume))


def remove_tilt(
    volume: Volume, mask: Shaped[np.ndarray, "s h w"] | None = None
) -> tuple[Volume, Shaped[np.ndarray, "s h2 w2"] | None]:
    """Turn a sheared stack into a box: every slice is shifted within its plane, by linear interpolation.

    A tilted gantry makes slices that are stacked along the table but lean against it, so that a vessel along the
    normal wanders over the rows. Afterwards the three axes are perpendicular and ``audit.tilt_deg`` is 0. The slices
    stay where they were acquired, oblique to the patient's z axis: nothing is interpolated across slices, and the
    affine tells how they lie. The picture grows by as many rows as the shift needs, so that nothing is lost; new
    voxels are -1024 HU.

    Args:
      volume: any; one without tilt comes back as it is.
      mask: labels on the same grid, shifted to the nearest voxel.

    Returns:
      The volume, and the mask (None where none was given).

    Raises:
      InputError: a lean of more than ``MAX_TILT_DEG``, which no gantry has and no picture can hold, or a picture that
        would grow too large.
    """
    tilt_deg = tilt_of(volume.affine)
    if tilt_deg == 0:
        return volume, mask
    if abs(tilt_deg) > MAX_TILT_DEG:
        raise InputError(
            f"slices lean {tilt_deg:.1f} degrees against their stack",
            where=volume.source[0],
            fix="export the scan again with its geometry",
        )
    normal = slice_normal(volume.affine)
    offsets_mm = slice_offsets_mm(volume)
    step = volume.affine[:3, 0] / (volume.affine[:3, 0] @ normal)
    axes = volume.affine[:3, 1:3] / np.linalg.norm(volume.affine[:3, 1:3], axis=0)
    # How far each slice has to move, in voxels along (rows, columns), counted from the one that moves least.
    shifts = offsets_mm[:, None] * ((step - normal) @ axes) / np.array(volume.spacing_mm[1:])
    start = np.floor(shifts.min(0) + 1e-6)
    shifts = np.maximum(shifts - start, 0)
    room = np.ceil(shifts.max(0) - 1e-6)
    check_grid(
        (len(volume.hu), *(volume.hu.shape[1:] + room)),
        what=f"undoing a lean of {tilt_deg:.1f} degrees over {offsets_mm[-1]:.0f} mm in pixels of "
        f"{volume.spacing_mm[1]:.3g} x {volume.spacing_mm[2]:.3g} mm",
        where=volume.source[0],
        fix="export the scan again with its geometry",
    )
    room = room.astype(int)

    affine = volume.affine.copy()
    affine[:3, 0] = normal * volume.spacing_mm[0]
    affine[:3, 3] += volume.affine[:3, 1:3] @ start
    hu = np.empty((len(volume.hu), *(volume.hu.shape[1:] + room)), np.int16)
    for new, picture, shift in zip(hu, volume.hu, shifts, strict=True):
        new[:] = _shifted(picture, shift, room)
    text = f"shear of {tilt_deg:.1f} degrees undone by shifts of up to {shifts.max():.1f} voxels"
    audit = volume.audit.with_note("tilt_removed", text, tilt_deg=0.0)
    if mask is not None:
        moved = np.zeros((len(mask), *(mask.shape[1:] + room)), mask.dtype)
        for new, old, (row, column) in zip(moved, mask, np.rint(shifts).astype(int), strict=True):
            new[row : row + old.shape[0], column : column + old.shape[1]] = old
        mask = moved
    return replace(volume, hu=hu, affine=affine, audit=audit), mask


def frame_head(
    volume: Volume,
    *,
    size: int,
    field_of_view_mm: float | None = None,
    mask: Shaped[np.ndarray, "s h w"] | None = None,
    kept: Bool[np.ndarray, "s h w"] | None = None,
) -> tuple[Volume, Shaped[np.ndarray, "s size size"] | None]:
    """Cut a square round the head out of every slice and resample it to ``size`` x ``size``.

    The square is centred on the head's bounding box over all slices; see ``resample_plane`` for how it is resampled.

    Args:
      volume: any.
      size: rows and columns wanted.
      field_of_view_mm: side of the square; the head with 10 mm round it where None.
      mask: labels on the same grid, resampled to the nearest voxel.
      kept: see ``resample_plane``; the head is searched in the whole volume.

    Returns:
      The volume, and the mask (None where none was given).

    Raises:
      InputError: a field of view that no scan has, or a size that is too large.
    """
    rows, columns = volume.hu.shape[1:]
    spacing_mm = np.array(volume.spacing_mm[1:])
    audit = volume.audit
    box = head_box(volume.hu, volume.spacing_mm)
    if box is None:
        box = (0.0, rows - 1.0, 0.0, columns - 1.0)
        audit = audit.with_note("head_not_found", "the middle of the picture was framed")
    first, last = np.array(box).reshape(2, 2).T
    if field_of_view_mm is None:
        field_of_view_mm = float(((last - first) * spacing_mm).max() + 2 * MARGIN_MM)
    if not 0 < field_of_view_mm <= MAX_EXTENT_MM:
        raise InputError(f"found {field_of_view_mm}", where="field of view in mm", fix="give 50 to 1000")
    step = field_of_view_mm / size / spacing_mm
    start = (first + last) / 2 - (size - 1) / 2 * step
    framed, mask = resample_plane(
        replace(volume, audit=audit), start=start, step=step, shape=(size, size), mask=mask, kept=kept
    )
    side_mm = field_of_view_mm / size  # without the rounding of step * spacing
    return replace(framed, spacing_mm=(volume.spacing_mm[0], side_mm, side_mm)), mask


def resample_plane(
    volume: Volume,
    *,
    start: Float64[np.ndarray, "2"],
    step: Float64[np.ndarray, "2"],
    shape: tuple[int, int],
    mask: Shaped[np.ndarray, "s h w"] | None = None,
    kept: Bool[np.ndarray, "s h w"] | None = None,
) -> tuple[Volume, Shaped[np.ndarray, "s h2 w2"] | None]:
    """Resample the rows and columns of every slice: the first at ``start``, the next ``step`` further.

    Shrinking goes through a triangle filter, so that noise and bone do not alias. What lies outside the picture is
    -1024 HU.

    Args:
      volume: any.
      start: row and column of the new picture's first voxel, in voxels of the old one.
      step: distance of the new rows and of the new columns, in voxels of the old ones.
      shape: rows and columns wanted.
      mask: labels on the same grid, resampled to the nearest voxel.
      kept: voxels that count; all where None. A new voxel is the mean of those alone, and -1024 HU where they have less
        than half of its weight. So nothing is blurred over an edge.

    Returns:
      The volume, and the mask (None where none was given).
    """
    check_grid(
        (len(volume.hu), *shape),
        what=f"{len(volume.hu)} slices of {shape[0]} x {shape[1]} pixels",
        where=volume.source[0],
        fix="ask for fewer pixels (--size), or name a scan of fewer slices",
    )
    at = [origin + each * np.arange(size) for origin, each, size in zip(start, step, shape, strict=True)]
    # A new voxel is made of a few old ones, so nearly all weights are 0: dense products take four times as long.
    from_rows, from_columns = (
        sparse.csr_array(shrinking_matrix(coordinates, each, length))
        for coordinates, each, length in zip(at, step, volume.hu.shape[1:], strict=True)
    )

    def resampled(picture: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h2 w2"]:
        return (from_columns @ (from_rows @ picture).T).T

    hu = np.full((volume.hu.shape[0], *shape), AIR_HU, np.int16)
    for s, (new, old) in enumerate(zip(hu, volume.hu, strict=True)):
        above_air = old.astype(np.float32) - AIR_HU
        if kept is None:
            new[:] = np.rint(resampled(above_air)) + AIR_HU
        elif kept[s].any():
            weight = resampled(kept[s].astype(np.float32))
            counts = weight >= 0.5
            new[counts] = np.rint(resampled(above_air * kept[s])[counts] / weight[counts]) + AIR_HU

    affine = volume.affine.copy()
    affine[:3, 1:3] *= step
    affine[:3, 3] += volume.affine[:3, 1:3] @ start
    dz_mm, dy_mm, dx_mm = volume.spacing_mm
    spacing_mm = (dz_mm, float(step[0]) * dy_mm, float(step[1]) * dx_mm)
    sampled = replace(volume, hu=hu, affine=affine, spacing_mm=spacing_mm)
    return sampled, None if mask is None else _nearest(mask, at[0], at[1])


def affine_of_cells(
    affine: Float64[np.ndarray, "4 4"], shape: tuple[int, int], cells: tuple[int, int]
) -> Float64[np.ndarray, "4 4"]:
    """The affine of a grid of ``cells`` (rows, columns) that covers the same picture of ``shape`` (rows, columns).

    For heat maps of 14 x 14 cells on pictures of 224 x 224, say: the first cell's centre lies inside the picture.
    """
    step = np.array(shape) / np.array(cells)
    coarse = affine.copy()
    coarse[:3, 1:3] *= step
    coarse[:3, 3] += affine[:3, 1:3] @ ((step - 1) / 2)
    return coarse


def resample_like(
    grid: Real[np.ndarray, "s h w"], affine: Float64[np.ndarray, "4 4"], volume: Volume
) -> Float32[np.ndarray, "s2 h2 w2"]:
    """Lay a grid of the same slices, such as a heat map on a framed scan, over ``volume`` by linear interpolation.

    The slices have to be the same and their planes parallel, with rows and columns along the same lines; they may
    differ in origin and spacing within the plane, and ``volume`` may still have the tilt that the grid has not.

    Args:
      grid: one picture a slice.
      affine: of the grid (see ``affine_of_cells`` for one that is coarser than its picture).
      volume: the scan to lay it over.

    Returns:
      On the grid of ``volume.hu``; 0 where the grid does not reach.
    """
    if len(grid) != len(volume.hu):
        raise ValueError(f"{len(grid)} slices cannot be laid over {len(volume.hu)}")
    axes, spacing_mm = affine[:3, 1:3], np.linalg.norm(affine[:3, 1:3], axis=0)
    own = volume.affine[:3, 1:3] / np.array(volume.spacing_mm[1:])
    if not np.allclose(axes / spacing_mm, own, atol=1e-3):
        raise ValueError("the grid's rows and columns do not run along those of the volume")
    offsets_mm = slice_offsets_mm(volume)
    start = (_origins_mm(volume.affine, offsets_mm) - _origins_mm(affine, offsets_mm)) @ own / spacing_mm
    step = np.array(volume.spacing_mm[1:]) / spacing_mm
    rows, columns = np.arange(volume.hu.shape[1]), np.arange(volume.hu.shape[2])
    laid = np.empty(volume.hu.shape, np.float32)
    for new, old, (row, column) in zip(laid, grid, start, strict=True):
        from_rows = covering_matrix(row + step[0] * rows, grid.shape[1])
        from_columns = covering_matrix(column + step[1] * columns, grid.shape[2])
        new[:] = from_rows @ old.astype(np.float32) @ from_columns.T
    return laid


def _origins_mm(affine: Float64[np.ndarray, "4 4"], offsets_mm: Float64[np.ndarray, "s"]) -> Float64[np.ndarray, "s 3"]:
    direction = affine[:3, 0] / (affine[:3, 0] @ slice_normal(affine))
    return affine[:3, 3] + offsets_mm[:, None] * direction


def _shifted(
    picture: Int16[np.ndarray, "h w"], shift: Float64[np.ndarray, "2"], room: Shaped[np.ndarray, "2"]
) -> Float32[np.ndarray, "h2 w2"]:
    """The picture moved down and right by a fraction of voxels, on a canvas of air with that much more room."""
    moved = picture.astype(np.float32)
    for axis in (0, 1):
        if room[axis] == 0:
            continue
        whole, part = int(shift[axis]), np.float32(shift[axis] % 1)
        size = moved.shape[axis]
        shape = [length + (room[axis] if i == axis else 0) for i, length in enumerate(moved.shape)]
        canvas = np.full(shape, AIR_HU, np.float32)
        target, source = canvas.swapaxes(0, axis), moved.swapaxes(0, axis)
        # The voxel above each, air above the first, and air beyond the last where there is room for it.
        inner = target[whole + 1 : whole + size]
        np.subtract(source[:-1], source[1:], out=inner)
        inner *= part
        inner += source[1:]
        target[whole] = source[0] + (AIR_HU - source[0]) * part
        target[whole + size : whole + size + 1] = source[-1] * part + AIR_HU * (1 - part)
        moved = canvas
    return np.rint(moved, out=moved)


def _nearest(
    mask: Shaped[np.ndarray, "s h w"], rows: Float64[np.ndarray, "h2"], columns: Float64[np.ndarray, "w2"]
) -> Shaped[np.ndarray, "s h2 w2"]:
    """Labels at the nearest voxel, 0 outside."""
    row, column = np.rint(rows).astype(int), np.rint(columns).astype(int)
    inside = [(index >= 0) & (index < size) for index, size in zip((row, column), mask.shape[1:], strict=True)]
    sampled = np.zeros((len(mask), len(row), len(column)), mask.dtype)
    sampled[np.ix_(np.arange(len(mask)), *inside)] = mask[
        np.ix_(np.arange(len(mask)), row[inside[0]], column[inside[1]])
    ]
    return sampled
