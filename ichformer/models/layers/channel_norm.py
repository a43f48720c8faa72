"""The norm that follows a convolution: group statistics, or the frozen ones of imported weights."""

import math
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ichformer.models.layers.affine import Affine

Norm = Literal["group", "affine"]
"""``group``: GroupNorm, for networks that start from nothing; ``affine``: an imported batch norm, folded."""

_GROUP = 8
"""Channels of a group: it divides every width in this package."""


class GroupNorm(nn.Module):
    """GroupNorm (Wu & He 2018) with the parameters of ``nn.GroupNorm``, in one pass over ``x`` for its statistics.

    Sums are taken plane by plane first, and masked there: on a CPU three times as fast as Flax's, with a mask twenty
    times, and equal but for rounding.
    """

    dtype: Any = jnp.float32
    epsilon: float = 1e-6

    @nn.compact
    def __call__(
        self, x: Float[Array, "n *space c"], planes: Bool[Array, "n d"] | None = None
    ) -> Float[Array, "n *space c"]:
        """Features of the same shape; only ``planes`` of the first axis of space count, if they are given."""
        n, depth, *plane, channels = x.shape
        scale = self.param("scale", nn.initializers.ones_init(), (channels,))
        bias = self.param("bias", nn.initializers.zeros_init(), (channels,))
        full = x.astype(jnp.float32)
        counted = jnp.ones((1, depth), jnp.float32) if planes is None else planes.astype(jnp.float32)
        count = counted.sum(1) * (math.prod(plane) * _GROUP)

        def mean(values: Array) -> Array:
            sums = values.sum(tuple(range(2, values.ndim - 1))).reshape(n, depth, -1, _GROUP).sum(-1)
            return jnp.repeat((sums * counted[..., None]).sum(1) / count[:, None], _GROUP, axis=-1)

        centre = mean(full)
        variance = nn.relu(mean(jnp.square(full)) - jnp.square(centre))
        factor = jax.lax.rsqrt(variance + self.epsilon) * scale[None]
        spread = (n, *(1,) * (x.ndim - 2), channels)
        y = (full - centre.reshape(spread)) * factor.reshape(spread) + bias.reshape((1,) * (x.ndim - 1) + (channels,))
        return y.astype(self.dtype)


def normalise(
    x: Float[Array, "n *space c"],
    norm: Norm,
    *,
    dtype: Any,
    name: str,
    planes: Bool[Array, "n d"] | None = None,
) -> Float[Array, "n *space c"]:
    """``x`` through a norm called ``name`` with "scale" and "bias"; call it inside a compact module.

    Where ``planes`` says which planes of the first axis of space are real, the others neither count nor stay: they come
    back as zeros, what a convolution finds beyond the edge.
    """
    if planes is None:
        return Affine(dtype, name=name)(x) if norm == "affine" else GroupNorm(dtype, name=name)(x)
    if norm == "affine":
        y = Affine(dtype, name=name)(x)
    else:
        # A scan without any slice (the filling of a batch) would have no statistics: it is normalised as a whole.
        y = GroupNorm(dtype, name=name)(x, planes | ~jnp.any(planes, axis=1, keepdims=True))
    return jnp.where(planes.reshape(planes.shape + (1,) * (x.ndim - 2)), y, jnp.zeros((), y.dtype))
