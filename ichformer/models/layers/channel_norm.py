"""The norm that follows a convolution: group statistics, or the frozen ones of imported weights."""

from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ichformer.models.layers.affine import Affine

Norm = Literal["group", "affine"]
"""``group``: GroupNorm, for networks that start from nothing; ``affine``: an imported batch norm, folded."""


def group_norm(dtype: Any, name: str) -> nn.GroupNorm:
    """GroupNorm over 8 channels a group, so that it holds for every width of the house."""
    return nn.GroupNorm(num_groups=None, group_size=8, dtype=dtype, name=name)


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
        return Affine(dtype, name=name)(x) if norm == "affine" else group_norm(dtype, name)(x)
    real = planes.reshape(planes.shape + (1,) * (x.ndim - 2))
    if norm == "affine":
        y = Affine(dtype, name=name)(x)
    else:
        # A scan without any slice (the filling of a batch) would have no statistics: it is normalised as a whole.
        counted = real | ~jnp.any(real, axis=1, keepdims=True)
        y = group_norm(dtype, name)(x, mask=jnp.broadcast_to(counted, x.shape))
    return jnp.where(real, y, jnp.zeros((), y.dtype))
