"""Metal in the head, with the streaks that it makes where scanners make them: in the projections."""

import numpy as np
from jaxtyping import Float, Float32
from scipy import ndimage

from ichformer.ct.anatomy.head import head_box
from ichformer.ct.corruptions.base import Scan
from ichformer.ct.geometry.regrid import slice_offsets_mm
from ichformer.ct.geometry.resampling import shrinking_matrix
from ichformer.ct.phantom.acquisition.artefacts import BONE_FROM, metal_error
from ichformer.ct.phantom.acquisition.projections import Projector, projector
from ichformer.ct.phantom.findings.implants import METAL_HU
from ichformer.ct.volume import AIR_HU

ROD_MM = 16.0
"""Length of a rod along the stack: that of an aneurysm clip."""

PAIR_MM = 12.0
"""Between the rods of a pair: the worst streaks join two pieces of metal."""

_PLACES = ((0.35, 0.0, 0.35), (0.5, 0.3, 0.65), (0.68, 0.5, 0.8))
"""Height of each pair's middle in the stack, and between which shares of the head's half axes it stands."""

_SUBPIXELS = 4
_BLUR_MM = 2.0
"""What the projector makes of a point, as a Gaussian."""


def metal(scan: Scan, diameter_mm: float, rng: np.random.Generator) -> Scan:
    """Three pairs of upright steel rods of ``diameter_mm`` in the head, like clips and leads, with their streaks.

    Hardening of the beam, scatter and starving of the detector are those of ``ct.phantom.artefacts``: the error of the
    projections of each slice that holds metal is computed and reconstructed on a grid of 2 mm, and added.
    """
    volume = scan.volume
    heights_mm = slice_offsets_mm(volume)
    rows_mm, columns_mm, half_mm = _around_head(scan)
    beam = projector()
    fine = np.zeros(volume.hu.shape, np.float32)
    coarse = np.zeros((len(volume.hu), len(beam.y_mm), len(beam.x_mm)), np.float32)
    for height, near, far in _PLACES:
        bearing, distance = rng.uniform(0, 2 * np.pi), rng.uniform(near, far)
        at = distance * half_mm * _towards(bearing)
        apart = PAIR_MM / 2 * _towards(rng.uniform(0, np.pi))
        middle_mm = heights_mm[0] + (height + rng.uniform(-0.05, 0.05)) * np.ptp(heights_mm)
        along = _overlap(heights_mm, volume.spacing_mm[0], middle_mm)[:, None, None]
        for rod in (at - apart, at + apart):
            fine += along * _disc(rows_mm, columns_mm, rod, diameter_mm / 2)
            coarse += along * _disc(beam.y_mm - beam.y_mm.mean(), beam.x_mm, rod, diameter_mm / 2)
    hit = np.flatnonzero(coarse.any(axis=(1, 2)))
    if not len(hit):
        return scan
    hu = volume.hu.astype(np.float32)
    hu[hit] += _streaks(METAL_HU / 1000 * coarse[hit], hu[hit], (rows_mm, columns_mm), beam, rng)
    # The metal is as blurred as what its error takes away from it on the projector's grid.
    blur = [0, *(_BLUR_MM / mm for mm in volume.spacing_mm[1:])]
    hu[hit] += METAL_HU * ndimage.gaussian_filter(fine[hit], blur, mode="constant")
    return scan.with_hu(np.where(volume.hu == AIR_HU, AIR_HU, hu))


def _towards(bearing_rad: float) -> Float[np.ndarray, "2"]:
    return np.array([np.sin(bearing_rad), np.cos(bearing_rad)])


def _around_head(scan: Scan) -> tuple[Float[np.ndarray, "h"], Float[np.ndarray, "w"], Float[np.ndarray, "2"]]:
    """Positions of rows and columns in mm from the head's middle, and the head's half axes."""
    shape, spacing_mm = scan.volume.hu.shape[1:], np.array(scan.volume.spacing_mm[1:])
    box = head_box(scan.volume.hu, scan.volume.spacing_mm) or (0.0, shape[0] - 1.0, 0.0, shape[1] - 1.0)
    first, last = np.array(box).reshape(2, 2).T
    middle = (first + last) / 2
    rows_mm, columns_mm = ((np.arange(shape[i]) - middle[i]) * spacing_mm[i] for i in (0, 1))
    return rows_mm, columns_mm, (last - first) / 2 * spacing_mm


def _streaks(
    metal: Float32[np.ndarray, "s y x"],
    hu: Float32[np.ndarray, "s h w"],
    positions_mm: tuple[Float[np.ndarray, "h"], Float[np.ndarray, "w"]],
    beam: Projector,
    rng: np.random.Generator,
) -> Float32[np.ndarray, "s h w"]:
    """HU that metal, given as relative density on the projector's grid, adds to slices beside itself."""
    grids = (beam.y_mm - beam.y_mm.mean(), beam.x_mm)
    to_rows, to_columns = (_between(to, of) for to, of in zip(grids, positions_mm, strict=True))
    from_rows, from_columns = (_between(to, of) for to, of in zip(positions_mm, grids, strict=True))
    dense = np.maximum(hu / 1000 + 1, 0)
    water = np.minimum(dense, BONE_FROM)
    parts = [to_rows @ part @ to_columns.T for part in (water, dense - water)]
    error = metal_error([beam.project(part) for part in (*parts, metal)], rng)
    return 1000 * (from_rows @ beam.reconstruct(error) @ from_columns.T)


def _between(to_mm: Float[np.ndarray, "to"], from_mm: Float[np.ndarray, "from_"]) -> Float32[np.ndarray, "to from_"]:
    """Resampling from one even grid to another; nothing outside."""
    step = from_mm[1] - from_mm[0]
    return shrinking_matrix((to_mm - from_mm[0]) / step, float((to_mm[1] - to_mm[0]) / step), len(from_mm))


def _overlap(heights_mm: Float[np.ndarray, "s"], slab_mm: float, middle_mm: float) -> Float32[np.ndarray, "s"]:
    """Share of each slice's slab that the rod goes through."""
    low = np.maximum(heights_mm - slab_mm / 2, middle_mm - ROD_MM / 2)
    high = np.minimum(heights_mm + slab_mm / 2, middle_mm + ROD_MM / 2)
    return (np.maximum(high - low, 0) / slab_mm).astype(np.float32)


def _disc(
    rows_mm: Float[np.ndarray, "h"], columns_mm: Float[np.ndarray, "w"], at_mm: Float[np.ndarray, "2"], radius_mm: float
) -> Float32[np.ndarray, "h w"]:
    """Share of each voxel that a disc covers."""
    parts = (np.arange(_SUBPIXELS) + 0.5) / _SUBPIXELS - 0.5
    rows = rows_mm[:, None] + parts * (rows_mm[1] - rows_mm[0]) - at_mm[0]
    columns = columns_mm[:, None] + parts * (columns_mm[1] - columns_mm[0]) - at_mm[1]
    inside = rows[:, :, None, None] ** 2 + columns[None, None] ** 2 < radius_mm**2
    return inside.mean(axis=(1, 3), dtype=np.float32)
