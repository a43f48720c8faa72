"""How a grid of tokens is cut into windows, plain or shifted by half a window. It depends on the shape alone."""

import functools
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

Size = tuple[int, int, int]
"""Along slices, rows and columns."""


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """Where the windows of one grid lie.

    Attributes:
      window: size of each.
      shift: by how many tokens the grid is rolled before it is cut.
      padded: size of the grid, filled up to whole windows.
    """

    window: Size
    shift: Size
    padded: Size

    @property
    def counts(self) -> Size:
        """How many windows along each axis."""
        return tuple(p // w for p, w in zip(self.padded, self.window, strict=True))  # type: ignore[return-value]


def tiling(grid: Size, window: Size, *, shifted: bool) -> Tiling:
    """The windows of a grid; smaller ones where the grid is no larger than a window.

    In a slice the grid is then one window, and nothing is shifted (as in Swin, Liu et al. 2021). Along the slices it
    is shifted all the same: were it not, slices that only fill up a batch would change what the others attend to. There
    the window shrinks where that leaves its groups as they are: under half a window, the shift has nothing to part.
    """
    window_, shift = [], []
    for axis, (size, side) in enumerate(zip(grid, window, strict=True)):
        step = side // 2 if shifted else 0
        whole = size <= (step or side) if axis == 0 else size <= side
        window_.append(size if whole else side)
        shift.append(0 if whole else step)
    padded = (-(-size // side) * side for size, side in zip(grid, window_, strict=True))
    return Tiling(window=tuple(window_), shift=tuple(shift), padded=tuple(padded))  # type: ignore[arg-type]


def partition(x: Shaped[Array, "b d h w *c"], tiles: Tiling) -> Shaped[Array, "b windows n *c"]:
    """A grid as windows: padded with zeros, rolled where shifted, one transpose."""
    b, grid, features = x.shape[0], x.shape[1:4], x.shape[4:]
    fill = [(0, p - g) for p, g in zip(tiles.padded, grid, strict=True)]
    x = jnp.pad(x, [(0, 0), *fill, *((0, 0) for _ in features)])
    if any(tiles.shift):
        x = jnp.roll(x, [-s for s in tiles.shift], (1, 2, 3))
    (d, h, w), (i, j, k) = tiles.counts, tiles.window
    x = jnp.moveaxis(x.reshape(b, d, i, h, j, w, k, *features), (3, 5), (2, 3))
    return x.reshape(b, d * h * w, i * j * k, *features)


def unite(x: Float[Array, "b windows n c"], tiles: Tiling, grid: Size) -> Float[Array, "b d h w c"]:
    """Windows back to the grid: what ``partition`` did, undone."""
    b, c = x.shape[0], x.shape[-1]
    (d, h, w), (i, j, k) = tiles.counts, tiles.window
    x = jnp.moveaxis(x.reshape(b, d, h, w, i, j, k, c), (2, 3), (3, 5)).reshape(b, *tiles.padded, c)
    if any(tiles.shift):
        x = jnp.roll(x, tiles.shift, (1, 2, 3))
    return x[:, : grid[0], : grid[1], : grid[2]]


@functools.cache
def groups(tiles: Tiling, grid: Size) -> Int[np.ndarray, "windows n"]:
    """For every token of every window, the number of its group; -1 beyond rows and columns of the grid.

    Tokens attend to those of their group: what the roll brought beside them from the other end is none of theirs.
    """
    number = np.zeros((1, 1, 1), np.int32)
    for axis, (size, side, step) in enumerate(zip(tiles.padded, tiles.window, tiles.shift, strict=True)):
        place = np.arange(size)
        # Three groups an axis (Liu et al. 2021, figure 4): the last window holds what the roll brought from the front.
        group = (place >= size - side).astype(np.int32) + (place >= size - step)
        shape = np.where(np.arange(3) == axis, size, 1)
        number = number * 3 + group.reshape(shape)
    inside = np.zeros(tiles.padded[1:], bool)
    inside[: grid[1], : grid[2]] = True
    inside = np.roll(inside, [-s for s in tiles.shift[1:]], (0, 1))
    number = np.where(inside, number, -1)
    (d, h, w), (i, j, k) = tiles.counts, tiles.window
    return number.reshape(d, i, h, j, w, k).transpose(0, 2, 4, 1, 3, 5).reshape(d * h * w, i * j * k)


@functools.cache
def bias_index(window: Size, table: Size) -> Int[np.ndarray, "n n"]:
    """For every pair of tokens of a window, the place of their offset in a flat table [2d-1, 2h-1, 2w-1].

    ``table`` is the window (d, h, w) that the table was made for, at least as large as ``window``.
    """
    token = np.stack(np.meshgrid(*map(np.arange, window), indexing="ij"), -1).reshape(-1, 3)
    offset = token[:, None] - token[None] + np.asarray(table) - 1
    return np.ravel_multi_index(tuple(np.moveaxis(offset, -1, 0)), tuple(2 * t - 1 for t in table))
