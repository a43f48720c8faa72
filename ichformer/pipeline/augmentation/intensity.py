"""Changes of the HU themselves, as other scanners and settings make them. They take and give float32 [S,H,W]."""

import numpy as np
from jaxtyping import Float32


def change_kernel(hu: Float32[np.ndarray, "s h w"], amount: float) -> Float32[np.ndarray, "s h w"]:
    """Simulates a softer reconstruction kernel for a positive ``amount``, a sharper one for a negative.

    The difference to the picture blurred by a Gaussian of one pixel is taken away in part: 1 leaves the blurred
    picture, -1 doubles its finest detail (unsharp masking). Its noise becomes coarser or finer, as with a kernel.
    """
    from scipy.ndimage import gaussian_filter

    blurred = gaussian_filter(hu, sigma=1.0, axes=(1, 2), mode="nearest", truncate=3.0)
    return hu + np.float32(amount) * (blurred - hu)


def change_gain(hu: Float32[np.ndarray, "s h w"], change: float) -> Float32[np.ndarray, "s h w"]:
    """Scales contrasts by 1 + ``change``, as another tube voltage does; water stays at 0 HU."""
    return hu * np.float32(1 + change)


def add_noise(
    hu: Float32[np.ndarray, "s h w"], rng: np.random.Generator, *, noise_hu: float, offset_hu: float
) -> Float32[np.ndarray, "s h w"]:
    """Adds white noise of a random deviation up to ``noise_hu``, and shifts all HU by up to ``offset_hu``."""
    noise = rng.standard_normal(hu.shape, np.float32)
    noise *= noise_hu * rng.random()
    noise += np.float32(offset_hu * rng.uniform(-1, 1))
    return np.add(hu, noise, out=noise)
