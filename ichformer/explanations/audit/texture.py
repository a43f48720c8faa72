"""A scan with the texture of another: its sharpness, and its noise, as another kernel and another dose give them.

A kernel is a filter of the whole picture. It blurs the skull's edge as it blurs noise, so both are exchanged: a model
may read the kernel in either.
"""

import itertools
from dataclasses import dataclass

import numpy as np
import scipy.fft
from jaxtyping import Bool, Float, Float32, Int16, Real, UInt8
from scipy import ndimage
from scipy.optimize import brentq

from ichformer.ct.anatomy.head import SKIN_HU
from ichformer.ct.volume import AIR_HU
from ichformer.explanations.audit.causes import BRAIN, place_number

_FREQUENCIES = (0.05, 0.4)
"""Cycles a pixel between which sharpness is measured: slower ones are the head's shape, in faster ones the noise of a
blurred scan, and its rounding, count for more than its edges."""

_SKIN_PX, _FADE_PX = 4, 5
"""The head is taken with so much round it, and that fades over so much: a cut through the skin's blur would itself be
an edge, and tubes and tables would add theirs."""

_MOST = 20.0
"""Of a change of sharpness either way: a Gaussian blur of one pixel."""

_MOST_GAIN = 12.0
"""Of sharpening, for any frequency: more would be noise and rounding."""

_CLOSE = 0.1
"""Sharpness matches within this; heads of one kernel differ by six times as much."""

_SCALES_PX = (0.8, 1.6)
"""Standard deviations that part a slice into bands of detail, fine to coarse; what is coarser is no noise."""

_SOFT_HU = (-50, 130)
"""What counts as detail of soft tissue; the edge of bone would drown all noise."""

_DEEP_PX = 2
"""Noise is measured so far from the edge of the brain, where bone would count as noise."""

_EDGE_SD = 3.0
"""Detail over so many standard deviations of the noise is an edge, which another dose leaves as it is."""

_ROUNDS = 3
"""The bands overlap: each round changes what the one before left."""

