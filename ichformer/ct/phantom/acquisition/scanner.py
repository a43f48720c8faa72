"""A scanner at work: what it makes of the anatomy."""

import numpy as np
import scipy.fft
import scipy.ndimage as ndi
from jaxtyping import Float

from ichformer.ct.phantom.acquisition.rest import head_rest
from ichformer.ct.phantom.acquisition.sites import Site
from ichformer.ct.phantom.acquisition.stack import Stack, average, to_pixels

_TAIL_MM = 0.17
"""How much of each neighbour a slice takes in at most, as a thickness: its sensitivity profile is no box (Polacin et
al., Radiology 1992;185:29-35). Brain under the vault or over the orbits is brightened by the bone of the next slice."""


def acquire(
    hu: Float[np.ndarray, "i k j"],
    stack: Stack,
    site: Site,
    rng: np.random.Generator,
    *,
    added_hu: Float[np.ndarray, "s h w"] | None,
) -> Float[np.ndarray, "s h w"]:
    """The slices that a scanner makes of the anatomy, in HU: partial volume, hardening, point spread, noise.

    ``added_hu`` are artefacts to lay over the slices before the kernel.
    """
    dense = _with_tails(average(hu + 1000, stack), rng.uniform(0, _TAIL_MM) / site.thickness_mm)
    hardening, bone = _hardening(dense, stack)
    picture = to_pixels(dense + hardening, stack)
    if added_hu is not None:
        picture += added_hu
    picture = np.maximum(picture, head_rest(stack, rng))
    frequency = _frequency(site)
    # Patients differ in size and place, and so does what the kernel leaves of a point.
    blur_mm = site.blur_mm * float(np.exp(rng.normal(0, 0.08)))
    soft = np.exp(-((frequency * blur_mm) ** 2) * (np.pi**2 / (4 * np.log(2)))).astype(np.float32)
    response = soft * (1 + site.edge_boost * (frequency * blur_mm) ** 2 * 4)
    picture = _filter(picture, response)

    # Measured in real heads of 5 mm (experiments/phantom_realism.py): a short ramp, then an exponential whose length
    # goes with the kernel; the average over a thick slice leaves more of the low frequencies than one plane has.
    cutoff = 0.145 * (1 + 0.3 * site.edge_boost) / blur_mm
    texture = np.sqrt((frequency + 0.12) * np.exp(-frequency / cutoff)).astype(np.float32)
    noise = _noise(texture, picture.shape, rng)
    y, x = stack.rows_mm[:, None] / 95, stack.columns_mm[None, :] / 80
    noise *= (0.45 + 0.55 * np.exp(-0.9 * (x * x + y * y))).astype(np.float32)
    # Dose and the day's calibration differ from scan to scan, as the patient's size and the water scan do.
    noise_hu = site.noise_hu * float(np.exp(rng.normal(0, 0.3)))
    offset_hu = site.offset_hu + rng.normal(0, 1.5)
    noise *= noise_hu * (0.7 + 0.4 * bone / bone.mean()).astype(np.float32)[:, None, None]
    picture += noise
    picture *= np.float32(site.gain)
    picture += np.float32(offset_hu - 1000)
    return picture


def _with_tails(dense: Float[np.ndarray, "i s j"], share: float) -> Float[np.ndarray, "i s j"]:
    """Slices with a ``share`` of each neighbour in the place of as much of themselves; at the ends of themselves."""
    mixed = dense * np.float32(1 - 2 * share)
    for step in (-1, 1):
        neighbours = np.clip(np.arange(dense.shape[1]) + step, 0, dense.shape[1] - 1)
        mixed += np.float32(share) * dense[:, neighbours]
    return mixed


def _noise(
    texture: Float[np.ndarray, "h f"], shape: tuple[int, int, int], rng: np.random.Generator
) -> Float[np.ndarray, "s h w"]:
    """Noise of unit variance with the amplitude ``texture`` at each spatial frequency."""
    # A sum of so many waves is normal whatever the distribution of their amplitudes; an even one is drawn faster.
    spectrum = (rng.random((shape[0], *texture.shape, 2), dtype=np.float32) - 0.5).view(np.complex64)[..., 0]
    # Every frequency but 0 and the highest stands for itself and its negative; the variance of an even draw is 1/12.
    power = 4 * float((texture[:, 1:-1].astype(np.float64) ** 2).sum()) + float((texture[:, [0, -1]] ** 2).sum())
    return scipy.fft.irfft2(spectrum * (texture * np.float32(shape[1] * shape[2] * np.sqrt(12 / power))), s=shape[1:])


def _hardening(dense: np.ndarray, stack: Stack) -> tuple[np.ndarray, np.ndarray]:
    """HU that beam hardening adds: brighter brain under the skull, dark and bright bars between dense bones."""
    bone = np.clip(dense - 1300, 0, 1500)
    step_mm = stack.grid.edge_mm
    near = ndi.uniform_filter(bone, (max(1, round(22 / step_mm)), 0, max(1, round(22 / step_mm))), mode="constant")
    near *= 0.011
    across = bone.sum(axis=2) * (step_mm / 1000)
    bars = across - ndi.gaussian_filter1d(across, 9 / step_mm, axis=0)
    bars = -0.55 * np.clip(bars, -12, 22) * np.clip(across / 45, 0, 1)
    between = np.clip(1.35 - np.abs(stack.grid.x_mm) / 45, 0, 1)
    soft = (dense > 900) & (dense < 1150)
    added = (near - 0.3 + bars[:, :, None] * between) * soft
    return added.astype(np.float32), bone.sum(axis=(0, 2))


def _frequency(site: Site) -> np.ndarray:
    """Spatial frequency of the real FFT of a slice, cycles per mm."""
    pixel_mm = site.fov_mm / site.pixels
    fy, fx = np.fft.fftfreq(site.pixels, pixel_mm), np.fft.rfftfreq(site.pixels, pixel_mm)
    return np.hypot(fy[:, None], fx[None, :]).astype(np.float32)


def _filter(picture: np.ndarray, response: np.ndarray) -> np.ndarray:
    return scipy.fft.irfft2(scipy.fft.rfft2(picture) * response, s=picture.shape[1:])
