"""Convolution, channels last, in two and three dimensions: the one place that knows how each backend does it fast."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Padding = Literal["SAME", "VALID"] | Sequence[tuple[int, int]]
"""Zeros around the image: as XLA means "SAME" (at stride 2 one more behind than before), or pairs, one an axis."""


class Conv(nn.Module):
    """A convolution with the parameters of ``nn.Conv``, by the same names and shapes: "kernel" [*k, c/groups, features]
    and "bias" [features], kept in float32.

    ``feature_group_count`` is 1, or the number of channels for a depth-wise convolution. Weights from PyTorch want
    pairs as ``padding``: its padding of p is ``(p, p)`` on every axis, also where "SAME" would put less before.
    """

    features: int
    kernel_size: tuple[int, ...]
    strides: int | tuple[int, ...] = 1
    padding: Padding = "SAME"
    feature_group_count: int = 1
    use_bias: bool = True
    dtype: Any = jnp.float32
    kernel_init: Callable[..., Any] = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Float[Array, "n *space c"]) -> Float[Array, "n *space2 d"]:
        """[N,H,W,C] to [N,H2,W2,features], or [N,D,H,W,C] to [N,D2,H2,W2,features], for a kernel of as many axes."""
        channels = x.shape[-1] // self.feature_group_count
        kernel = self.param("kernel", self.kernel_init, (*self.kernel_size, channels, self.features))
        strides = (self.strides,) * len(self.kernel_size) if isinstance(self.strides, int) else self.strides
        x, kernel = x.astype(self.dtype), jnp.asarray(kernel, self.dtype)
        y = convolve(x, kernel, strides=strides, padding=self.padding, groups=self.feature_group_count)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
            y = y + jnp.asarray(bias, self.dtype).reshape((1,) * (y.ndim - 1) + (-1,))
        return y


def convolve(
    x: Float[Array, "n *space c"],
    kernel: Float[Array, "*taps c2 d"],
    *,
    strides: tuple[int, ...],
    padding: Padding,
    groups: int = 1,
) -> Float[Array, "n *space2 d"]:
    """The convolution (without flipping the kernel) of channels-last images with ``kernel``."""
    return lax.conv_general_dilated(
        x,
        kernel,
        strides,
        padding,
        dimension_numbers=lax.ConvDimensionNumbers(*_axes(x.ndim)),
        feature_group_count=groups,
    )


def _axes(rank: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Where batch, channels and space are in images, kernel (features, channels, space) and result."""
    space = tuple(range(1, rank - 1))
    image = (0, rank - 1, *space)
    return image, (rank - 1, rank - 2, *range(rank - 2)), image
