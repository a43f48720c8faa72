"""The 3-D vision transformer: patches of several slices, or of one, through blocks that see the whole scan."""

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange, repeat
from jaxtyping import Array, Bool, Float, Int

from ichformer.models.layers.attention.factorised import FactorisedBlock
from ichformer.models.layers.attention.positions import (
    USUAL_STEP_MM,
    Positions,
    ZPosition,
    grid_positions,
    rotary_angles,
    sincos_3d,
    slice_heights_mm,
)
from ichformer.models.layers.attention.self_attention import DENSE_INIT
from ichformer.models.layers.attention.transformer import Block, Blocks, BlockStyle, Remat
from ichformer.models.layers.checked import CheckedModule, check_heads
from ichformer.models.layers.convolution import Conv
from ichformer.settings import check_ranges

VolumeAttention = Literal["factorised", "joint"]


class VolumeEncoder(CheckedModule):
    """Patches of a scan, each with its place, through ``depth`` transformer blocks.

    Sizes that patches do not divide are padded with zeros behind. Masked slices are zeroed first, and tokens without a
    real slice are not attended to.

    Attributes:
      patch_size: of a token in slices, rows and columns.
      width: features of a token; even.
      depth: blocks; the weights of a ``PatchEncoder`` fit.
      num_heads: of each block.
      attention: over the slice and then over the slices (``FactorisedBlock``), or over all tokens of a scan at once.
      dropout: on the branches of every block.
      dtype: of the computation; parameters stay float32.
      style: of the blocks.
      positions: fixed sines and cosines, a learned table, or rotations of queries and keys.
      position_grid: of the learned table in tokens. Along the slices its entries lie as far apart as tokens of 5 mm
        slices and are interpolated; in the slice it is resized.
      z_position: whether slices are placed by millimetres or by their index.
      drop_path: rate of stochastic depth of the last block; it grows from 0 at the first.
      remat: see ``Blocks``.
      position_step: of fixed sines and rotations in the slice; see ``grid_positions``.
    """

    patch_size: tuple[int, int, int]
    width: int
    depth: int
    num_heads: int
    attention: VolumeAttention = "factorised"
    dropout: float = 0.0
    dtype: Any = jnp.float32
    style: BlockStyle = BlockStyle()
    positions: Positions = "sincos"
    position_grid: tuple[int, int, int] = (32, 14, 14)
    z_position: ZPosition = "mm"
    drop_path: float = 0.0
    remat: Remat = "none"
    position_step: float = 1.0

    def __post_init__(self) -> None:
        """InputError for settings that do not go together."""
        super().__post_init__()
        check_heads(self, self.num_heads, self.width)
        check_ranges("VolumeEncoder.", ("width", self.width, self.width % 2 == 0, "an even number"))

    @property
    def slices_per_token(self) -> int:
        """How many slices a token holds."""
        return self.patch_size[0]

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b s h w c"],
        slice_mask: Bool[Array, "b s"],
        spacing_mm: Float[Array, "b 3"],
        *,
        keep: Int[Array, "b kept"] | None = None,
        attended: Bool[Array, "b kept"] | None = None,
        train: bool,
    ) -> (
        Float[Array, "b tokens rows columns width"] | Float[Array, "b kept width"] | Float[Array, "b tokens kept width"]
    ):
        """Scans [B,S,H,W,C] to their tokens [B,tokens,rows,columns,D]; those without a real slice mean nothing.

        With ``keep`` only some tokens are computed, as a masked autoencoder wants. Of a scan at once they are the
        tokens of these places in the whole scan [B,kept,D], and those outside ``attended`` only fill up the array; of
        slices and then along the slices they are those of these places in every slice [B,S,kept,D].
        """
        x = jnp.where(slice_mask[..., None, None, None], x, 0)
        behind = [(0, -size % p) for size, p in zip(x.shape[1:4], self.patch_size, strict=True)]
        x = jnp.pad(x, [(0, 0), *behind, (0, 0)])
        x = Conv(
            self.width,
            self.patch_size,
            self.patch_size,
            padding="VALID",
            kernel_init=DENSE_INIT,
            dtype=self.dtype,
            name="patches",
        )(x)
        b, tokens, rows, columns, _ = x.shape
        heights_mm, mask = self.token_heights_mm(slice_mask, spacing_mm)

        if self.positions == "sincos":
            x = x + sincos_3d(heights_mm, rows, columns, self.width, step=self.position_step).astype(x.dtype)
        if self.positions == "learned":
            table = self.param("positions", DENSE_INIT, (*self.position_grid, self.width))
            places = heights_mm / (USUAL_STEP_MM * self.patch_size[0]) + (self.position_grid[0] - 1) / 2
            x = x + from_table(table, places, rows, columns).astype(x.dtype)
        angles = self._angles(heights_mm, rows, columns) if self.positions == "rotary" else None

        if self.attention == "joint":
            x = rearrange(x, "b s h w d -> b (s h w) d")
            mask = jnp.repeat(mask, rows * columns, axis=1)
        else:
            x = rearrange(x, "b s h w d -> b s (h w) d")
        attended_to: Array | None = mask
        if keep is not None:
            x, attended_to, angles = self._kept(x, mask, angles, keep, attended)
        kind = Block if self.attention == "joint" else FactorisedBlock
        block = (self.num_heads, self.dropout, self.dtype, self.style)
        rates = tuple(np.linspace(0, self.drop_path, self.depth).tolist())
        x = Blocks(self.depth, *block, rates, self.remat, kind, name="blocks")(x, attended_to, angles, train=train)
        x = nn.LayerNorm(epsilon=self.style.epsilon, dtype=self.dtype, name="norm")(x)
        return x.reshape(b, tokens, rows, columns, self.width) if keep is None else x

    def token_heights_mm(
        self, slice_mask: Bool[Array, "b s"], spacing_mm: Float[Array, "b 3"]
    ) -> tuple[Float[Array, "b tokens"], Bool[Array, "b tokens"]]:
        """Height of each layer of tokens above the middle of its scan, and whether it holds a real slice."""
        deep = self.patch_size[0]
        mask = jnp.pad(slice_mask, ((0, 0), (0, -slice_mask.shape[1] % deep)))
        heights_mm = slice_heights_mm(mask, spacing_mm, self.z_position).reshape(mask.shape[0], -1, deep).mean(-1)
        return heights_mm, mask.reshape(mask.shape[0], -1, deep).any(-1)

    def _kept(
        self, x: Array, mask: Array, angles: Any, keep: Array, attended: Array | None
    ) -> tuple[Array, Array | None, Any]:
        """Some of the tokens with their mask and their rotary positions."""
        if self.attention == "joint":
            x = jnp.take_along_axis(x, keep[..., None], axis=1)
            angles = None if angles is None else jnp.take_along_axis(angles, keep[..., None], axis=1)
            return x, attended, angles
        x = jnp.take_along_axis(x, keep[:, None, :, None], axis=2)
        if angles is not None:
            in_slice, along_z = angles
            in_slice = repeat(in_slice[0][keep], "b n pairs -> (b s) n pairs", s=x.shape[1])
            angles = in_slice, along_z
        return x, mask, angles

    def _angles(self, heights_mm: Array, rows: int, columns: int) -> Any:
        """Rotary positions as the blocks take them; along the slices in units of 5 mm."""
        pairs = self.width // self.num_heads // 2
        z = heights_mm / USUAL_STEP_MM
        in_slice = jnp.asarray(grid_positions(rows, columns, step=self.position_step))
        if self.attention == "factorised":
            return rotary_angles(in_slice[None], pairs), rotary_angles(z[..., None], pairs)
        b, tokens = z.shape
        shape = (b, tokens, rows * columns)
        place = [jnp.broadcast_to(z[..., None, None], (*shape, 1)), jnp.broadcast_to(in_slice, (*shape, 2))]
        return rotary_angles(jnp.concatenate(place, axis=-1).reshape(b, -1, 3), pairs)


def from_table(
    table: Float[Array, "deep high wide d"], places: Float[Array, "b s"], rows: int, columns: int
) -> Float[Array, "b s rows columns d"]:
    """Learned positions of a scan: resized in the slice, interpolated between two entries along the slices.

    Args:
      table: one entry a place.
      places: of the slices along the first axis of the table; beyond its ends stand its ends.
      rows: of the grid in a slice.
      columns: of that grid.
    """
    deep, _, _, width = table.shape
    table = jax.image.resize(table, (deep, rows, columns, width), "bicubic")
    places = jnp.clip(places, 0, deep - 1)
    below = jnp.floor(places).astype(jnp.int32)
    share = (places - below)[..., None, None, None]
    return table[below] * (1 - share) + table[jnp.minimum(below + 1, deep - 1)] * share
