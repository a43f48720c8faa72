"""Resampling along one axis as a matrix, so that a picture is resampled by two products."""

import numpy as np
from jaxtyping import Float, Float32


def shrinking_matrix(at: Float[np.ndarray, "n"], step: float, size: int) -> Float32[np.ndarray, "n size"]:
    """Weights that sample ``size`` voxels at the coordinates ``at``, ``step`` voxels apart, without aliasing.

    A triangle as wide as the step (at least one voxel), as Pillow's and JAX's "linear" resizing with antialiasing have
    it: linear interpolation when enlarging, a tent of neighbours when shrinking. Weights outside the picture are
    dropped and not made up for, so that values relative to what lies outside fade into it.
    """
    reach = max(1.0, step)
    pad = int(np.ceil(reach)) + 1
    voxels = np.arange(-pad, size + pad)
    weights = np.maximum(0, 1 - np.abs(voxels - np.clip(at, -pad, size - 1 + pad)[:, None]) / reach)
    total = np.maximum(0, 1 - np.abs(np.arange(-pad, pad + 1) + (at % 1)[:, None]) / reach).sum(1, keepdims=True)
    weights = weights[:, pad:-pad] / total
    weights[(at <= -reach) | (at >= size - 1 + reach)] = 0
    return weights.astype(np.float32)


def covering_matrix(at: Float[np.ndarray, "n"], size: int) -> Float32[np.ndarray, "n size"]:
    """Weights of linear interpolation between ``size`` cells, which cover -0.5 to size - 0.5, and 0 beyond that.

    For coarse grids such as heat maps, whose outer cells reach half a cell further than their centres: the value of
    the outer cells holds up to their edge.
    """
    weights = np.maximum(0, 1 - np.abs(np.arange(size) - np.clip(at, 0, size - 1)[:, None]))
    weights[(at < -0.5) | (at > size - 0.5)] = 0
    return weights.astype(np.float32)
