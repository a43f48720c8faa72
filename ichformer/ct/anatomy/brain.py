"""The inside of the skull (brain, fluid and any blood), and a scan in which nothing else is left.

The recipe is the usual one (threshold, cut thin bridges, keep the largest part, fill; Muschelli et al., NeuroImage
2015;114:379-385, do it with FSL), with one step more: before anything is cut, the openings of the skull are closed
(``ct.openings``), so that nothing leaks through the foramen magnum or a craniotomy.
"""

import math
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float32, Int16, Shaped
from scipy import ndimage

from ichformer.ct.anatomy.skull_openings import beyond, cast_rays, reach_mm
from ichformer.ct.volume import AIR_HU, Volume

_CELL_MM = 2.0
"""Shapes are found on a copy that is as coarse; only the edge is drawn at full resolution."""

_SOFT_HU = (-15, 110)
"""Means of cells: fluid is 0 to 15, the densest clot below 100, fat -100, thin bone with brain beside it over 110."""

_BONE_HU = 250
"""A cell with a voxel over it holds bone, calcium or metal; no tissue reaches it, even where the noise is strong."""

_NO_BRAIN_HU = -55
"""Below it a voxel at the edge is fat or air; noise does not bring fluid there."""

_BRAIN_HU = 35

_WHITE, _WHITE_SHARE = 0.9, 0.5
"""In a display picture bone is the window's white: it is searched in the upper tenth of the window, which leaves room
for the noise of JPEG, and a cell is bone where half of its voxels are that white."""

_PIECE_MM, _SUTURE_MM = 20.0, 8.0
"""Pieces of a picture's skull are at least so long, where letters, calcium and noise are not; gaps narrower than twice
the second join them: sutures, and thin bone that scaling and compression left less than white."""

_LEAST_MM2, _LEAST_OF_PICTURE_MM2 = 1500.0, 2500.0
"""A scan whose largest inside is smaller than a disc of 44 mm shows a vertebra, marrow or an orbit, no brain, or its
distances are wrong; that of a newborn is twice as large. Pictures, whose bone is guessed, have to show 56 mm."""

_BRIDGE_MM = 6.0
"""Bridges narrower than twice that are cut: canals of nerves and vessels, defects of a thin skull base."""

_GAP_MM = 4.0
"""Gaps narrower than twice that are closed: a calcified falx or plexus, the dark bars between the petrous bones."""

_EDGE_MM = 6.0
"""How far the bone's edge reaches inwards, where a slice of 5 mm cuts a slope of the vault."""

_ENCLOSED, _FILLED = 0.5, 0.6
"""Half of the rays from inside a skull must meet bone, and brain must fill most of it."""


def brain_mask(volume: Volume) -> Bool[np.ndarray, "s h w"]:
    """The inside of the skull, down to the foramen magnum or up to 10 mm below: brain, fluid, bleeds, calcifications.

    Its edge is where the HU stand half-way between brain and the bone of this scan. Slices may be 0.4 to
    10 mm thick, tilted, and few; where a few slices show the fossae without what joins them, the largest one is taken.
    Air under the skull belongs to it only where brain encloses it. Where the audit says that the values are those of a
    display window (``Audit.window_hu``), bone is the window's white; blood that is as white and touches the bone is
    taken for bone.

    Returns:
      True inside; False everywhere where there is no brain to be found.
    """
    hu, spacing_mm = volume.hu, volume.spacing_mm
    strides = tuple(max(1, round(_CELL_MM / mm)) for mm in spacing_mm)
    cell_mm = tuple(float(k * mm) for k, mm in zip(strides, spacing_mm, strict=True))
    mean, top = _cells(hu, strides)
    white_hu = _white_hu(volume)
    if white_hu is None:
        dense = (top > _BONE_HU) | (mean > _SOFT_HU[1])
        bone = closed = _largest_part(dense)
    else:
        dense = _cells((hu >= white_hu).astype(np.int16), strides)[0] >= _WHITE_SHARE
        bone, closed = _skull_of_picture(dense, ~dense & (mean > _SOFT_HU[0]), cell_mm)
    outside = np.zeros(hu.shape, bool)
    if not bone.any():
        return outside
    box = ndimage.find_objects(bone.astype(np.uint8))[0]
    edge_hu = (_BRAIN_HU + float(np.percentile(top[bone], 75))) / 2 if white_hu is None else white_hu
    coarse = np.zeros(bone.shape, bool)
    coarse[box] = _inside(bone[box], closed[box], (mean > _SOFT_HU[0])[box] & ~dense[box], cell_mm)
    largest_mm2 = float(coarse.sum((1, 2)).max()) * cell_mm[1] * cell_mm[2]
    if largest_mm2 < (_LEAST_MM2 if white_hu is None else _LEAST_OF_PICTURE_MM2):
        return outside
    # Cells that the bone touches were left out of ``coarse``: which of their voxels belong to it the HU say.
    ring = np.zeros((3, 3, 3), bool)
    ring[1] = True
    ring[:, 1, 1] |= strides[0] > 1
    core = ndimage.binary_erosion(coarse, ring, border_value=1)
    # Where the vault slopes, a slice shows brain fading into bone over a width of half of its thickness or more; the
    # bones of the base are thin and never as dense as the edge, so that nothing would stop there.
    fading = top < edge_hu
    fading[: int(coarse.sum((1, 2)).argmax()) + 1] = False
    slope = int(spacing_mm[0] / 2 / _CELL_MM)
    reach = ndimage.binary_dilation(coarse, ring, slope, coarse | fading) if slope else coarse
    reach = ndimage.binary_dilation(reach, ring)
    edge = _spread(reach, strides, hu.shape) & (hu > _NO_BRAIN_HU) & (hu < edge_hu)
    return _spread(core, strides, hu.shape) | edge


