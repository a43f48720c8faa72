"""Dilated convolutions, computed by plain ones."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


def dilated(
    convolve: Callable[[Array], Array], x: Float[Array, "n *space c"], dilation: int
) -> Float[Array, "n *space d"]:
    """``convolve``, which keeps the size of space, with its taps ``dilation`` apart on every axis.

    A dilated convolution never mixes positions that differ modulo ``dilation``: each such subset is an image of its
    own, smaller by that factor, for the dense convolution ("a trous", Holschneider et al. 1989).
    """
    n, *space, channels = x.shape
    rank = len(space)
    counts = [-(-size // dilation) for size in space]
    x = jnp.pad(x, [(0, 0), *((0, count * dilation - size) for size, count in zip(space, counts, strict=True)), (0, 0)])
    x = x.reshape(n, *(k for count in counts for k in (count, dilation)), channels)
    # n, the phase of each axis, the count of each axis, channels
    order = (0, *range(2, 2 * rank + 1, 2), *range(1, 2 * rank, 2), 2 * rank + 1)
    x = convolve(x.transpose(order).reshape(n * dilation**rank, *counts, channels))
    x = x.reshape(n, *(dilation,) * rank, *counts, x.shape[-1])
    back = (0, *(axis for i in range(rank) for axis in (rank + 1 + i, 1 + i)), 2 * rank + 1)
    x = x.transpose(back).reshape(n, *(count * dilation for count in counts), x.shape[-1])
    return x[(slice(None), *(slice(size) for size in space))]
