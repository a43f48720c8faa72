"""Counts the floating-point operations of a model from its trace, without compiling it."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

SCAN_SHAPE = (32, 256, 256, 3)
"""The named input of the registry's figures: one scan of 32 slices of 256 x 256 pixels, three windows as channels."""


def scan_inputs(*shape: int, batch: int = 1) -> tuple[Any, Any, Any]:
    """Shapes of a model's inputs for ``batch`` scans of [S,H,W,C]."""
    x = jax.ShapeDtypeStruct((batch, *shape), jnp.float32)
    return x, jax.ShapeDtypeStruct((batch, shape[0]), jnp.bool_), jax.ShapeDtypeStruct((batch, 3), jnp.float32)


def count_flops(function: Callable[..., Any], *args: Any) -> int:
    """Operations of the matrix products and convolutions of ``function(*args)``, two for each product that is added.

    Exact where XLA's own ``cost_analysis`` is not: that counts the body of a scan once, however often it runs. What
    is done element by element (norms, activations, softmax) is left out, as is usual for utilisations. Products with
    the zeros that pad a convolution count, those with the zeros between the elements of a dilated one do not. Where the
    formulation depends on the platform, the default one counts.

    Args:
      function: what ``jax.make_jaxpr`` can trace.
      args: arrays or their shapes.

    Raises:
      ValueError: a loop whose length is not known before it runs.
    """
    return _flops(jax.make_jaxpr(function)(*args).jaxpr)


def _flops(jaxpr: core.Jaxpr) -> int:
    return sum(_of_equation(eqn) for eqn in jaxpr.eqns)


def _of_equation(eqn: core.JaxprEqn) -> int:
    name = eqn.primitive.name
    inner = list(core.jaxprs_in_params(eqn.params))
    if name == "dot_general":
        return _dot(eqn)
    if name == "conv_general_dilated":
        return _convolution(eqn)
    if name == "dot_product_attention_fwd_wrapper":
        return _fused_attention(eqn)
    if name == "scan":
        return eqn.params["length"] * sum(_flops(part) for part in inner)
    if name == "while" and any(_flops(part) for part in inner):
        raise ValueError("a while loop's length is not known: write it as a scan, or count one round of it")
    if name == "cond":
        platforms = eqn.params.get("branches_platforms")
        return _flops(inner[platforms.index(None)]) if platforms else max(_flops(branch) for branch in inner)
    return sum(_flops(part) for part in inner)


def _dot(eqn: core.JaxprEqn) -> int:
    (contracted, _), _ = eqn.params["dimension_numbers"]
    first = _shape(eqn.invars[0])
    return 2 * math.prod(_shape(eqn.outvars[0])) * math.prod(first[axis] for axis in contracted)


def _convolution(eqn: core.JaxprEqn) -> int:
    features, _, *_ = eqn.params["dimension_numbers"].rhs_spec
    kernel = _shape(eqn.invars[1])
    terms = math.prod(kernel) // kernel[features]
    return 2 * math.prod(_shape(eqn.outvars[0])) * terms // math.prod(eqn.params["lhs_dilation"])


def _fused_attention(eqn: core.JaxprEqn) -> int:
    """cuDNN's kernel takes queries and keys as [B,T,N,H]; both products are as large."""
    query, key = _shape(eqn.invars[0]), _shape(eqn.invars[1])
    return 2 * 2 * math.prod(query) * key[1]


def _shape(variable: Any) -> tuple[int, ...]:
    return tuple(variable.aval.shape)
