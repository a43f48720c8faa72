"""A scale and a bias for each channel, as a batch norm with frozen statistics applies them."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float


class Affine(nn.Module):
    """``scale * x + bias`` over the last axis; imported batch norms are folded into it.

    Frozen statistics rather than moving ones: a batch here is a few scans with padded slices, and a loss that depends
    on who shares the device would differ from layout to layout. Networks that start from nothing use GroupNorm.
    """

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "*grid c"]) -> Float[Array, "*grid c"]:
        """Features of the same shape."""
        shape = (1,) * (x.ndim - 1) + x.shape[-1:]
        scale = self.param("scale", nn.initializers.ones_init(), x.shape[-1:])
        bias = self.param("bias", nn.initializers.zeros_init(), x.shape[-1:])
        return x * scale.reshape(shape).astype(self.dtype) + bias.reshape(shape).astype(self.dtype)
