"""The Swin encoder in three dimensions: stages of windowed blocks, with patches merged between them."""

import math
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange
from jaxtyping import Array, Bool, Float

from ichformer.models.layers.attention.positions import sincos_1d, slice_heights_mm
from ichformer.models.layers.attention.self_attention import DENSE_INIT
from ichformer.models.layers.attention.transformer import Remat, repeated
from ichformer.models.layers.attention.window_attention import EPSILON, SwinVersion, WindowBlock
from ichformer.models.layers.attention.windows import Size
from ichformer.models.layers.checked import CheckedModule, check_heads, check_lengths
from ichformer.models.layers.convolution import Conv
from ichformer.models.layers.dense import DenseGeneral
from ichformer.models.lesions import Finer
from ichformer.settings import check_ranges

_LONGEST_MM = 250.0


class SwinEncoder(CheckedModule):
    """Scans to a grid of tokens; every stage after the first has half the rows and columns and twice the width.

    Video Swin (Liu et al. 2022, "Video Swin Transformer") with its stages; with one slice a window and a patch it is
    Swin in every slice by itself. Sizes that patches, windows or merges do not divide are padded, and padding is not
    attended to.

    Attributes:
      patch_size: of a token in slices, rows and columns.
      width: features of a token in the first stage.
      depths: blocks of each stage; even, as every second one is shifted.
      num_heads: of each stage.
      window: tokens a window.
      slice_merges: before each stage after the first, how many tokens along the slices become one: 1 or 2.
      version: of Swin.
      patch_norm: whether the patches' features are normed.
      z_position: "mm" adds sines and cosines of the height of a token's first slice; "none", as published, leaves the
        windows to know only how many tokens lie between two.
      drop_path: of the last block; rises from 0 at the first.
      remat: what the backward pass computes anew, see ``Blocks``.
      dtype: of the computation; parameters stay float32.
    """

    patch_size: Size
    width: int
    depths: tuple[int, ...]
    num_heads: tuple[int, ...]
    window: Size
    slice_merges: tuple[int, ...]
    version: SwinVersion = "v1"
    patch_norm: bool = True
    z_position: Literal["mm", "none"] = "mm"
    drop_path: float = 0.0
    remat: Remat = "none"
    dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        """InputError for settings that do not go together."""
        super().__post_init__()
        stages = len(self.depths)
        check_lengths(self, num_heads=stages, slice_merges=stages - 1)
        for i, heads in enumerate(self.num_heads):
            check_heads(self, heads, self.width * 2**i)
        are_even = all(depth % 2 == 0 for depth in self.depths)
        check_ranges(
            "SwinEncoder.",
            ("depths", self.depths, are_even, "even numbers: every second block of a stage is shifted"),
            ("slice_merges", self.slice_merges, set(self.slice_merges) <= {1, 2}, "1 or 2 for each"),
        )

    @property
    def slices_per_token(self) -> int:
        """How many slices a token of the last stage holds."""
        return self.patch_size[0] * math.prod(self.slice_merges)

    @property
    def token_size(self) -> Size:
        """Slices, rows and columns of a token of the last stage."""
        _, rows, columns = self.patch_size
        merged = 2 ** (len(self.depths) - 1)
        return (self.slices_per_token, rows * merged, columns * merged)

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b s h w c"],
        slice_mask: Bool[Array, "b s"],
        spacing_mm: Float[Array, "b 3"],
        *,
        train: bool,
        stages: bool = False,
        hidden: Bool[Array, "b d h2 w2"] | None = None,
    ) -> Float[Array, "b d h2 w2 features"] | tuple[Float[Array, "b d h2 w2 features"], Finer]:
        """Windowed slices to the last stage's tokens; what stands at tokens without a real slice means nothing.

        With ``stages``, the tokens of the stages before it too, each repeated for all slices that it holds. The patches
        under ``hidden`` tokens of the last stage become one learned token (Xie et al. 2022, SimMIM, section 3.2).
        """
        slices, each = x.shape[1], self.patch_size[0]
        finer = []
        heights_mm = slice_heights_mm(slice_mask, spacing_mm)[:, :: self.patch_size[0]]
        x = _zero_masked(x, slice_mask)
        x, slice_mask = _pad(x, self.patch_size), _coarser(slice_mask, self.patch_size[0])
        x = Conv(self.width, self.patch_size, self.patch_size, "VALID", dtype=self.dtype, name="patches")(x)
        if self.patch_norm:
            x = nn.LayerNorm(epsilon=EPSILON, dtype=self.dtype, name="patch_norm")(x)
        if hidden is not None:
            token = self.param("mask_token", DENSE_INIT, (self.width,)).astype(x.dtype)
            for axis, (size, patch) in enumerate(zip(self.token_size, self.patch_size, strict=True), start=1):
                hidden = jnp.repeat(hidden, size // patch, axis).take(jnp.arange(x.shape[axis]), axis)
            x = jnp.where(hidden[..., None], token, x)
        if self.z_position == "mm":
            height = sincos_1d(heights_mm, self.width, longest=_LONGEST_MM)
            x = x + 0.1 * height.astype(x.dtype)[:, :, None, None]
        last = max(sum(self.depths) - 1, 1)
        rates = [self.drop_path * i / last for i in range(sum(self.depths))]
        for i, (depth, heads) in enumerate(zip(self.depths, self.num_heads, strict=True)):
            if i > 0:
                merge = PatchMerging(self.slice_merges[i - 1], self.version, self.dtype, name=f"merge{i}")
                if stages:
                    finer.append(jnp.repeat(x, each, axis=1)[:, :slices])
                    each *= self.slice_merges[i - 1]
                x, slice_mask = merge(x, slice_mask), _coarser(slice_mask, self.slice_merges[i - 1])
            done = sum(self.depths[:i])
            x = SwinStage(
                heads,
                self.window,
                tuple(rates[done : done + depth]),
                self.version,
                self.remat,
                self.dtype,
                name=f"stage{i}",
            )(x, slice_mask, train=train)
        x = nn.LayerNorm(epsilon=EPSILON, dtype=self.dtype, name="norm")(x)
        return (x, tuple(finer)) if stages else x


class SwinStage(CheckedModule):
    """Pairs of a level and a shifted block as one loop, their parameters stacked on a first axis under "pair".

    Attributes:
      num_heads: of each block.
      window: tokens a window.
      drop_path: a rate for each block; their number, an even one, is the stage's depth.
      version: of Swin.
      remat: what the backward pass computes anew.
      dtype: of the computation.
    """

    num_heads: int
    window: Size
    drop_path: tuple[float, ...]
    version: SwinVersion = "v1"
    remat: Remat = "none"
    dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        """InputError for settings that do not go together."""
        super().__post_init__()
        is_even = len(self.drop_path) % 2 == 0
        check_ranges(
            "SwinStage.", ("drop_path", self.drop_path, is_even, "a rate for each of an even number of blocks")
        )

    @nn.compact
    def __call__(
        self, x: Float[Array, "b d h w c"], slice_mask: Bool[Array, "b d"], *, train: bool
    ) -> Float[Array, "b d h w c"]:
        """Tokens of the same shape."""

        def step(pair: _Pair, x: Array, rates: Array | None) -> tuple[Array, None]:
            return pair(x, slice_mask, rates, train=train), None

        pairs = len(self.drop_path) // 2
        loop = repeated(step, pairs, self.remat, train=train)
        rates = jnp.asarray(self.drop_path, jnp.float32).reshape(pairs, 2) if any(self.drop_path) else None
        return loop(_Pair(self.num_heads, self.window, self.version, self.dtype, name="pair"), x, rates)[0]


class _Pair(nn.Module):
    num_heads: int
    window: Size
    version: SwinVersion
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, slice_mask: Array, rates: Array | None, *, train: bool) -> Array:
        for i, (name, shifted) in enumerate((("level", False), ("shifted", True))):
            block = WindowBlock(self.num_heads, self.window, shifted, self.version, self.dtype, name=name)
            x = block(x, slice_mask, None if rates is None else rates[i], train=train)
        return x


