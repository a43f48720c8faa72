"""A scan with a part of another scan in the place of its own: what it would be if that part had come out otherwise.

A part is never blanked. A scan with a hole is none that a model has seen, and what a model says of it tells nothing.
"""

import itertools

import numpy as np
from jaxtyping import Bool, Float, Float32, Int16, Int64, Real, UInt8
from scipy import ndimage

from ichformer.ct.anatomy.head import SKIN_HU
from ichformer.ct.volume import AIR_HU
from ichformer.explanations.audit.causes import BRAIN, place_number

_SCALES_PX = (0.8, 1.6)
"""Standard deviations that part a slice into bands of detail, fine to coarse; what is coarser stays as it is."""

_SOFT_HU = (-50, 130)
"""What counts as detail of soft tissue; the edge of bone would drown all else, and blurred it would brighten brain."""

_DEEP_PX = 2
"""Noise is measured so far from the edge of the brain, where bone would count as noise."""

_ROUNDS = 3
"""The bands overlap: each round changes what the one before left."""

_TO_SIGMA = 1.4826
"""From the median absolute deviation to the standard deviation of normal noise."""


def matching_slices(slices: int, step_mm: float, other_slices: int, other_step_mm: float) -> Int64[np.ndarray, " s"]:
    """For each slice of a scan the one of another scan that lies as far below its top, or its lowest."""
    below_mm = (slices - 1 - np.arange(slices)) * step_mm
    return np.maximum(other_slices - 1 - np.rint(below_mm / other_step_mm).astype(np.int64), 0)


def exchange_place(
    hu: Int16[np.ndarray, "s h w"],
    places: UInt8[np.ndarray, "s h w"],
    other_hu: Int16[np.ndarray, "s h w"],
    other_places: UInt8[np.ndarray, "s h w"],
    *,
    place: str,
) -> Int16[np.ndarray, "s h w"]:
    """A scan with what another has at a place.

    Where the other has its head, the air of the scan stays; skull and scalp are exchanged where both have them.

    Args:
      hu: the scan.
      places: of ``causes.places_of``.
      other_hu: slices of another scan that match (``matching_slices``).
      other_places: of them.
      place: of ``causes.PLACES``.
    """
    number = place_number(place)
    here = places == number
    if place == "skull_and_scalp":
        return np.where(here & (other_places == number), other_hu, hu)
    head = (place_number("skull_and_scalp"), BRAIN)
    return np.where(here, np.where(np.isin(other_places, head), np.int16(AIR_HU), other_hu), hu)


def texture_of(hu: Real[np.ndarray, "s h w"], brain: Bool[np.ndarray, "s h w"]) -> Float[np.ndarray, " bands"]:
    """The standard deviation (HU) in the brain of each band of detail, by the median absolute deviation."""
    deep = ndimage.binary_erosion(brain, np.ones((1, 3, 3)), _DEEP_PX)
    deep = deep if deep.any() else brain
    return np.array([_TO_SIGMA * np.median(np.abs(band[deep])) for band in _bands(_soft(hu))])


def exchange_texture(
    hu: Int16[np.ndarray, "s h w"],
    brain: Bool[np.ndarray, "s h w"],
    wanted: Float[np.ndarray, " bands"],
    rng: np.random.Generator,
) -> Int16[np.ndarray, "s h w"]:
    """A scan with as much detail as another: a band is weakened, or noise of its frequencies is added.

    Args:
      hu: the scan.
      brain: of it.
      wanted: of ``texture_of`` the other.
      rng: of the noise.
    """
    changed = hu.astype(np.float32)
    for _ in range(_ROUNDS):
        own = texture_of(changed, brain)
        noises = _bands(rng.standard_normal(hu.shape, np.float32))
        for band, noise, is_now, should_be in zip(_bands(_soft(changed)), noises, own, wanted, strict=True):
            if should_be < is_now:
                changed -= np.float32(1 - should_be / is_now) * band
            else:
                changed += np.float32(np.sqrt(should_be**2 - is_now**2) / noise.std()) * noise
    limits = np.iinfo(np.int16)
    return np.where(hu > SKIN_HU, np.clip(np.rint(changed), limits.min, limits.max).astype(np.int16), hu)


def _soft(hu: Real[np.ndarray, "s h w"]) -> Float32[np.ndarray, "s h w"]:
    """HU of soft tissue alone."""
    return np.clip(hu, *_SOFT_HU).astype(np.float32)


def _bands(picture: Float32[np.ndarray, "s h w"]) -> list[Float32[np.ndarray, "s h w"]]:
    """Bands of detail within the slices, fine to coarse."""
    coarser = [ndimage.gaussian_filter(picture, (0, sigma, sigma)) for sigma in _SCALES_PX]
    return [fine - coarse for fine, coarse in itertools.pairwise([picture, *coarser])]
