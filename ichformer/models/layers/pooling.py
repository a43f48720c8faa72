"""Pools: the mean over a slice, and maxima with correct gradients on every backend.

A compiler may compute a number anew for the backward pass and round it otherwise. JAX asks which input equals the
maximum, and then none does: no gradient, or 0/0 (jax-ml/jax issue 40564). In the maxima here order decides instead.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from ichformer.models.layers.backends.backend import as_on_cpu, when_lowered


class SliceMean(nn.Module):
    """The mean over a slice; a module, so that ``encoders.visible`` can say which places it is to count."""

    def __call__(
        self, x: Float[Array, "n h w c"], counted: Bool[Array, "n h w"] | None = None
    ) -> Float[Array, "n 1 1 c"]:
        """Features [N,H,W,C] to [N,1,1,C], over ``counted`` places alone if they are given."""
        return jnp.mean(x, (1, 2), keepdims=True, where=None if counted is None else counted[..., None])


def largest(x: Float[Array, "..."], axis: int) -> Float[Array, "..."]:
    """The maximum over an axis; its gradient goes to where it lies, the first place of equals."""
    place = jnp.argmax(lax.stop_gradient(x), axis, keepdims=True)
    here = lax.broadcasted_iota(place.dtype, x.shape, axis % x.ndim) == place
    return jnp.sum(jnp.where(here, x, 0), axis)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def max_pool(x: Float[Array, "n *space c"], strides: tuple[int, ...]) -> Float[Array, "n *space2 c"]:
    """The largest of three on every axis of space around each ``strides``-th place; nothing counts beyond the edge.

    XLA scatters the gradient window by window, which on a CPU takes two to three times as long as taking it axis by
    axis. Of equal values one gets the gradient.
    """
    return _whole(x, strides)


def _keep(x: Array, strides: tuple[int, ...]) -> tuple[Array, Array]:
    return _whole(x, strides), x


def _gradient(strides: tuple[int, ...], x: Array, dy: Array) -> tuple[Array]:
    def through(pool: Callable[..., Array]) -> Callable[[Array, Array], Array]:
        return lambda x, dy: jax.vjp(lambda x: pool(x, strides), x)[1](dy)[0]

    return (when_lowered(x, dy, cpu=through(_by_axis), default=through(_whole)),)


max_pool.defvjp(_keep, _gradient)


def _whole(x: Array, strides: tuple[int, ...]) -> Array:
    if as_on_cpu.value and len(strides) > 2:  # what takes the way of a CPU, ONNX, has no such pool in three dimensions
        return _by_axis(x, strides)
    return nn.max_pool(x, (3,) * len(strides), strides, ((1, 1),) * len(strides))


def _by_axis(x: Array, strides: tuple[int, ...]) -> Array:
    for axis, stride in enumerate(strides, 1):
        last = (x.shape[axis] - 1) // stride * stride
        padded = jnp.pad(x, [(1, 1) if k == axis else (0, 0) for k in range(x.ndim)], constant_values=-jnp.inf)
        before, here, behind = (lax.slice_in_dim(padded, tap, tap + last + 1, stride, axis) for tap in range(3))
        x = jnp.where(before >= here, before, here)
        x = jnp.where(x >= behind, x, behind)
    return x
