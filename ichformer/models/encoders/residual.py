"""A small pre-activation residual network over one slice, for training from random parameters."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from ichformer.models.layers.channel_norm import GroupNorm
from ichformer.models.layers.checked import CheckedModule
from ichformer.models.layers.convolution import Conv
from ichformer.models.layers.standardise import STANDARDISE, Standardise
from ichformer.models.lesions import Finer


class ResidualBlock(nn.Module):
    """Pre-activation residual block (He et al. 2016b) with GroupNorm (Wu & He 2018)."""

    features: int
    stride: int = 1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 d"]:
        """[N,H,W,C] to [N,H/stride,W/stride,features]."""
        y = nn.relu(GroupNorm(self.dtype, name="norm1")(x))
        stride = (self.stride, self.stride)
        if x.shape[-1] != self.features or self.stride != 1:
            x = Conv(self.features, (1, 1), stride, use_bias=False, dtype=self.dtype, name="shortcut")(y)
        y = Conv(self.features, (3, 3), stride, use_bias=False, dtype=self.dtype, name="conv1")(y)
        y = nn.relu(GroupNorm(self.dtype, name="norm2")(y))
        return x + Conv(self.features, (3, 3), use_bias=False, dtype=self.dtype, name="conv2")(y)


class ResidualEncoder(CheckedModule):
    """A stem of stride 4, then one stage a width, each after the first at half the resolution of the one before."""

    widths: tuple[int, ...]
    blocks: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "n h w c"],
        *,
        train: bool,  # noqa: ARG002, the same in training and after
        stages: bool = False,
    ) -> Float[Array, "n h2 w2 d"] | tuple[Float[Array, "n h2 w2 d"], Finer]:
        """Slices [N,H,W,C] to a feature grid [N, H/(2 x 2^stages), ..., widths[-1]]; with ``stages`` finer ones too."""
        x = Standardise(self.dtype, name=STANDARDISE)(x)
        # What a cell holds on average, as in ResNet-D's shortcuts: filters that start at random answer to edges, of
        # which every slice is full, and how much of a cell is as dense as blood is lost on the way.
        cells = nn.avg_pool(x, (4, 4), (4, 4), "SAME", count_include_pad=False)
        # A deep stem (He et al. 2019, ResNet-C): at the first stride the skull's edge, half bone and half brain, looks
        # like blood, and only something non-linear before the second stride can tell them apart.
        narrow = self.widths[0] // 2
        for i, (features, stride) in enumerate([(narrow, 2), (narrow, 1), (self.widths[0], 2)]):
            x = x if i == 0 else nn.relu(GroupNorm(self.dtype, name=f"stem_norm{i}")(x))
            x = Conv(features, (3, 3), (stride, stride), use_bias=False, dtype=self.dtype, name=f"stem{i}")(x)
        x = x + Conv(self.widths[0], (1, 1), use_bias=False, dtype=self.dtype, name="stem_shortcut")(cells)
        finer = []
        for i, features in enumerate(self.widths):
            for j in range(self.blocks):
                stride = 2 if i > 0 and j == 0 else 1
                x = ResidualBlock(features, stride, self.dtype, name=f"stage{i}_block{j}")(x)
            finer.append(x)
        x = nn.relu(GroupNorm(self.dtype, name="norm")(x))
        return (x, tuple(finer[:-1])) if stages else x
