"""EfficientNet-Lite: EfficientNet without squeeze-and-excitation and with ReLU6, made for small devices."""

import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from ichformer.models.layers.channel_norm import Norm, normalise
from ichformer.models.layers.checked import CheckedModule
from ichformer.models.layers.convolution import Conv
from ichformer.models.layers.dropout import DropPath
from ichformer.models.lesions import Finer


class Stage(NamedTuple):
    """Equal inverted bottlenecks: the first has the stride, and the others a residual."""

    features: int
    blocks: int
    kernel: int
    stride: int
    expand: int


_B0 = (
    Stage(16, 1, 3, 1, 1),
    Stage(24, 2, 3, 2, 6),
    Stage(40, 2, 5, 2, 6),
    Stage(80, 3, 3, 2, 6),
    Stage(112, 3, 5, 1, 6),
    Stage(192, 4, 5, 2, 6),
    Stage(320, 1, 3, 1, 6),
)


def lite_stages(*, width: float, depth: float) -> tuple[Stage, ...]:
    """EfficientNet-B0's stages (Tan & Le 2019, table 1), scaled as the Lite models are.

    Features become multiples of 8 within 10 %; the first and the last stage keep their number of blocks
    (tensorflow/tpu, ``efficientnet_lite_builder.py``).
    """
    return tuple(
        stage._replace(
            features=_multiple_of_8(stage.features * width),
            blocks=stage.blocks if i in (0, len(_B0) - 1) else math.ceil(stage.blocks * depth),
        )
        for i, stage in enumerate(_B0)
    )


class InvertedBottleneck(CheckedModule):
    """1x1 to ``expand`` times the width, depth-wise, 1x1 without activation (MBConv; Sandler et al. 2018, table 1)."""

    features: int
    kernel: int
    stride: int
    expand: int
    drop_path: float = 0.0
    norm: Norm = "group"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], *, train: bool) -> Float[Array, "n h2 w2 d"]:
        """[N,H,W,C] to [N,H/stride,W/stride,features]."""
        y = x
        if self.expand > 1:
            y = _convolve(y, x.shape[-1] * self.expand, 1, name="expand", dtype=self.dtype)
            y = nn.relu6(normalise(y, self.norm, dtype=self.dtype, name="expand_norm"))
        y = _convolve(y, y.shape[-1], self.kernel, self.stride, y.shape[-1], name="depthwise", dtype=self.dtype)
        y = nn.relu6(normalise(y, self.norm, dtype=self.dtype, name="depthwise_norm"))
        y = _convolve(y, self.features, 1, name="project", dtype=self.dtype)
        y = normalise(y, self.norm, dtype=self.dtype, name="project_norm")
        if y.shape == x.shape and self.stride == 1:
            y = x + DropPath(self.drop_path)(y, train=train)
        return y


class EfficientNet(CheckedModule):
    """EfficientNet-Lite over one slice, without its classifier.

    Attributes:
      stages: as ``lite_stages`` gives them.
      stem: features of the first convolution.
      head: features of the grid.
      drop_path: probability that a branch is left out in training; it grows from zero towards this.
      norm: what follows every convolution; imported weights need "affine".
      dtype: of the computation; parameters stay float32.
    """

    stages: tuple[Stage, ...]
    stem: int = 32
    head: int = 1280
    drop_path: float = 0.0
    norm: Norm = "group"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"], *, train: bool, stages: bool = False
    ) -> Float[Array, "n h2 w2 d"] | tuple[Float[Array, "n h2 w2 d"], Finer]:
        """Slices [N,H,W,C] in [0, 1] to a feature grid [N,H/32,W/32,D], rounded up; with ``stages`` finer ones too."""
        # The Lite models were trained on (pixel - 127) / 128 of bytes.
        x = x * (255 / 128) - 127 / 128
        x = _convolve(x, self.stem, 3, 2, name="stem", dtype=self.dtype)
        x = nn.relu6(normalise(x, self.norm, dtype=self.dtype, name="stem_norm"))
        total, done = sum(stage.blocks for stage in self.stages), 0
        finer = []
        for stage in self.stages:
            for j in range(stage.blocks):
                block = InvertedBottleneck(
                    stage.features,
                    stage.kernel,
                    stage.stride if j == 0 else 1,
                    stage.expand,
                    self.drop_path * done / total,
                    self.norm,
                    self.dtype,
                    name=f"block{done}",
                )
                x, done = block(x, train=train), done + 1
            finer.append(x)
        x = _convolve(x, self.head, 1, name="head", dtype=self.dtype)
        x = nn.relu6(normalise(x, self.norm, dtype=self.dtype, name="head_norm"))
        return (x, tuple(finer)) if stages else x


def _convolve(x: Array, features: int, size: int, stride: int = 1, groups: int = 1, *, name: str, dtype: Any) -> Array:
    """Padded "SAME" as TensorFlow does, where these weights come from."""
    conv = Conv(features, (size, size), stride, feature_group_count=groups, use_bias=False, dtype=dtype, name=name)
    return conv(x)


def _multiple_of_8(features: float) -> int:
    rounded = max(8, int(features + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * features else rounded + 8