_TO_SIGMA = 1.4826
"""From the median absolute deviation to the standard deviation of normal noise."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Texture:
    """The sharpness and the noise of a scan.

    Attributes:
      blur: how fast the amplitudes of the head's slices fall with the square of the frequency (pixels squared); a
        Gaussian of s pixels adds up to 2 pi^2 s^2. None where the preparation kept the brain alone: the cut round it is
        no edge of the scan.
      noise_hu: of each band of detail, the standard deviation in the brain.
    """

    blur: float | None
    noise_hu: Float[np.ndarray, " bands"]


def texture_of(hu: Int16[np.ndarray, "s h w"], places: UInt8[np.ndarray, "s h w"], *, whole: bool = True) -> Texture:
    """The texture of a scan.

    Args:
      hu: the scan.
      places: of ``causes.places_of``.
      whole: whether the scan shows all there is of the head, and not the brain alone.
    """
    blur = _blur_of(hu.astype(np.float32), _head(places)) if whole else None
    return Texture(blur=blur, noise_hu=_noise_of(hu, places == BRAIN))


def exchange_texture(
    hu: Int16[np.ndarray, "s h w"],
    places: UInt8[np.ndarray, "s h w"],
    wanted: Texture,
    rng: np.random.Generator,
) -> Int16[np.ndarray, "s h w"]:
    """A scan as sharp and as noisy as another.

    The whole picture is blurred or sharpened with one filter, bone and blood alike, as a kernel does. Then the noise
    of each band of soft tissue's detail is weakened, or noise of its frequencies is added.

    Args:
      hu: the scan.
      places: of it.
      wanted: of ``texture_of`` the other.
      rng: of the noise.
    """
    changed = hu.astype(np.float32) if wanted.blur is None else _as_sharp(hu, _head(places), wanted.blur)
    smooth, brain = changed.copy(), places == BRAIN
    for _ in range(_ROUNDS):
        own = _noise_of(changed, brain)
        noises = _bands(rng.standard_normal(hu.shape, np.float32))
        for band, noise, is_now, should_be in zip(_bands(_soft(changed)), noises, own, wanted.noise_hu, strict=True):
            if should_be < is_now:
                most = np.float32(_EDGE_SD * is_now)
                changed -= np.float32(1 - should_be / is_now) * np.clip(band, -most, most)
            else:
                changed += np.float32(np.sqrt(should_be**2 - is_now**2) / noise.std()) * noise
    changed = np.where(smooth > SKIN_HU, changed, smooth)
    return np.clip(np.rint(changed), AIR_HU, np.iinfo(np.int16).max).astype(np.int16)


def _as_sharp(
    hu: Int16[np.ndarray, "s h w"], head: Float32[np.ndarray, "s h w"], wanted: float
) -> Float32[np.ndarray, "s h w"]:
    """The scan, blurred by a Gaussian or sharpened by the inverse of one, until it is as sharp as another."""
    picture = hu.astype(np.float32) - AIR_HU
    amplitudes = scipy.fft.rfft2(picture, overwrite_x=True)
    squares = _frequencies(hu.shape[1:]) ** 2

    def filtered(change: float) -> Float32[np.ndarray, "s h w"]:
        gains = np.minimum(np.exp(-change * squares), _MOST_GAIN).astype(np.float32)
        return scipy.fft.irfft2(amplitudes * gains, hu.shape[1:]) + np.float32(AIR_HU)

    def over(change: float) -> float:
        return _blur_of(filtered(change), head) - wanted

    if over(-_MOST) >= 0 or over(_MOST) <= 0:
        return filtered(min((-_MOST, 0.0, _MOST), key=lambda change: abs(over(change))))
    return filtered(brentq(over, -_MOST, _MOST, xtol=_CLOSE))


def _blur_of(hu: Float32[np.ndarray, "s h w"], head: Float32[np.ndarray, "s h w"]) -> float:
    """``Texture.blur``: the mean over the slices that show the head, as few of them hold teeth or metal."""
    power = np.abs(scipy.fft.rfft2(head * np.maximum(hu - AIR_HU, 0))[head.any((1, 2))]) ** 2
    side = max(hu.shape[1:])
    ring = np.rint(_frequencies(hu.shape[1:]) * side).astype(int)
    count = np.bincount(ring.ravel())
    means = np.stack([np.bincount(ring.ravel(), one.ravel()) for one in power]) / count
    cycles = np.arange(count.size) / side
    used = (cycles >= _FREQUENCIES[0]) & (cycles <= _FREQUENCIES[1])
    # A ring has as many values as it is long.
    weights = np.sqrt(cycles[used])
    terms = np.stack([np.ones(weights.size), -(cycles[used] ** 2)], axis=1)
    log_amplitudes = np.log(means[:, used] + 1e-3) / 2
    return float(np.linalg.lstsq(terms * weights[:, None], (log_amplitudes * weights).T)[0][1].mean())


def _frequencies(shape: tuple[int, ...]) -> Float32[np.ndarray, "h half"]:
    """Cycles a pixel of each value of a slice's ``rfft2``."""
    rows, columns = shape
    return np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)).astype(np.float32)


def _head(places: UInt8[np.ndarray, "s h w"]) -> Float32[np.ndarray, "s h w"]:
    """1 in brain, skull and scalp and on the skin; it fades to 0 round them."""
    head = np.isin(places, (place_number("skull_and_scalp"), BRAIN)).astype(np.float32)
    wide = 2 * _SKIN_PX + 1
    return ndimage.uniform_filter(ndimage.maximum_filter(head, (1, wide, wide)), (1, _FADE_PX, _FADE_PX))


def _noise_of(hu: Real[np.ndarray, "s h w"], brain: Bool[np.ndarray, "s h w"]) -> Float[np.ndarray, " bands"]:
    """``Texture.noise_hu``, by the median absolute deviation."""
    deep = ndimage.binary_erosion(brain, np.ones((1, 3, 3)), _DEEP_PX)
    deep = deep if deep.any() else brain
    return np.array([_TO_SIGMA * np.median(np.abs(band[deep])) for band in _bands(_soft(hu))])


def _soft(hu: Real[np.ndarray, "s h w"]) -> Float32[np.ndarray, "s h w"]:
    """HU of soft tissue alone."""
    return np.clip(hu, *_SOFT_HU).astype(np.float32)


def _bands(picture: Float32[np.ndarray, "s h w"]) -> list[Float32[np.ndarray, "s h w"]]:
    """Bands of detail within the slices, fine to coarse."""
    coarser = [ndimage.gaussian_filter(picture, (0, sigma, sigma)) for sigma in _SCALES_PX]
    return [fine - coarse for fine, coarse in itertools.pairwise([picture, *coarser])]
