"""The lesion head: logits for every place of a slice, decoded from the grids of any encoder."""

import inspect
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange
from jaxtyping import Array, Bool, Float

from ichformer import LABELS
from ichformer.models.layers.attention.self_attention import DENSE_INIT
from ichformer.models.layers.channel_norm import GroupNorm
from ichformer.models.layers.checked import CheckedModule
from ichformer.models.layers.convolution import Conv
from ichformer.models.layers.dense import Dense, DenseGeneral

START_LOGIT = -4.0
"""The bias of every lesion logit before training: about one place in fifty of a slice with a bleed belongs to it."""

_PATCH = 4
"""Side of the pixels' patches, the finest grid that is decoded. Every place of it gives 2 x 2 places of the map."""

Finer = tuple[Float[Array, "..."], ...]
"""The grids of an encoder that are finer than its output, from the finest on."""


def encode(encoder: nn.Module, *args: Any, stages: bool, **options: Any) -> tuple[Array, Finer]:
    """The encoder's output and, where ``stages`` asks for them and the encoder has some, its finer grids.

    An encoder has some if its call takes ``stages``: with ``stages=True`` it returns its output and a tuple with the
    output of each stage before.
    """
    if stages and "stages" in inspect.signature(type(encoder).__call__).parameters:
        return encoder(*args, stages=True, **options)
    return encoder(*args, **options), ()


class LesionHead(CheckedModule):
    """A feature pyramid (Lin et al. 2017) over an encoder's grids and the pixels themselves.

    From the coarsest grid to the finest, each is projected to ``width`` features and added to the one before, which is
    interpolated to its size. Where an encoder leaves a gap of more than two, as the patches of a transformer do, a
    transposed convolution whose stride is its kernel comes first. The pixels are the last grid, in patches of 4 x 4,
    and each place of it becomes 2 x 2 places of the map (sub-pixel convolution, Shi et al. 2016).

    Each slice knows its two neighbours on the coarsest grid. Masked slices change nothing.

    Attributes:
      num_labels: how many labels have a map.
      width: features of the decoder, a multiple of 8.
      dtype: of the computation; parameters stay float32.
    """

    num_labels: int = len(LABELS)
    width: int = 64
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "*b h w c"],
        grids: Finer,
        slice_mask: Bool[Array, "b s"],
    ) -> tuple[Float[Array, "b s rows columns labels"], Float[Array, "n places d"]]:
        """Windowed slices and the encoder's grids to float32 logits [B,S,H/2,W/2,labels], and what they are made of.

        Args:
          x: [B,S,H,W,C], or scans and slices as one axis.
          grids: [B,S,h,w,D] likewise, the finest first.
          slice_mask: which slices are real.

        Returns:
          The logits; their rows and columns are twice the number of patches of 4 x 4 pixels, rounded up. And the
          features of each patch [B*S, patches, width].
        """
        b = slice_mask.shape[0]
        patches = Conv(self.width, (_PATCH, _PATCH), _PATCH, use_bias=False, dtype=self.dtype, name="pixels")
        pixels = patches(_as_slices(x))
        pixels = nn.relu(GroupNorm(self.dtype, name="pixels_norm")(pixels))
        *finer, coarsest = _last_of_each_size([_as_slices(grid) for grid in grids], pixels.shape[1])
        y = self._lateral(coarsest, len(finer))
        y = rearrange(y, "(b s) h w d -> b s h w d", b=b)
        y = jnp.where(slice_mask[..., None, None, None], y, jnp.zeros((), y.dtype))
        y = y + Conv(self.width, (3, 1, 1), feature_group_count=self.width, dtype=self.dtype, name="neighbours")(y)
        y = rearrange(y, "b s h w d -> (b s) h w d")
        for i in reversed(range(len(finer))):
            lateral = self._lateral(finer[i], i)
            y = self._enlarged(y, lateral.shape[1:3], i + 1) + lateral
            y = _Separable(self.width, self.dtype, name=f"merge{i + 1}")(y)
        y = self._enlarged(y, pixels.shape[1:3], 0) + pixels
        y = _Separable(self.width, self.dtype, name="merge0")(y)
        bias = nn.initializers.constant(START_LOGIT)
        head = DenseGeneral((2, 2, self.num_labels), kernel_init=DENSE_INIT, bias_init=bias, name="head")
        logits = head(y.astype(jnp.float32))
        logits = rearrange(logits, "(b s) h w i j labels -> b s (h i) (w j) labels", b=b)
        return logits, rearrange(y, "n h w d -> n (h w) d")

    def _lateral(self, grid: Array, i: int) -> Array:
        y = Dense(self.width, use_bias=False, dtype=self.dtype, name=f"lateral{i}")(grid)
        return GroupNorm(self.dtype, name=f"lateral{i}_norm")(y)

    def _enlarged(self, y: Array, size: tuple[int, ...], i: int) -> Array:
        """``y`` at the size of the next finer grid, edge to edge."""
        times = round(size[0] / y.shape[1])
        if times > 2:
            y = DenseGeneral((times, times, self.width), dtype=self.dtype, name=f"spread{i}")(y)
            y = rearrange(y, "n h w i j d -> n (h i) (w j) d")
        return jax.image.resize(y, (y.shape[0], *size, self.width), method="linear", antialias=False)


class _Separable(nn.Module):
    """A 3x3 convolution of each channel, then a mix of channels (Chollet 2017)."""

    width: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "n h w d"]) -> Float[Array, "n h w d"]:
        y = Conv(self.width, (3, 3), feature_group_count=self.width, use_bias=False, dtype=self.dtype, name="depthwise")
        mixed = Dense(self.width, use_bias=False, dtype=self.dtype, name="pointwise")(y(x))
        return nn.relu(GroupNorm(self.dtype, name="norm")(mixed))


def _as_slices(x: Array) -> Array:
    """[...,H,W,C] to [N,H,W,C]."""
    return x.reshape(-1, *x.shape[-3:])


def _last_of_each_size(grids: list[Array], most_rows: int) -> list[Array]:
    """Of the grids of each size the last one, which has seen the most; only the last with more than ``most_rows``."""
    by_size = {grid.shape[1:3]: grid for grid in grids}
    return [grid for size, grid in by_size.items() if size[0] <= most_rows] or grids[-1:]
