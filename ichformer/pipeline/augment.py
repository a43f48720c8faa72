"""Random changes to a scan that leave its labels true. NumPy on the host, one generator a scan."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int16

from ichformer.ct.volume import AIR_HU


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How much is changed; every 0 switches its change off.

    Attributes:
      flip: chance of a left-right flip.
      rotate_deg: largest rotation in the plane, either way.
      scale: largest relative change of size in the plane, either way.
      shift: largest shift in the plane, as a part of the picture's side.
      noise_hu: largest standard deviation of added white noise.
      offset_hu: largest shift of the whole scan's HU, either way.
    """

    flip: float = 0.5
    rotate_deg: float = 15.0
    scale: float = 0.1
    shift: float = 0.05
    noise_hu: float = 6.0
    offset_hu: float = 4.0


def augment(
    hu: Int16[np.ndarray, "s h w"], augmentation: Augmentation, rng: np.random.Generator
) -> Int16[np.ndarray, "s h w"]:
    """A changed copy of ``hu``; all slices of the scan change alike, noise apart."""
    flipped = hu[:, :, ::-1] if rng.random() < augmentation.flip else hu
    matrix, offset = _random_affine(hu.shape[1:], augmentation, rng)
    changed = _resample(flipped, matrix, offset)
    noise = rng.standard_normal(hu.shape, np.float32) * (augmentation.noise_hu * rng.random())
    changed += noise + np.float32(augmentation.offset_hu * rng.uniform(-1, 1))
    return np.clip(np.rint(changed), AIR_HU, np.iinfo(np.int16).max).astype(np.int16)


def _random_affine(
    shape: tuple[int, ...], augmentation: Augmentation, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Where a pixel of the new picture comes from: ``matrix @ (h, w) + offset``, turning about the middle."""
    angle = np.deg2rad(augmentation.rotate_deg * rng.uniform(-1, 1))
    size = 1 + augmentation.scale * rng.uniform(-1, 1)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / size
    middle = (np.array(shape) - 1) / 2
    shift = augmentation.shift * np.array(shape) * rng.uniform(-1, 1, 2)
    return matrix, middle - matrix @ (middle + shift)


def _resample(hu: np.ndarray, matrix: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Bilinear, one set of weights for all slices; what comes from outside the picture is air."""
    h, w = hu.shape[1:]
    row, column = np.tensordot(matrix, np.mgrid[:h, :w], 1) + offset[:, None, None]
    row, column = np.clip(row, -1, h), np.clip(column, -1, w)
    top, left = np.floor(row).astype(int), np.floor(column).astype(int)
    below, right = (row - top).astype(np.float32), (column - left).astype(np.float32)
    framed = np.pad(hu, ((0, 0), (1, 2), (1, 2)), constant_values=AIR_HU).reshape(hu.shape[0], -1)
    corner = (top + 1) * (w + 3) + left + 1
    take = [np.take(framed, corner + step, axis=1).astype(np.float32) for step in (0, 1, w + 3, w + 4)]
    upper = take[0] + (take[1] - take[0]) * right
    lower = take[2] + (take[3] - take[2]) * right
    return upper + (lower - upper) * below
