"""Changes of the HU themselves, as other scanners and settings make them. They take and give float32 [S,H,W]."""

import numpy as np
from jaxtyping import Float32

from ichformer.ct.volume import AIR_HU

_BRAIN_HU = 33.0
"""Grey and white matter together: what a misjudged window keeps nearly at its place."""


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


def as_display_picture(hu: Float32[np.ndarray, "s h w"], rng: np.random.Generator) -> Float32[np.ndarray, "s h w"]:
    """Returns the HU as they come back from 8-bit pictures in a window that nobody told.

    They are cut off at a window of -20 to 10 HU and 58 to 110 HU, rounded to 256 greys, and bent by a gamma of 0.86 to
    1.16. Then they are read with a window under which brain comes out right within 6 HU. Its contrast is wrong by a
    factor of 0.7 to 1.8: the usual windows differ so much (``ct.io.display``), and in narrow ones blood is as white as
    bone. Air stays air.
    """
    black, white = rng.uniform(-20, 10), rng.uniform(58, 110)
    gamma = np.exp(rng.uniform(-0.15, 0.15))
    contrast, shift = np.exp(rng.uniform(-0.35, 0.6)), rng.uniform(-6, 6)
    grey = np.clip((hu - np.float32(black)) * np.float32(1 / (white - black)), 0, 1)
    grey = (np.rint(grey * np.float32(255)) * np.float32(1 / 255)) ** np.float32(gamma)
    brain = ((_BRAIN_HU - black) / (white - black)) ** gamma
    shown = (grey - np.float32(brain)) * np.float32((white - black) * contrast) + np.float32(_BRAIN_HU + shift)
    return np.where(hu <= AIR_HU, np.float32(AIR_HU), shown)
