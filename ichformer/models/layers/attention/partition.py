"""A feature grid cut into equal sets of tokens: neighbours (blocks), or tokens spread evenly over all of it (grid)."""

from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jaxtyping import Array, Bool, Float, Int, Shaped

Partition = Literal["block", "grid"]

_SETS = {
    "block": "n (gh a) (gw b) c -> (n gh gw) (a b) c",
    "grid": "n (a gh) (b gw) c -> (n gh gw) (a b) c",
}


def split(
    x: Shaped[Array, "n h w c"], sides: tuple[int, int], kind: Partition
) -> tuple[Shaped[Array, "sets tokens c"], Bool[np.ndarray, "sets tokens"] | None]:
    """Sets of ``sides[0] x sides[1]`` tokens, row by row, and which tokens are real; None where all are.

    Where a side does not divide the grid, zeros are added behind it. Tu et al. 2022, section 3.2: "block" holds tokens
    that lie together, "grid" one token of every cell of a ``sides[0] x sides[1]`` mesh over the whole grid.
    """
    n, h, w, _ = x.shape
    behind = (-h % sides[0], -w % sides[1])
    tokens = _split(jnp.pad(x, ((0, 0), (0, behind[0]), (0, behind[1]), (0, 0))), sides, kind)
    if behind == (0, 0):
        return tokens, None
    real = np.pad(np.ones((1, h, w, 1), bool), ((0, 0), (0, behind[0]), (0, behind[1]), (0, 0)))
    return tokens, np.tile(_split(real, sides, kind)[..., 0], (n, 1))


def join(
    tokens: Float[Array, "sets tokens c"], sides: tuple[int, int], kind: Partition, *, shape: tuple[int, int]
) -> Float[Array, "n h w c"]:
    """The inverse of ``split`` for a grid of ``shape``; what was added is dropped."""
    pattern = " -> ".join(reversed(_SETS[kind].split(" -> ")))
    gh, gw = (-(-size // side) for size, side in zip(shape, sides, strict=True))
    return rearrange(tokens, pattern, a=sides[0], b=sides[1], gh=gh, gw=gw)[:, : shape[0], : shape[1]]


def relative_index(sides: tuple[int, int], largest: int) -> Int[np.ndarray, "tokens tokens"]:
    """For each pair of tokens of a set, the row of a table of ``(2 largest - 1)^2`` offsets that is theirs.

    Offsets run from ``1 - largest`` to ``largest - 1``, rows before columns (Swin, Liu et al. 2021, section 3.2), so
    that smaller sets read the middle of the same table.
    """
    places = np.mgrid[: sides[0], : sides[1]].reshape(2, -1)
    row, column = places[:, :, None] - places[:, None, :] + largest - 1
    return row * (2 * largest - 1) + column


def _split(x: Any, sides: tuple[int, int], kind: Partition) -> Any:
    return rearrange(x, _SETS[kind], a=sides[0], b=sides[1])
