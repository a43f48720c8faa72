"""The 2-D vision transformer over the patches of one slice."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ichformer.errors import InputError
from ichformer.models.layers.attention.positions import Positions, grid_positions, rotary_angles, sincos_2d
from ichformer.models.layers.attention.self_attention import DENSE_INIT
from ichformer.models.layers.attention.transformer import Block, Blocks, BlockStyle, Remat
from ichformer.models.layers.checked import CheckedModule, check_heads
from ichformer.models.layers.convolution import Conv
from ichformer.settings import check_ranges


class PatchEncoder(CheckedModule):
    """Patches with their positions through ``depth`` transformer blocks (Dosovitskiy et al. 2021, section 3.1).

    The blocks are one loop. Where a class token is asked, the last of them is run apart: what the token reads there for
    the last time is what explanations of it need.

    Attributes:
      patch_size: side of a patch in pixels.
      width: features of a token.
      depth: blocks.
      num_heads: of each block.
      dropout: on the branches of every block.
      dtype: of the computation; parameters stay float32.
      style: of the blocks.
      positions: fixed sines and cosines, a learned table that is resized to the slice (bicubic), or rotations of
        queries and keys.
      position_grid: rows and columns of the learned table.
      class_token: whether a token of no place goes with the patches, for ``class_vector`` to read.
      num_registers: further tokens of no place, which nobody reads (Darcet et al. 2024).
      drop_path: rate of stochastic depth of the last block; it grows from 0 at the first.
      remat: see ``Blocks``.
      position_step: of fixed sines and rotations; see ``grid_positions``.
    """

    patch_size: int
    width: int
    depth: int
    num_heads: int
    dropout: float = 0.0
    dtype: Any = jnp.float32
    style: BlockStyle = BlockStyle()
    positions: Positions = "sincos"
    position_grid: tuple[int, int] = (14, 14)
    class_token: bool = False
    num_registers: int = 0
    drop_path: float = 0.0
    remat: Remat = "none"
    position_step: float = 1.0

    def __post_init__(self) -> None:
        """InputError for settings that do not go together."""
        super().__post_init__()
        check_heads(self, self.num_heads, self.width)
        is_even = self.positions != "sincos" or self.width % 4 == 0
        check_ranges("PatchEncoder.", ("width", self.width, is_even, 'a multiple of 4 with positions="sincos"'))

    def setup(self) -> None:
        """The parts."""
        patch = (self.patch_size, self.patch_size)
        self.patches = Conv(self.width, patch, patch, padding="VALID", kernel_init=DENSE_INIT, dtype=self.dtype)
        if self.positions == "learned":
            self.table = self.param("positions", DENSE_INIT, (*self.position_grid, self.width))
        placeless = {"class_token": int(self.class_token), "registers": self.num_registers}
        self.placeless = [self.param(name, DENSE_INIT, (1, n, self.width)) for name, n in placeless.items() if n]
        block = (self.num_heads, self.dropout, self.dtype, self.style)
        rates = tuple(np.linspace(0, self.drop_path, self.depth).tolist())
        self.blocks = Blocks(self.depth, *block, rates, self.remat)
        self.norm = nn.LayerNorm(epsilon=self.style.epsilon, dtype=self.dtype)

    def __call__(self, x: Float[Array, "n h w c"], *, train: bool) -> Float[Array, "n rows columns width"]:
        """Slices [N,H,W,C] to the grid of their patches [N, H/p, W/p, D]; H and W multiples of p."""
        return self.tokens(x, train=train).reshape(x.shape[0], *self._grid(x), self.width)

    def tokens(
        self,
        x: Float[Array, "n h w c"],
        keep: Int[Array, "n kept"] | None = None,
        attended: Bool[Array, "n kept"] | None = None,
        *,
        with_class_token: bool = False,
        train: bool,
    ) -> Float[Array, "n tokens width"]:
        """Slices [N,H,W,C] to tokens [N, (H/p)(W/p), D], row by row, or [N, kept, D] of the patches in ``keep``.

        Only what is kept is computed: what a masked autoencoder wants (He et al. 2022, section 3). Of the kept tokens
        those outside ``attended`` only fill up the array. ``with_class_token`` puts the class token before them.
        """
        mask = None
        if attended is not None:
            mask = jnp.pad(attended, ((0, 0), (self._num_placeless, 0)), constant_values=True)
        tokens = self.blocks(self._embedded(x, keep), mask, self._angles(self._grid(x), keep), train=train)
        places = tokens[:, self._num_placeless :]
        return self.norm(jnp.concatenate([tokens[:, :1], places], axis=1) if with_class_token else places)

    def before_last_attention(
        self, x: Float[Array, "n h w c"], *, train: bool
    ) -> tuple[Float[Array, "n rows columns width"], Float[Array, "n tokens width"]]:
        """Slices [N,H,W,C] to the grid of what the last block attends to, and all tokens before that block.

        The grid is behind the block's norm: before it, sizes have no say, and a gradient times its features sums to 0.
        """
        grid = self._grid(x)
        tokens, angles = self._embedded(x, None), self._angles(grid, None)
        if self.is_initializing():
            self.blocks(tokens, None, angles, train=train)
        tokens = self.blocks.before_last(tokens, None, angles, train=train)
        normed = self.blocks.last(_norm1, tokens)[:, self._num_placeless :]
        return normed.reshape(x.shape[0], *grid, self.width), tokens

    def class_vector(
        self, grid: Float[Array, "n rows columns width"], tokens: Float[Array, "n tokens width"], *, train: bool
    ) -> Float[Array, "n width"]:
        """What the class token has read after the last block; arguments are what ``before_last_attention`` gave."""
        n, rows, columns, width = grid.shape
        placeless = self.blocks.last(_norm1, tokens[:, : self._num_placeless])
        normed = jnp.concatenate([placeless, grid.reshape(n, rows * columns, width)], axis=1)
        angles = self._angles((rows, columns), None)

        def from_norm(block: Block, drop_rate: Array | None, tokens: Array, normed: Array) -> Array:
            return block.from_norm(tokens, normed, None, angles, drop_rate=drop_rate, train=train)

        return self.norm(self.blocks.last(from_norm, tokens, normed)[:, 0])

    def _embedded(self, x: Array, keep: Array | None) -> Array:
        rows, columns = self._grid(x)
        tokens = self.patches(x).reshape(x.shape[0], rows * columns, self.width)
        if self.positions == "sincos":
            place = sincos_2d(rows, columns, self.width, step=self.position_step)
            tokens = tokens + jnp.asarray(place, tokens.dtype)[None]
        if self.positions == "learned":
            table = jax.image.resize(self.table, (rows, columns, self.width), "bicubic")
            tokens = tokens + table.reshape(1, rows * columns, self.width).astype(tokens.dtype)
        if keep is not None:
            tokens = jnp.take_along_axis(tokens, keep[..., None], axis=1)
        placeless = [
            jnp.broadcast_to(each, (x.shape[0], *each.shape[1:])).astype(tokens.dtype) for each in self.placeless
        ]
        return jnp.concatenate([*placeless, tokens], axis=1)

    def _angles(self, grid: tuple[int, int], keep: Array | None) -> Array | None:
        """Rotary positions of all tokens; those of no place are not turned."""
        if self.positions != "rotary":
            return None
        places = jnp.asarray(grid_positions(*grid, step=self.position_step))
        angles = rotary_angles(places[None], self.width // self.num_heads // 2)
        if keep is not None:
            angles = jnp.take_along_axis(angles, keep[..., None], axis=1)
        return jnp.pad(angles, ((0, 0), (self._num_placeless, 0), (0, 0)))

    def _grid(self, x: Array) -> tuple[int, int]:
        p = self.patch_size
        rows, columns = x.shape[1] // p, x.shape[2] // p
        if (rows * p, columns * p) != x.shape[1:3]:
            raise InputError(
                f"slices of {x.shape[1]}x{x.shape[2]} cannot be cut into patches of {p}",
                where="PatchEncoder.patch_size",
                fix=f"prepare the scans with a size that is a multiple of {p}, or take another model",
            )
        return rows, columns

    @property
    def _num_placeless(self) -> int:
        return int(self.class_token) + self.num_registers


def _norm1(block: Block, drop_rate: Array | None, tokens: Array) -> Array:
    del drop_rate
    return block.norm1(tokens)
