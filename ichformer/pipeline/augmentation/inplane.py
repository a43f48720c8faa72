"""Changes within the plane, the same for all slices of a scan: a flip, and turning, scaling and shifting in one go."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Float32, Int16, UInt8

from ichformer.ct.volume import AIR_HU
from ichformer.pipeline.augmentation.sample import Sample


def flip(sample: Sample) -> Sample:
    """Mirrors a sample: left and right change places."""
    mask = None if sample.mask is None else sample.mask[:, :, ::-1]
    return replace(sample, hu=sample.hu[:, :, ::-1], mask=mask)


def random_affine(
    shape: tuple[int, ...], rng: np.random.Generator, *, rotate_deg: float, scale: float, shift: float
) -> tuple[Float[np.ndarray, "2 2"], Float[np.ndarray, "2"]]:
    """Draws where pixels of the new picture come from: ``matrix @ (h, w) + offset``, turned about the middle."""
    angle = np.deg2rad(rotate_deg * rng.uniform(-1, 1))
    size = 1 + scale * rng.uniform(-1, 1)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / size
    middle = (np.array(shape) - 1) / 2
    shift_px = shift * np.array(shape) * rng.uniform(-1, 1, 2)
    return matrix, middle - matrix @ (middle + shift_px)


def move_hu(
    hu: Int16[np.ndarray, "s h w"], matrix: Float[np.ndarray, "2 2"], offset: Float[np.ndarray, "2"]
) -> Float32[np.ndarray, "s h w"]:
    """Moves HU with bilinear interpolation, the same for all slices; outside the picture is air."""
    h, w = hu.shape[1:]
    row, column = _origins((h, w), matrix, offset)
    row, column = np.clip(row, -1, h), np.clip(column, -1, w)
    top, left = np.floor(row).astype(int), np.floor(column).astype(int)
    below, right = (row - top).astype(np.float32), (column - left).astype(np.float32)
    framed = np.full((h + 3, w + 3), AIR_HU, np.float32)
    corner = (top + 1) * (w + 3) + left + 1
    corners = [corner + step for step in (0, 1, w + 3, w + 4)]
    moved = np.empty(hu.shape, np.float32)
    # Slice by slice and in place: the pictures of one slice stay in the core's cache, those of all do not.
    for pixels, out in zip(hu, moved, strict=True):
        framed[1:-2, 1:-2] = pixels
        # "clip" only spares the check of indices that are right as they are.
        upper, upper_right, lower, lower_right = (np.take(framed, where, mode="clip") for where in corners)
        upper_right -= upper
        upper_right *= right
        upper += upper_right
        lower_right -= lower
        lower_right *= right
        lower += lower_right
        lower -= upper
        lower *= below
        np.add(upper, lower, out=out)
    return moved


def move_mask(
    mask: UInt8[np.ndarray, "s h w"], matrix: Float[np.ndarray, "2 2"], offset: Float[np.ndarray, "2"]
) -> UInt8[np.ndarray, "s h w"]:
    """Moves a mask by the nearest voxel; 0 outside the picture."""
    h, w = mask.shape[1:]
    row, column = np.rint(_origins((h, w), matrix, offset)).astype(int)
    inside = (row >= 0) & (row < h) & (column >= 0) & (column < w)
    place = np.where(inside, row * w + column, 0)
    return np.where(inside, np.take(mask.reshape(len(mask), -1), place, axis=1), np.uint8(0))


def _origins(
    shape: tuple[int, int], matrix: Float[np.ndarray, "2 2"], offset: Float[np.ndarray, "2"]
) -> Float[np.ndarray, "2 h w"]:
    return np.tensordot(matrix, np.mgrid[: shape[0], : shape[1]], 1) + offset[:, None, None]
