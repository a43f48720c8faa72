"""Whether an explanation points where the finding is."""

import numpy as np
from jaxtyping import Bool, Float


def pointing_game(
    maps: Float[np.ndarray, "n h w"], targets: Bool[np.ndarray, "n h w"], *, tolerance_px: float = 0.0
) -> Bool[np.ndarray, "n"]:
    """Whether each map's highest pixel lies in its target, or within ``tolerance_px`` of it.

    The pointing game of Zhang et al. 2018 ("Top-down neural attention by excitation backprop", IJCV), who allowed 15
    pixels. A flat map points nowhere and misses. Of several highest pixels the first in reading order counts.

    Args:
      maps: one map a slice, on the slice's own grid.
      targets: the finding's mask or filled box on the same grid.
      tolerance_px: how far outside the target a hit may lie, in pixels from centre to centre.

    Returns:
      True for a hit, one value a slice; their mean is the score.
    """
    rows, columns = np.indices(maps.shape[1:])
    hits = []
    for values, target in zip(maps, targets, strict=True):
        row, column = np.unravel_index(values.argmax(), values.shape)
        near = np.hypot(rows - row, columns - column) <= tolerance_px
        hits.append(bool(values.max() > values.min() and (target & near).any()))
    return np.asarray(hits, dtype=bool)
