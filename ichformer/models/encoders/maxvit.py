"""MaxViT: every block convolves, attends inside windows and attends across the whole slice (Tu et al. 2022)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ichformer.models.encoders.resnet import IMAGENET_MEAN, IMAGENET_STD
from ichformer.models.layers.attention.partition import Partition, join, relative_index, split
from ichformer.models.layers.attention.self_attention import DENSE_INIT
from ichformer.models.layers.attention.transformer import Mlp
from ichformer.models.layers.channel_norm import Norm, normalise
from ichformer.models.layers.checked import CheckedModule, check_heads, check_lengths
from ichformer.models.layers.convolution import Conv
from ichformer.models.layers.dense import Dense, DenseGeneral
from ichformer.models.layers.dropout import DropPath
from ichformer.models.layers.pooling import SliceMean
from ichformer.models.lesions import Finer
from ichformer.settings import check_ranges

_SYMMETRIC = ((1, 1), (1, 1))


class MaxViT(CheckedModule):
    """A stem of stride 2, then stages that halve the grid and alternate convolution, block and grid attention.

    Both kinds of attention see a fixed number of tokens, so the cost grows with the pixels of a slice and not with
    their square, and yet each block reaches every place, from the first stage on. CoAtNet (Dai et al. 2021), the other
    network of this kind, attends over its whole grid, and so not before a sixteenth of the resolution: 1,024 tokens of
    a 512-pixel slice, in which a thin subdural rim is gone.

    Attributes:
      widths: features of the stages, multiples of 8 and of ``head_width``.
      blocks: of each stage.
      stem_width: features of the stem.
      window: side of the sets of tokens that attend to each other; smaller where the grid is. 8 makes the last stage
        one set at 256 pixels; the published weights have 7, for 224.
      head_width: features of an attention head.
      norm: of the convolutions: "group", or "affine" for imported batch norms.
      drop_path: largest rate of stochastic depth; it grows from 0 over the blocks.
      dtype: of the computation.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)
    blocks: tuple[int, ...] = (2, 2, 5, 2)
    stem_width: int = 64
    window: int = 8
    head_width: int = 32
    norm: Norm = "group"
    drop_path: float = 0.0
    dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        """InputError for settings that do not go together."""
        super().__post_init__()
        check_lengths(self, blocks=len(self.widths))
        are_whole = all(width % self.head_width == 0 for width in self.widths)
        check_ranges("MaxViT.", ("widths", self.widths, are_whole, f"multiples of head_width, {self.head_width}"))

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"], *, train: bool, stages: bool = False
    ) -> Float[Array, "n h2 w2 d"] | tuple[Float[Array, "n h2 w2 d"], Finer]:
        """Slices [N,H,W,C] in [0, 1] to a feature grid [N, H/(2 x 2^stages), ..., widths[-1]], rounded up.

        With ``stages``, the grids of the stages before it too.
        """
        x = (x - IMAGENET_MEAN) / IMAGENET_STD
        x = Conv(self.stem_width, (3, 3), 2, _SYMMETRIC, use_bias=False, dtype=self.dtype, name="stem1")(x)
        x = _gelu(normalise(x, self.norm, dtype=self.dtype, name="stem_norm"))
        x = Conv(self.stem_width, (3, 3), 1, _SYMMETRIC, dtype=self.dtype, name="stem2")(x)
        rates = iter(np.linspace(0, self.drop_path, sum(self.blocks)).tolist())
        finer = []
        for i, (features, count) in enumerate(zip(self.widths, self.blocks, strict=True)):
            for j in range(count):
                rate, name = next(rates), f"stage{i}_block{j}"
                stride = 2 if j == 0 else 1
                x = MBConv(features, stride, self.norm, rate, self.dtype, name=f"{name}_conv")(x, train=train)
                for kind in ("block", "grid"):
                    x = PartitionAttention(
                        kind, self.window, features // self.head_width, rate, self.dtype, name=f"{name}_{kind}"
                    )(x, train=train)
            finer.append(x)
        return (x, tuple(finer[:-1])) if stages else x


