"""On which side of the head a lesion lies."""

from typing import Literal

import numpy as np
from jaxtyping import Bool

from ichformer.lesions.grid import Grid
from ichformer.lesions.midplane import Midplane

Side = Literal["left", "right", "both", "midline"]
"""Of the patient."""

_ONE_SIDE = 0.85
"""A lesion lies on one side where more than this share of it does."""

_MIDLINE_MM = 12.0
"""A lesion that lies on neither side is a midline lesion where more than half of it lies so near the plane."""


def side_of(mask: Bool[np.ndarray, "s h w"], grid: Grid, plane: Midplane) -> Side:
    """Left or right where more than 85 % of the volume lies there; or else midline, where more than half of it lies
    within 12 mm of the plane; or else both.

    Args:
      mask: not empty.
      grid: where its voxels lie.
      plane: between the hemispheres.
    """
    index = np.argwhere(mask)
    left_mm, weights = plane.left_mm(grid.points_mm(index)), grid.voxel_ml[index[:, 0]]
    left = float(weights[left_mm > 0].sum() / weights.sum())
    if max(left, 1 - left) > _ONE_SIDE:
        return "left" if left > 0.5 else "right"
    near = float(weights[np.abs(left_mm) < _MIDLINE_MM].sum() / weights.sum())
    return "midline" if near > 0.5 else "both"
