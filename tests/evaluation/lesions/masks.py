"""Pairs of masks that overlap, drawn from a seed."""

import numpy as np
from scipy import ndimage


def pair(seed: int) -> tuple[np.ndarray, np.ndarray, tuple[float, float, float]]:
    """A true and a predicted mask [9, 28, 24] that touch the edges of the picture, and a spacing in mm."""
    rng = np.random.default_rng(seed)
    shape = (9, 28, 24)
    truth, predicted = (ndimage.gaussian_filter(rng.normal(size=shape), (1, 3, 3)) for _ in range(2))
    truth, predicted = truth > 0.05, truth + 0.5 * predicted > 0.06
    return truth, predicted, (5.0, 0.9, 1.1)
