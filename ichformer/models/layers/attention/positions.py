"""Positions of a patch in its slice and of a slice in its scan: sines and cosines that are added, or rotations."""

from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32

Positions = Literal["sincos", "learned", "rotary"]
ZPosition = Literal["mm", "index"]

USUAL_STEP_MM = 5.0
"""What lies between two slices of most head CT."""

LONGEST_MM = 250.0
"""About the length of a head: the longest wavelength along the slices then tells skull base from vertex."""


def sincos_1d(position: Float[Array, "*grid"], width: int, *, longest: float) -> Float[Array, "*grid width"]:
    """Sines and cosines of ``position`` at ``width // 2`` wavelengths from 2 pi to 2 pi x ``longest``.

    Vaswani et al. 2017, section 3.5, for real-valued positions; ``width`` must be even.
    """
    frequency = jnp.asarray(longest ** -np.linspace(0, 1, width // 2), jnp.float32)
    angle = position[..., None] * frequency.reshape((1,) * position.ndim + (-1,))
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], -1)


def sincos_2d(rows: int, columns: int, width: int, *, step: float = 1.0) -> Float32[np.ndarray, "tokens width"]:
    """Fixed positions of a grid of patches, half of the width for each axis (MoCo v3, MAE, big_vision).

    ``width`` must be divisible by 4. Tokens run row by row. For ``step`` see ``grid_positions``.
    """
    frequency = 10_000.0 ** -np.linspace(0, 1, width // 4)
    row, column = grid_positions(rows, columns, step=step).T.astype(np.float64)
    angles = [axis[:, None] * frequency for axis in (column, row)]
    return np.concatenate([f(angle) for angle in angles for f in (np.sin, np.cos)], -1).astype(np.float32)


def grid_positions(*shape: int, step: float = 1.0) -> Float32[np.ndarray, "tokens axes"]:
    """Place of every cell of a grid along each of its axes, the last axis running fastest: its index for a step of 1.

    With another step it is where the middle of the cell lies in a grid of cells that are so many times finer. So a
    slice of half the size has, with a step of 2, the positions of the whole one.

    Example:
      >>> grid_positions(2, step=2.0).ravel().tolist()
      [0.5, 2.5]
    """
    cells = np.indices(shape, np.float32).reshape(len(shape), -1).T
    return (cells * step + (step - 1) / 2).astype(np.float32)


def rotary_angles(
    position: Float[Array, "#b n axes"], pairs: int, *, longest: float = 100.0
) -> Float[Array, "#b n pairs"]:
    """Angles by which ``rotate`` turns the pairs of features of a head, the pairs shared out among the axes.

    RoPE-Axial of Heo et al. 2024 ("Rotary position embedding for vision transformer"), section 3.2, with its
    frequencies ``longest ** -(i / pairs of the axis)``; they take 100 in the place of the 10,000 of language.

    Args:
      position: of each token along each axis.
      pairs: half of the features of a head; at least one an axis.
      longest: the longest wavelength is a little under ``2 pi longest``.
    """
    shares = [len(part) for part in np.array_split(np.arange(pairs), position.shape[-1])]
    frequency = [jnp.asarray(longest ** -(np.arange(n) / n), jnp.float32) for n in shares]
    return jnp.concatenate([position[..., i, None] * f.reshape(1, 1, -1) for i, f in enumerate(frequency)], -1)


def rotate(x: Float[Array, "b n k d"], angles: Float[Array, "#b n pairs"]) -> Float[Array, "b n k d"]:
    """Features ``i`` and ``i + d/2`` of every head, turned by angle ``i`` (Su et al. 2021, eq. 34, in halves).

    The product of a turned query and a turned key then depends on the difference of their positions alone.
    """
    first, second = jnp.split(x, 2, axis=-1)
    cos, sin = (f(angles).astype(x.dtype)[:, :, None] for f in (jnp.cos, jnp.sin))
    return jnp.concatenate([first * cos - second * sin, first * sin + second * cos], axis=-1)


def sincos_3d(
    heights_mm: Float[Array, "b s"], rows: int, columns: int, width: int, *, step: float = 1.0
) -> Float[Array, "b s rows columns width"]:
    """Fixed positions of the patches of a scan, a third of the width for each axis; ``width`` must be even.

    Along the slices by millimetres (``sincos_1d``), in the slice by index (``sincos_2d``'s wavelengths). For
    ``step`` see ``grid_positions``; it is of the slice.
    """
    pairs = [len(part) for part in np.array_split(np.arange(width // 2), 3)]
    grid = (*heights_mm.shape, rows, columns)
    parts = [sincos_1d(heights_mm, 2 * pairs[0], longest=LONGEST_MM)[:, :, None, None]]
    for axis, (size, n) in enumerate(zip((rows, columns), pairs[1:], strict=True)):
        place = sincos_1d(jnp.asarray(grid_positions(size, step=step)[:, 0]), 2 * n, longest=10_000.0)
        parts.append(place.reshape(1, 1, *((size, 1) if axis == 0 else (1, size)), 2 * n))
    return jnp.concatenate([jnp.broadcast_to(part, (*grid, part.shape[-1])) for part in parts], axis=-1)


def slice_heights_mm(
    slice_mask: Array, spacing_mm: Float[Array, "b 3"], z_position: ZPosition = "mm"
) -> Float[Array, "b s"]:
    """Height of each slice above the middle of its scan, in mm; masked slices get what their place would have.

    Millimetres, not indices: so a 5 mm scan and a 1 mm scan of one head have the same positions. With ``"index"``, as
    most published models have it, every scan is taken to have slices of 5 mm.
    """
    if z_position == "index":
        spacing_mm = jnp.full_like(spacing_mm, USUAL_STEP_MM)
    index = jnp.arange(slice_mask.shape[1], dtype=jnp.float32)[None]
    count = slice_mask.sum(1, keepdims=True).astype(jnp.float32)
    first = jnp.argmax(slice_mask, axis=1, keepdims=True).astype(jnp.float32)
    middle = first + (count - 1) / 2
    return (index - middle) * spacing_mm[:, :1]
