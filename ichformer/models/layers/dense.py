"""Dense layers, computed as products of two matrices on a CPU."""

import functools
import math
from typing import Any

import flax.linen as nn
from jax import lax
from jaxtyping import Array, Shaped

from ichformer.models.layers.backends.backend import by_platform

Axes = tuple[tuple[tuple[int, ...], tuple[int, ...]], tuple[tuple[int, ...], tuple[int, ...]]]


def rows_times(x: Shaped[Array, "..."], kernel: Shaped[Array, "..."], axes: Axes, **how: Any) -> Shaped[Array, "..."]:
    """``lax.dot_general`` of the last axes of ``x`` with the first of ``kernel``, as a dense layer calls it.

    On a CPU both become matrices first: XLA then reads the transposed side of the gradient at the kernel as it lies,
    where with several axes to sum over it would copy it. Elsewhere axes stay apart, as each may lie on other devices.
    """
    return by_platform(
        x,
        kernel,
        cpu=lambda x, kernel: _as_matrices(x, kernel, axes, **how),
        default=lambda x, kernel: lax.dot_general(x, kernel, axes, **how),
    )


def _as_matrices(x: Array, kernel: Array, axes: Axes, **how: Any) -> Array:
    inner = len(axes[0][0])
    lead, features = x.shape[: x.ndim - inner], kernel.shape[inner:]
    width = math.prod(kernel.shape[:inner])
    matrices = x.reshape(math.prod(lead), width), kernel.reshape(width, math.prod(features))
    return lax.dot_general(*matrices, (((1,), (0,)), ((), ())), **how).reshape(*lead, *features)


Dense = functools.partial(nn.Dense, dot_general=rows_times)
DenseGeneral = functools.partial(nn.DenseGeneral, dot_general=rows_times)