class MBConv(CheckedModule):
    """Inverted bottleneck, normalised first: expand by 4, convolve each channel, squeeze and excite, project."""

    features: int
    stride: int = 1
    norm: Norm = "group"
    drop_path: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], *, train: bool) -> Float[Array, "n h2 w2 d"]:
        """[N,H,W,C] to [N,H/stride,W/stride,features], rounded up. Tu et al. 2022, appendix A."""
        hidden = 4 * self.features
        y = normalise(x, self.norm, dtype=self.dtype, name="norm0")
        y = Conv(hidden, (1, 1), use_bias=False, dtype=self.dtype, name="expand")(y)
        y = _gelu(normalise(y, self.norm, dtype=self.dtype, name="norm1"))
        y = Conv(hidden, (3, 3), self.stride, _SYMMETRIC, hidden, use_bias=False, dtype=self.dtype, name="depthwise")(y)
        y = _gelu(normalise(y, self.norm, dtype=self.dtype, name="norm2"))
        y = SqueezeExcite(self.features // 4, self.dtype, name="squeeze")(y)
        y = Conv(self.features, (1, 1), dtype=self.dtype, name="project")(y)
        if self.stride == 2:
            x = nn.avg_pool(x, (3, 3), (2, 2), _SYMMETRIC)
        if self.stride != 1 or x.shape[-1] != self.features:
            x = Conv(self.features, (1, 1), dtype=self.dtype, name="shortcut")(x)
        return x + DropPath(self.drop_path)(y, train=train)


class SqueezeExcite(nn.Module):
    """Channels weighed by what their means over the slice say (Hu et al. 2018, eq. 2-4), with SiLU inside."""

    hidden: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        """Features of the same shape."""
        y = nn.silu(Dense(self.hidden, dtype=self.dtype, name="down")(SliceMean()(x)))
        return x * nn.sigmoid(Dense(x.shape[-1], dtype=self.dtype, name="up")(y))


class PartitionAttention(CheckedModule):
    """Pre-norm attention inside the sets of a partition, with a bias for each offset, and an MLP behind it."""

    kind: Partition
    window: int
    num_heads: int
    drop_path: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w d"], *, attended: Bool[Array, "n h w"] | None = None, train: bool
    ) -> Float[Array, "n h w d"]:
        """Features of the same shape; any H and W. Places outside ``attended`` are not attended to."""
        h, w = x.shape[1:3]
        sides = (min(self.window, h), min(self.window, w))
        tokens, filled = split(nn.LayerNorm(epsilon=1e-5, dtype=self.dtype, name="norm1")(x), sides, self.kind)
        real = filled if attended is None else split(attended[..., None], sides, self.kind)[0][..., 0]
        y = join(self._attend(tokens, real, sides), sides, self.kind, shape=(h, w))
        x = x + DropPath(self.drop_path)(y, train=train)
        y = nn.LayerNorm(epsilon=1e-5, dtype=self.dtype, name="norm2")(x)
        return x + DropPath(self.drop_path)(Mlp("gelu", 4.0, self.dtype, name="mlp")(y), train=train)

    def _attend(self, tokens: Array, real: Array | np.ndarray | None, sides: tuple[int, int]) -> Array:
        width = tokens.shape[-1]
        check_heads(self, self.num_heads, width)
        qkv = DenseGeneral(
            (3, self.num_heads, width // self.num_heads), kernel_init=DENSE_INIT, dtype=self.dtype, name="qkv"
        )(tokens)
        query, key, value = (qkv[:, :, i] for i in range(3))
        offsets = 2 * self.window - 1
        # Of a window of one slice, as swin3d keeps its tables: the loader of weights resizes both alike.
        table = self.param("relative_bias", DENSE_INIT, (1, offsets, offsets, self.num_heads))
        bias = table.reshape(-1, self.num_heads)[relative_index(sides, self.window)]
        bias = bias.transpose(2, 0, 1)[None].astype(self.dtype)
        mask = None if real is None else jnp.asarray(real)[:, None, None, :]
        y = self.attend(query, key, value, bias=bias, mask=mask)
        return DenseGeneral(width, axis=(-2, -1), kernel_init=DENSE_INIT, dtype=self.dtype, name="out")(y)

    def attend(self, query: Array, key: Array, value: Array, **where: Any) -> Array:
        """Attention in each set, as a method that ``nn.intercept_methods`` sees."""
        return jax.nn.dot_product_attention(query, key, value, **where)


def _gelu(x: Array) -> Array:
    return nn.gelu(x, approximate=False)