def keep_brain(volume: Volume, mask: Bool[np.ndarray, "s h w"] | None = None) -> Volume:
    """The volume with -1024 HU wherever there is no brain: skull, scalp and face are gone.

    At the edge, what is more bone than any clot goes too (Muschelli et al. keep 0 to 100 HU): else it would be a line
    round every slice that is brighter than a bleed. Do it before pixels are made larger: bone that is blurred into
    blood beside it makes that as dense as bone.

    A scan in which no brain is found becomes air altogether, because what is left must not show a face.

    Args:
      volume: any.
      mask: of ``brain_mask``, where it is known already.
    """
    mask = brain_mask(volume) if mask is None else mask
    mask = mask & ~_edge_of_bone(volume, mask)
    audit = volume.audit
    if not mask.any():
        audit = audit.with_note("brain_not_found", "no inside of a skull could be made out: its scores say nothing")
    ml = np.count_nonzero(mask) * np.prod(volume.spacing_mm) / 1000
    audit = audit.with_note("outside_blanked", f"all but {ml:.0f} ml inside the skull was set to {AIR_HU} HU")
    return replace(volume, hu=np.where(mask, volume.hu, np.int16(AIR_HU)), audit=audit)


def _edge_of_bone(volume: Volume, mask: Bool[np.ndarray, "s h w"]) -> Bool[np.ndarray, "s h w"]:
    """Voxels outside, and those near them in the same slice that dense voxels join to the outside."""
    cross = ndimage.generate_binary_structure(3, 1)
    cross[[0, 2]] = False
    width = math.ceil(_EDGE_MM / min(volume.spacing_mm[1:]))
    white_hu = _white_hu(volume)
    densest_hu = _SOFT_HU[1] if white_hu is None else min(_SOFT_HU[1], white_hu)
    return ndimage.binary_dilation(~mask, cross, width, ~mask | (volume.hu > densest_hu))


def _white_hu(volume: Volume) -> float | None:
    """The HU above which a voxel of a display picture is white; None where bone has its own HU."""
    window = volume.audit.window_hu
    if window is None or window[1] > _BONE_HU:
        return None
    return window[0] + _WHITE * (window[1] - window[0])


def _inside(
    bone: Bool[np.ndarray, "s h w"],
    closed: Bool[np.ndarray, "s h w"],
    tissue: Bool[np.ndarray, "s h w"],
    cell_mm: tuple[float, ...],
) -> Bool[np.ndarray, "s h w"]:
    """The cells inside the skull; none where there is no skull with brain in it.

    ``closed`` is the bone and what stands for it along the edge of a cropped picture.
    """
    nothing = np.zeros(bone.shape, bool)
    within = tissue & _between(closed)
    if not within.any():
        return nothing
    depth_mm = ndimage.distance_transform_edt(within, cell_mm)
    center = tuple(int(i) for i in np.unravel_index(depth_mm.argmax(), depth_mm.shape))
    rays = cast_rays(bone, tissue, center, cell_mm)
    if rays.enclosed < _ENCLOSED or rays.filled[rays.meets_bone].mean() < _FILLED:
        return nothing
    tissue = tissue & ~beyond(reach_mm(rays), tissue, center, cell_mm)
    depth_mm = ndimage.distance_transform_edt(tissue, cell_mm)
    deep, _ = ndimage.label(depth_mm > _BRIDGE_MM)
    if not deep[center]:
        return nothing
    inside = tissue & (ndimage.distance_transform_edt(deep != deep[center], cell_mm) <= _BRIDGE_MM)
    return _filled(inside, cell_mm)


