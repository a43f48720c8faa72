"""ResNet in two and three dimensions: the post-activation blocks of torchvision, Hugging Face and MedicalNet."""

from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ichformer.models.layers.channel_norm import Norm, normalise
from ichformer.models.layers.checked import CheckedModule, check_lengths
from ichformer.models.layers.convolution import Conv
from ichformer.models.layers.dilation import dilated
from ichformer.models.layers.pooling import max_pool
from ichformer.models.lesions import Finer

Shortcut = Literal["project", "pad"]

# Mean and deviation of ImageNet's pixels in [0, 1], over its three colours: what the imported weights expect.
IMAGENET_MEAN, IMAGENET_STD = 0.449, 0.226


class ResNetBlock(CheckedModule):
    """Two 3-convolutions, or a bottleneck of 1, 3 and 1, beside a shortcut (He et al. 2016a, figure 5).

    Attributes:
      features: of the result.
      strides: one an axis of space; their number makes the block 2-D or 3-D. A bottleneck has them at its
        3-convolution ("v1.5", torchvision's), not at the first one.
      bottleneck: whether it is one; it computes in a quarter of ``features``.
      dilation: of the 3-convolutions.
      shortcut: where the shape changes: "project", a 1-convolution and a norm (He's option B), or "pad", zeros for the
        new features (option A).
      norm: what follows every convolution.
      dtype: of the computation; parameters stay float32.
    """

    features: int
    strides: tuple[int, ...]
    bottleneck: bool = False
    dilation: int = 1
    shortcut: Shortcut = "project"
    norm: Norm = "group"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "n *space c"], planes: Bool[Array, "n d"] | None = None
    ) -> Float[Array, "n *space2 d2"]:
        """[N,*space,C] to [N, *space/strides, features].

        ``planes`` says which planes of the first axis are real; the others, zeros in ``x``, stay zeros.
        """
        ones = (1,) * len(self.strides)
        after = None if planes is None else stride_planes(planes, self.strides[0])
        if self.bottleneck:
            inner = self.features // 4
            convolutions = [(inner, 1, ones, planes), (inner, 3, self.strides, after), (self.features, 1, ones, after)]
        else:
            convolutions = [(self.features, 3, self.strides, after), (self.features, 3, ones, after)]
        y = x
        for i, (features, size, strides, real) in enumerate(convolutions, 1):
            y = nn.relu(y) if i > 1 else y
            y = self._convolve(y, features, size, strides, f"conv{i}")
            y = normalise(y, self.norm, dtype=self.dtype, name=f"norm{i}", planes=real)
        if x.shape[-1] != self.features or self.strides != ones:
            if self.shortcut == "project":
                x = self._convolve(x, self.features, 1, self.strides, "shortcut")
                x = normalise(x, self.norm, dtype=self.dtype, name="shortcut_norm", planes=after)
            else:
                x = x[(slice(None), *(slice(None, None, stride) for stride in self.strides))]
                x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, self.features - x.shape[-1])])
        return nn.relu(x + y)

    def _convolve(self, x: Array, features: int, size: int, strides: tuple[int, ...], name: str) -> Array:
        rank = len(self.strides)
        # Pairs, not "SAME": at stride 2 that would put nothing before and one behind, torch puts one before.
        pairs = ((size // 2, size // 2),) * rank
        conv = Conv(features, (size,) * rank, strides, pairs, use_bias=False, dtype=self.dtype, name=name)
        return conv(x) if size == 1 or self.dilation == 1 else dilated(conv, x, self.dilation)


class ResNet(CheckedModule):
    """ResNet over one slice: He et al. 2016a, table 1, without its classifier.

    Attributes:
      depths: blocks a stage.
      widths: width of a stage; a bottleneck's result has four times as many features.
      bottleneck: whether blocks are bottlenecks (ResNet-50 and larger).
      norm: what follows every convolution; imported weights need "affine".
      dtype: of the computation; parameters stay float32.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...] = (64, 128, 256, 512)
    bottleneck: bool = False
    norm: Norm = "group"
    dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        """InputError for settings that do not go together."""
        super().__post_init__()
        check_lengths(self, widths=len(self.depths))

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "n h w c"],
        *,
        train: bool,  # noqa: ARG002, the same in training and after
        stages: bool = False,
    ) -> Float[Array, "n h2 w2 d"] | tuple[Float[Array, "n h2 w2 d"], Finer]:
        """Slices [N,H,W,C] in [0, 1] to a feature grid [N,H/32,W/32,D], rounded up; with ``stages`` finer ones too."""
        x = (x - IMAGENET_MEAN) / IMAGENET_STD
        pairs = ((3, 3), (3, 3))
        x = Conv(self.widths[0], (7, 7), 2, pairs, use_bias=False, dtype=self.dtype, name="stem")(x)
        x = nn.relu(normalise(x, self.norm, dtype=self.dtype, name="stem_norm"))
        x = max_pool(x, (2, 2))
        finer = []
        for i, (depth, width) in enumerate(zip(self.depths, self.widths, strict=True)):
            features = width * 4 if self.bottleneck else width
            for j in range(depth):
                strides = (2, 2) if i > 0 and j == 0 else (1, 1)
                block = ResNetBlock(
                    features, strides, self.bottleneck, norm=self.norm, dtype=self.dtype, name=f"stage{i}_block{j}"
                )
                x = block(x)
            finer.append(x)
        return (x, tuple(finer[:-1])) if stages else x


def stride_planes(planes: Bool[Array, "n d"], stride: int) -> Bool[Array, "n d2"]:
    """Which planes are real behind a convolution or pool of ``stride``: those that stand for a real one.

    A centred kernel of stride 2 puts plane i where planes 2 i and 2 i + 1 were.
    """
    n, count = planes.shape
    after = -(-count // stride)
    planes = jnp.pad(planes, ((0, 0), (0, after * stride - count)))
    return jnp.any(planes.reshape(n, after, stride), axis=2)