class PatchMerging(CheckedModule):
    """Two by two tokens of a slice, of one slice or of two, become one token of twice the width.

    Liu et al. 2021, section 3.1; version 2 norms after the dense layer.
    """

    slices: int
    version: SwinVersion = "v1"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b d h w c"], slice_mask: Bool[Array, "b d"]) -> Float[Array, "b d2 h2 w2 c2"]:
        """Features of the merged tokens; odd sizes are padded with zeros, and masked slices count as such."""
        width, corner = x.shape[-1], (-4, -3, -2, -1)
        x = _pad(_zero_masked(x, slice_mask), (self.slices, 2, 2))
        x = rearrange(x, "b (d i) (h j) (w k) c -> b d h w i j k c", i=self.slices, j=2, k=2)
        # The axes stay apart, so that the parameters of a merge of one slice can become those of a merge of two.
        dense = DenseGeneral(
            2 * width, corner, use_bias=False, kernel_init=DENSE_INIT, dtype=self.dtype, name="reduction"
        )
        if self.version == "v2":
            return nn.LayerNorm(epsilon=EPSILON, dtype=self.dtype, name="norm")(dense(x))
        return dense(nn.LayerNorm(EPSILON, self.dtype, reduction_axes=corner, feature_axes=corner, name="norm")(x))


def _zero_masked(x: Float[Array, "b d h w c"], slice_mask: Bool[Array, "b d"]) -> Float[Array, "b d h w c"]:
    return jnp.where(slice_mask[:, :, None, None, None], x, jnp.zeros((), x.dtype))


def _pad(x: Float[Array, "b d h w c"], multiple: Size) -> Float[Array, "b d2 h2 w2 c"]:
    fill = [(0, -size % side) for size, side in zip(x.shape[1:4], multiple, strict=True)]
    return jnp.pad(x, [(0, 0), *fill, (0, 0)])


def _coarser(slice_mask: Bool[Array, "b d"], slices: int) -> Bool[Array, "b d2"]:
    """Tokens that hold at least one real slice."""
    padded = jnp.pad(slice_mask, [(0, 0), (0, -slice_mask.shape[1] % slices)])
    return padded.reshape(slice_mask.shape[0], -1, slices).any(-1)
