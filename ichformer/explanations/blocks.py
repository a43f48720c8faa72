"""Blocks of a scan."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int


def in_block(start: Int[Array, "3"], block: tuple[int, int, int], shape: tuple[int, ...]) -> Bool[Array, "1 s h w"]:
    """Whether each voxel of a scan lies in a block of so many slices, rows and columns that starts there."""
    sides = []
    for axis, (size, side) in enumerate(zip(shape, block, strict=True)):
        offset = jnp.arange(size) - start[axis]
        sides.append((offset >= 0) & (offset < side))
    slices, rows, columns = sides
    return slices[None, :, None, None] & rows[None, None, :, None] & columns[None, None, None, :]
