"""Attention inside windows as kernels for NVIDIA GPUs: nothing as large as tokens times tokens leaves the chip.

FlashAttention (Dao et al. 2022, algorithms 1 and 4; Dao 2023, section 3.1) with what Swin adds to it: a bias for every
pair of tokens, shared by all windows, and groups of tokens that attend to one another. cuDNN takes a bias too, but with
a mask it wants one of every window. Four kernels, in Pallas for Triton: forward; gradients at queries; at keys and
values; and at the bias, which is summed over windows in a fixed order.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from jaxtyping import Array, Float, Int

_LARGEST_BLOCK = 64
_NOBODY = -1e30
"""The logit of a token that is not attended to; one that attends to none attends to all alike."""
_FILL = -2
"""The group of what fills up the last block of tokens, and of no token."""
_BIAS_PARTS = 4
"""Programs that share the windows of one block of the bias: its gradient alone would leave most of a GPU idle."""

Residuals = tuple[Array, Array, Array, Array, Array, Array, Array, Array]


def holds(query: jax.Array) -> bool:
    """Whether the kernels take such queries: half precision, heads of a power of two that Triton multiplies."""
    return query.dtype in (jnp.bfloat16, jnp.float16) and query.shape[-1] in (16, 32, 64, 128)


def attention(
    query: Float[Array, "w n k d"],
    key: Float[Array, "w n k d"],
    value: Float[Array, "w n k d"],
    group: Int[Array, "w n"],
    attended: Int[Array, "w n"],
    *,
    bias: Float[Array, "k n n"],
    scale: float,
    interpret: bool = False,
) -> Float[Array, "w n k d"]:
    """softmax(query key^T scale + bias) value in each head, from a token of ``group`` g to those ``attended`` by g.

    Logits and sums are float32; it has first derivatives by reverse mode alone.

    Args:
      query: of every window ``w``; see ``holds``.
      key: of the same shape and dtype.
      value: likewise.
      group: of each token as it attends, from -1.
      attended: of each token as it is attended to, from -1.
      bias: added to the logits of every window.
      scale: of the products.
      interpret: run as plain JAX, on any device, to test.
    """
    tokens = query.shape[1]
    block = min(_LARGEST_BLOCK, max(16, pl.next_power_of_2(tokens)))
    fill = -tokens % block
    query, key, value = (jnp.pad(x, ((0, 0), (0, fill), (0, 0), (0, 0))) for x in (query, key, value))
    bias = jnp.pad(bias.astype(jnp.float32), ((0, 0), (0, fill), (0, fill)))
    group, attended = (jnp.pad(x, ((0, 0), (0, fill)), constant_values=_FILL) for x in (group, attended))
    return _attention(query, key, value, bias, group, attended, scale, block, interpret)[:, :tokens]


@functools.partial(jax.custom_vjp, nondiff_argnums=(6, 7, 8))
def _attention(
    query: Array,
    key: Array,
    value: Array,
    bias: Array,
    group: Array,
    attended: Array,
    scale: float,
    block: int,
    interpret: bool,
) -> Array:
    return _forward(query, key, value, bias, group, attended, scale, block, interpret)[0]


def _forward(
    query: Array,
    key: Array,
    value: Array,
    bias: Array,
    group: Array,
    attended: Array,
    scale: float,
    block: int,
    interpret: bool,
) -> tuple[Array, Residuals]:
    sums = jax.ShapeDtypeStruct((query.shape[0], query.shape[2], query.shape[1]), jnp.float32)
    some, every = _specs(query, block)
    y, log_sum = pl.pallas_call(
        functools.partial(_forward_kernel, scale=scale, block=block),
        grid=_grid(query, block),
        in_specs=[some.tokens, every.tokens, every.tokens, some.bias, some.group, every.group],
        out_specs=[some.tokens, some.sums],
        out_shape=[jax.ShapeDtypeStruct(query.shape, value.dtype), sums],
        **_how(interpret),
    )(query, key, value, bias, group, attended)
    return y, (query, key, value, bias, group, attended, y, log_sum)


def _backward(
    scale: float, block: int, interpret: bool, kept: Residuals, dy: Array
) -> tuple[Array, Array, Array, Array, None, None]:
    query, key, value, bias, group, attended, y, log_sum = kept
    windows, tokens, heads, _ = query.shape
    along = jnp.moveaxis(jnp.sum(dy.astype(jnp.float32) * y.astype(jnp.float32), axis=-1), 1, 2)
    some, every = _specs(query, block)
    given = (query, key, value, bias, group, attended, dy, log_sum, along)
    dquery = pl.pallas_call(
        functools.partial(_query_kernel, scale=scale, block=block),
        grid=_grid(query, block),
        in_specs=[
            *(some.tokens, every.tokens, every.tokens, some.bias, some.group, every.group),
            *(some.tokens, some.sums, some.sums),
        ],
        out_specs=some.tokens,
        out_shape=jax.ShapeDtypeStruct(query.shape, query.dtype),
        **_how(interpret),
    )(*given)
    dkey, dvalue = pl.pallas_call(
        functools.partial(_key_kernel, scale=scale, block=block),
        grid=_grid(query, block),
        in_specs=[
            *(every.tokens, some.tokens, some.tokens, some.bias_column, every.group, some.group),
            *(every.tokens, every.sums, every.sums),
        ],
        out_specs=[some.tokens, some.tokens],
        out_shape=[jax.ShapeDtypeStruct(x.shape, x.dtype) for x in (key, value)],
        **_how(interpret),
    )(*given)
    parts = min(_BIAS_PARTS, windows)
    blocks = tokens // block
    whole = [pl.BlockSpec(x.shape, functools.partial(_origin, x.ndim)) for x in given]
    dbias = pl.pallas_call(
        functools.partial(_bias_kernel, scale=scale, block=block, windows=windows, parts=parts, blocks=blocks),
        grid=(heads, blocks * blocks, parts),
        in_specs=whole,
        out_specs=pl.BlockSpec((None, None, block, block), lambda h, at, part: (part, h, at // blocks, at % blocks)),
        out_shape=jax.ShapeDtypeStruct((parts, *bias.shape), jnp.float32),
        **_how(interpret),
    )(*given)
    return dquery, dkey, dvalue, jnp.sum(dbias, axis=0), None, None


_attention.defvjp(_forward, _backward)


def _forward_kernel(
    query: Any, key: Any, value: Any, bias: Any, group: Any, attended: Any,
    y: Any, log_sum: Any, *, scale: float, block: int,
) -> None:  # fmt: skip
    q, of = query[...], group[...]

    def add(j: Array, sums: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        at = pl.ds(j * block, block)
        total, most, norm = sums
        logits = _logits(q, key[at, :], bias[:, at], of, attended[at], scale)[0]
        new_most = jnp.maximum(most, jnp.max(logits, axis=1))
        weights, shrink = jnp.exp(logits - new_most[:, None]), jnp.exp(most - new_most)
        v = value[at, :]
        total = total * shrink[:, None] + triton.dot(weights.astype(v.dtype), v)
        return total, new_most, norm * shrink + jnp.sum(weights, axis=1)

    start = jnp.zeros(q.shape, jnp.float32), jnp.full(block, -jnp.inf, jnp.float32), jnp.zeros(block, jnp.float32)
    total, most, norm = jax.lax.fori_loop(0, key.shape[0] // block, add, start)
    y[...] = (total / norm[:, None]).astype(y.dtype)
    log_sum[...] = most + jnp.log(norm)


def _query_kernel(
    query: Any, key: Any, value: Any, bias: Any, group: Any, attended: Any, dy: Any, log_sum: Any, along: Any,
    dquery: Any, *, scale: float, block: int,
) -> None:  # fmt: skip
    q, of, g, log_norm, own = query[...], group[...], dy[...], log_sum[...], along[...]

    def add(j: Array, total: Array) -> Array:
        at = pl.ds(j * block, block)
        k = key[at, :]
        _, dlogits = _gradient(q, k, value[at, :], bias[:, at], of, attended[at], g, log_norm, own, scale)
        return total + triton.dot(dlogits.astype(k.dtype), k)

    total = jax.lax.fori_loop(0, key.shape[0] // block, add, jnp.zeros(q.shape, jnp.float32))
    dquery[...] = (total * scale).astype(dquery.dtype)


def _key_kernel(
    query: Any, key: Any, value: Any, bias: Any, group: Any, attended: Any, dy: Any, log_sum: Any, along: Any,
    dkey: Any, dvalue: Any, *, scale: float, block: int,
) -> None:  # fmt: skip
    k, v, by = key[...], value[...], attended[...]

    def add(i: Array, sums: tuple[Array, Array]) -> tuple[Array, Array]:
        at = pl.ds(i * block, block)
        q, g = query[at, :], dy[at, :]
        weights, dlogits = _gradient(q, k, v, bias[at, :], group[at], by, g, log_sum[at], along[at], scale)
        dk, dv = sums
        dv = dv + triton.dot(weights.astype(g.dtype), g, trans_a=True)
        return dk + triton.dot(dlogits.astype(q.dtype), q, trans_a=True), dv

    zeros = jnp.zeros(k.shape, jnp.float32)
    dk, dv = jax.lax.fori_loop(0, query.shape[0] // block, add, (zeros, zeros))
    dkey[...], dvalue[...] = (dk * scale).astype(dkey.dtype), dv.astype(dvalue.dtype)


def _bias_kernel(
    query: Any, key: Any, value: Any, bias: Any, group: Any, attended: Any, dy: Any, log_sum: Any, along: Any,
    dbias: Any, *, scale: float, block: int, windows: int, parts: int, blocks: int,
) -> None:  # fmt: skip
    head, at, part = (pl.program_id(axis) for axis in range(3))
    rows, columns = pl.ds(at // blocks * block, block), pl.ds(at % blocks * block, block)
    b = bias[head, rows, columns]

    def add(i: Array, total: Array) -> Array:
        w = part + i * parts
        q, k, v = query[w, rows, head, :], key[w, columns, head, :], value[w, columns, head, :]
        g, log_norm, own = dy[w, rows, head, :], log_sum[w, head, rows], along[w, head, rows]
        return total + _gradient(q, k, v, b, group[w, rows], attended[w, columns], g, log_norm, own, scale)[1]

    shares = (windows - part + parts - 1) // parts
    dbias[...] = jax.lax.fori_loop(0, shares, add, jnp.zeros((block, block), jnp.float32))


def _logits(q: Array, k: Array, bias: Array, group: Array, attended: Array, scale: float) -> tuple[Array, Array]:
    """Of one block, and which of them count."""
    counts = group[:, None] == attended[None, :]
    logits = triton.dot(q, k, trans_b=True) * scale + bias
    return jnp.where(counts, logits, jnp.where(attended == _FILL, -jnp.inf, _NOBODY)[None, :]), counts


def _gradient(
    q: Array,
    k: Array,
    v: Array,
    bias: Array,
    group: Array,
    attended: Array,
    dy: Array,
    log_norm: Array,
    along: Array,
    scale: float,
) -> tuple[Array, Array]:
    """The weights of one block, computed anew, and the gradient at its logits."""
    logits, counts = _logits(q, k, bias, group, attended, scale)
    weights = jnp.exp(logits - log_norm[:, None])
    return weights, jnp.where(counts, weights * (triton.dot(dy, v, trans_b=True) - along[:, None]), 0.0)


class _Specs:
    """How a program (window, head, block) sees the arrays: its block of tokens, or all of them."""

    def __init__(self, tokens: tuple[int, ...], size: int, at: Callable[[Any], Any]) -> None:
        n, d = tokens[1], tokens[3]
        self.tokens = pl.BlockSpec((None, size, None, d), lambda w, h, i: (w, at(i), h, 0))
        self.group = pl.BlockSpec((None, size), lambda w, _, i: (w, at(i)))
        self.sums = pl.BlockSpec((None, None, size), lambda w, h, i: (w, h, at(i)))
        self.bias = pl.BlockSpec((None, size, n), lambda _, h, i: (h, at(i), 0))
        self.bias_column = pl.BlockSpec((None, n, size), lambda _, h, i: (h, 0, at(i)))


def _specs(query: Array, block: int) -> tuple[_Specs, _Specs]:
    return _Specs(query.shape, block, lambda i: i), _Specs(query.shape, query.shape[1], lambda _: 0)


def _grid(query: Array, block: int) -> tuple[int, int, int]:
    return query.shape[0], query.shape[2], query.shape[1] // block


def _origin(ndim: int, *program: Any) -> tuple[int, ...]:
    del program
    return (0,) * ndim


def _how(interpret: bool) -> dict[str, Any]:
    return {"interpret": interpret, "compiler_params": triton.CompilerParams(num_warps=4, num_stages=3)}
