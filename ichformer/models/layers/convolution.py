"""Convolution, channels last, in two and three dimensions: computed on each backend in the way that is fast there."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ichformer.models.layers.backends import cpu_convolution as cpu
from ichformer.models.layers.backends.backend import when_lowered

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
    """The convolution (without flipping the kernel) of channels-last images with ``kernel``.

    XLA's own, but on a CPU, where ``cpu_convolution`` computes the same unless the groups are neither one nor
    as many as channels. It has first derivatives by reverse mode alone.
    """
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(x.shape[1:-1], kernel.shape[:-2], strides, padding)
    pads = tuple((int(low), int(high)) for low, high in padding)
    if groups == 1 or groups == x.shape[-1] == kernel.shape[-1]:
        return _by_backend(x, kernel, strides, pads)
    return _by_xla(x, kernel, strides, pads)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _by_backend(x: Array, kernel: Array, strides: tuple[int, ...], pads: cpu.Pads) -> Array:
    return when_lowered(
        x,
        kernel,
        cpu=lambda x, kernel: cpu.forward(x, kernel, strides, pads),
        default=lambda x, kernel: _by_xla(x, kernel, strides, pads),
    )


def _keep(x: Array, kernel: Array, strides: tuple[int, ...], pads: cpu.Pads) -> tuple[Array, tuple[Array, Array]]:
    return _by_backend(x, kernel, strides, pads), (x, kernel)


def _gradients(strides: tuple[int, ...], pads: cpu.Pads, kept: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    def by_xla(x: Array, kernel: Array, dy: Array) -> tuple[Array, Array]:
        return jax.vjp(lambda x, kernel: _by_xla(x, kernel, strides, pads), x, kernel)[1](dy)

    return when_lowered(
        *kept, dy, cpu=lambda x, kernel, dy: cpu.gradients(x, kernel, dy, strides, pads), default=by_xla
    )


_by_backend.defvjp(_keep, _gradients)


def _by_xla(x: Array, kernel: Array, strides: tuple[int, ...], pads: cpu.Pads) -> Array:
    space = tuple(range(1, x.ndim - 1))
    image, taps = (0, x.ndim - 1, *space), (x.ndim - 1, x.ndim - 2, *range(x.ndim - 2))
    return lax.conv_general_dilated(
        x,
        kernel,
        strides,
        pads,
        dimension_numbers=lax.ConvDimensionNumbers(image, taps, image),
        feature_group_count=x.shape[-1] // kernel.shape[-2],
    )
