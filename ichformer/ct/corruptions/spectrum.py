"""Corruptions of a slice's spatial frequencies: quantum noise and the reconstruction kernel."""

import numpy as np
import scipy.fft
from jaxtyping import Float, Float32
from scipy import ndimage

from ichformer.ct.corruptions.base import Scan
from ichformer.ct.volume import AIR_HU

NOISE_PEAK_PER_MM = 0.25
"""Where the noise power is highest, in cycles per mm: our choice for a soft head kernel, whose measured spectra peak
at a few tenths (such spectra: Solomon, Christianson, Samei, Medical Physics 2012;39:6048-6055)."""

KERNEL_AT_PER_MM = 0.3
"""Where the change of the kernel is stated, in cycles per mm: 3 line pairs per cm, about where soft kernels have fallen
to a half."""

_SHARP_FROM_PER_MM = 0.4
_AIR_BELOW_HU = -900
_TISSUE_HU = -500
_BODY_MM = 25.0


def dose_noise(scan: Scan, sigma_hu: float, rng: np.random.Generator) -> Scan:
    """Add the correlated noise of filtered back projection.

    Its power is that of ramp-filtered projections behind a soft kernel, ``f exp(-(f / peak)^2 / 2)`` (Kak and Slaney,
    Principles of Computerized Tomographic Imaging, 1988, section 5.2.3, for the ramp), scaled so that all frequencies
    together have a standard deviation of ``sigma_hu`` in the middle of the head. A coarse grid holds only those up to
    its Nyquist frequency, as if the noisy scan had been shrunk: on pixels of 1 mm ``sigma_hu`` loses little, on pixels
    of 2.6 mm a half and more. Slices are independent; the noise is less towards the skin and little in air.
    """
    volume = scan.volume
    spacing_mm = volume.spacing_mm[1:]
    frequency = _frequency(volume.hu.shape[1:], spacing_mm)
    peak = NOISE_PEAK_PER_MM
    power = frequency * np.exp(-((frequency / peak) ** 2) / 2)
    power *= sigma_hu**2 / (
        2 * np.pi * np.sqrt(np.pi / 2) * peak**3
    )  # HU^2 mm^2: its integral over the plane is sigma^2
    # White noise of variance 1 a voxel has the voxel's area as its power.
    amplitude = np.sqrt(power / np.prod(spacing_mm)).astype(np.float32)
    hu = volume.hu.astype(np.float32)
    for picture in hu:
        noise = _filtered(rng.standard_normal(picture.shape, np.float32), amplitude)
        picture += noise * _within(picture, spacing_mm)
    return scan.with_hu(np.where(volume.hu == AIR_HU, AIR_HU, hu))


def kernel(scan: Scan, factor: float, rng: np.random.Generator) -> Scan:
    """Another reconstruction kernel, sharper or smoother by turns of the seed.

    The transfer function at ``KERNEL_AT_PER_MM`` is multiplied or divided by ``factor``: smoother is a Gaussian;
    sharper lifts the fine detail, edges and noise alike, to a plateau, as a bone kernel beside a brain kernel does.
    """
    volume = scan.volume
    frequency = _frequency(volume.hu.shape[1:], volume.spacing_mm[1:])
    if rng.random() < 0.5:
        share = 1 - np.exp(-((KERNEL_AT_PER_MM / _SHARP_FROM_PER_MM) ** 2))
        response = 1 + (factor - 1) / share * (1 - np.exp(-((frequency / _SHARP_FROM_PER_MM) ** 2)))
    else:
        response = factor ** -((frequency / KERNEL_AT_PER_MM) ** 2)
    hu = np.stack([_filtered_picture(picture, response.astype(np.float32)) for picture in volume.hu])
    # What was not reconstructed stays so.
    return scan.with_hu(np.where(volume.hu == AIR_HU, AIR_HU, hu))


def _filtered_picture(picture: np.ndarray, response: Float32[np.ndarray, "h f"]) -> Float32[np.ndarray, "h w"]:
    # The border between padding and air is no edge that a kernel would see.
    return _filtered(np.maximum(picture, _AIR_BELOW_HU - 100).astype(np.float32), response)


def _filtered(picture: Float32[np.ndarray, "h w"], response: Float32[np.ndarray, "h f"]) -> Float32[np.ndarray, "h w"]:
    return scipy.fft.irfft2(scipy.fft.rfft2(picture) * response, s=picture.shape)


def _frequency(shape: tuple[int, ...], spacing_mm: tuple[float, ...]) -> Float[np.ndarray, "h f"]:
    """Cycles per mm of the real FFT of a slice."""
    rows, columns = np.fft.fftfreq(shape[0], spacing_mm[0]), np.fft.rfftfreq(shape[1], spacing_mm[1])
    return np.hypot(rows[:, None], columns[None, :])


def _within(picture: Float32[np.ndarray, "h w"], spacing_mm: tuple[float, ...]) -> Float32[np.ndarray, "h w"]:
    """1 in the middle of the head, half of that at the skin, little in the air around."""
    tissue = (picture > _TISSUE_HU).astype(np.float32)
    near = ndimage.gaussian_filter(tissue, [_BODY_MM / mm for mm in spacing_mm], mode="constant")
    return np.maximum(near, 0.1)
