"""On which side of the head a lesion lies."""

from typing import Literal

import numpy as np
from jaxtyping import Bool

from ichformer.lesions.grid import Grid
from ichformer.lesions.midplane import Midplane

Side = Literal["left", "right", "both", "midline"]
"""Of the patient."""

_ONE_SIDE = 0.8
"""Share of a lesion from which it lies on one side."""

_MIDLINE_MM = 10.0
"""A lesion that lies on neither side is a midline lesion where most of it lies so near the plane."""


def side_of(mask: Bool[np.ndarray, "s h w"], grid: Grid, plane: Midplane) -> Side:
    """Left or right where ``_ONE_SIDE`` of the volume lies there; or else midline, where so much of it lies within
    10 mm of the plane; or else both.

    Args:
      mask: not empty.
      grid: where its voxels lie.
      plane: between the hemispheres.
    """
    index = np.argwhere(mask)
    left_mm, weights = plane.left_mm(grid.points_mm(index)), grid.voxel_ml[index[:, 0]]
    left = float(weights[left_mm > 0].sum() / weights.sum())
    if left >= _ONE_SIDE:
        return "left"
    if left <= 1 - _ONE_SIDE:
        return "right"
    near = float(weights[np.abs(left_mm) <= _MIDLINE_MM].sum() / weights.sum())
    return "midline" if near >= _ONE_SIDE else "both"