def _filled(inside: Bool[np.ndarray, "s h w"], cell_mm: tuple[float, ...]) -> Bool[np.ndarray, "s h w"]:
    """The inside with narrow gaps closed and holes filled."""
    wide = ndimage.distance_transform_edt(~inside, cell_mm) <= _GAP_MM
    closed = inside | (ndimage.distance_transform_edt(wide, cell_mm) > _GAP_MM)
    # Calcium in the first or the last slice is enclosed too, as far as the scan tells.
    capped = np.pad(closed, ((1, 1), (0, 0), (0, 0)), constant_values=True)
    return ndimage.binary_fill_holes(capped)[1:-1]


def _between(bone: Bool[np.ndarray, "s h w"]) -> Bool[np.ndarray, "s h w"]:
    """Cells with bone in three of four directions in their slice (front, behind, left, right): one may be cut open."""
    count = np.zeros(bone.shape, np.int8)
    for axis in (1, 2):
        count += np.logical_or.accumulate(bone, axis)
        count += np.flip(np.logical_or.accumulate(np.flip(bone, axis), axis), axis)
    return count >= 3


def _skull_of_picture(
    white: Bool[np.ndarray, "s h w"], tissue: Bool[np.ndarray, "s h w"], cell_mm: tuple[float, ...]
) -> tuple[Bool[np.ndarray, "s h w"], Bool[np.ndarray, "s h w"]]:
    """The skull, and the skull closed along the edge of the picture where that cuts the head off.

    Pictures are scaled and compressed, so that a skull comes in pieces, and cropped, so that it may run out of them.
    """
    labels, _ = ndimage.label(white)
    long_mm = [
        np.hypot(*[(at.stop - at.start) * mm for at, mm in zip(part[1:], cell_mm[1:], strict=True)])
        for part in ndimage.find_objects(labels)
    ]
    pieces = np.concatenate([[False], np.array(long_mm) >= _PIECE_MM])[labels]
    cut = np.zeros(white.shape, bool)
    cut[:, [0, -1]] = cut[:, :, [0, -1]] = True
    cut &= tissue
    near, _ = ndimage.label(ndimage.distance_transform_edt(~(pieces | cut), cell_mm) <= _SUTURE_MM)
    if not pieces.any():
        return pieces, cut
    skull = pieces & (near == np.bincount(near[pieces]).argmax())
    return skull, skull | cut


def _largest_part(dense: Bool[np.ndarray, "s h w"]) -> Bool[np.ndarray, "s h w"]:
    labels, count = ndimage.label(dense)
    return labels == 1 + np.argmax(np.bincount(labels.ravel())[1:]) if count else dense


def _cells(
    hu: Int16[np.ndarray, "s h w"], strides: tuple[int, ...]
) -> tuple[Float32[np.ndarray, "s2 h2 w2"], Int16[np.ndarray, "s2 h2 w2"]]:
    """Mean and maximum of cells of ``strides`` voxels; the last ones go on beyond the picture as its edge does."""
    over = [(0, -size % k) for size, k in zip(hu.shape, strides, strict=True)]
    if any(more for _, more in over):
        hu = np.pad(hu, over, mode="edge")
    count = math.prod(strides)
    wide = np.int32 if count < 1 << 16 else np.int64
    total, top = hu, hu
    # One axis after the other: a cell of very fine voxels holds a million of them.
    for axis, k in zip((2, 1, 0), reversed(strides), strict=True):
        sums, tops = ([grid[(slice(None),) * axis + (slice(i, None, k),)] for i in range(k)] for grid in (total, top))
        total, top = sums[0].astype(wide), tops[0].copy()
        for part, highest in zip(sums[1:], tops[1:], strict=True):
            total += part
            np.maximum(top, highest, out=top)
    return total.astype(np.float32) / count, top


def _spread(
    cells: Shaped[np.ndarray, "s2 h2 w2"], strides: tuple[int, ...], shape: tuple[int, ...]
) -> Shaped[np.ndarray, "s h w"]:
    """Every cell's value for each of its voxels."""
    for axis, k in enumerate(strides):
        cells = np.repeat(cells, k, axis)
    return cells[: shape[0], : shape[1], : shape[2]]
