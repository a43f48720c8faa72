"""Standardises the channels of an input, so that rare values such as blood count as much as common ones."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

STANDARDISE = "standardise"
"""Its name in a model, by which a training finds it (``training.standardise``)."""


class Standardise(nn.Module):
    """``(x - mean) / sd`` over the last axis (LeCun et al. 1998, "Efficient BackProp", section 4.3).

    Both are constants that lie among the parameters, so that they go where these go: no gradient reaches them. They
    start with what soft tissue has in the usual windows, until ``training.standardise`` puts in those of the scans.
    """

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "*grid c"]) -> Float[Array, "*grid c"]:
        """Features of the same shape."""
        mean = self.param("mean", nn.initializers.constant(0.4), x.shape[-1:])
        sd = self.param("sd", nn.initializers.constant(1 / 3), x.shape[-1:])
        shape = (1,) * (x.ndim - 1) + x.shape[-1:]
        mean, sd = (jax.lax.stop_gradient(value).reshape(shape) for value in (mean, sd))
        return ((x - mean) / sd).astype(self.dtype)
