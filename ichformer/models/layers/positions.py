"""Sine-cosine positions: of a patch in its slice, and of a slice in its scan."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32


def sincos_1d(position: Float[Array, "*grid"], width: int, *, longest: float) -> Float[Array, "*grid width"]:
    """Sines and cosines of ``position`` at ``width // 2`` wavelengths from 2 pi to 2 pi x ``longest``.

    Vaswani et al. 2017, section 3.5, for real-valued positions; ``width`` must be even.
    """
    frequency = jnp.asarray(longest ** -np.linspace(0, 1, width // 2), jnp.float32)
    angle = position[..., None] * frequency.reshape((1,) * position.ndim + (-1,))
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], -1)


def sincos_2d(rows: int, columns: int, width: int) -> Float32[np.ndarray, "tokens width"]:
    """Fixed positions of a grid of patches, half of the width for each axis (MoCo v3, MAE, big_vision).

    ``width`` must be divisible by 4. Tokens run row by row.
    """
    frequency = 10_000.0 ** -np.linspace(0, 1, width // 4)
    row, column = np.mgrid[:rows, :columns].reshape(2, -1)
    angles = [axis[:, None] * frequency for axis in (column, row)]
    return np.concatenate([f(angle) for angle in angles for f in (np.sin, np.cos)], -1).astype(np.float32)


def slice_heights_mm(slice_mask: Array, spacing_mm: Float[Array, "b 3"]) -> Float[Array, "b s"]:
    """Height of each slice above the middle of its scan, in mm; masked slices get what their place would have.

    Millimetres, not indices: so a 5 mm scan and a 1 mm scan of one head have the same positions.
    """
    index = jnp.arange(slice_mask.shape[1], dtype=jnp.float32)[None]
    count = slice_mask.sum(1, keepdims=True).astype(jnp.float32)
    first = jnp.argmax(slice_mask, axis=1, keepdims=True).astype(jnp.float32)
    middle = first + (count - 1) / 2
    return (index - middle) * spacing_mm[:, :1]
