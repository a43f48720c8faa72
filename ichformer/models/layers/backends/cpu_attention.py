"""Attention written so that XLA's CPU backend is fast at it: heads before tokens, and a backward pass of its own.

What is as large as tokens times tokens goes through memory as rarely as it can: weights are divided by their sum only
where they have met the values, and the backward pass computes them anew (Dao et al. 2022, "FlashAttention", appendix
B.2), in place of reading them and what led to them.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

Residuals = tuple[Array, Array, Array, Array | None, Array | None, Array, Array]


def attention(
    query: Float[Array, "b n k d"],
    key: Float[Array, "b n k d"],
    value: Float[Array, "b n k d"],
    *,
    scale: float,
    bias: Float[Array, "k n n"] | None = None,
    mask: Bool[Array, "b #n n"] | None = None,
) -> Float[Array, "b n k d"]:
    """softmax(query key^T scale + bias) value in each head, over the tokens that ``mask`` has for a query.

    Computed in float32, returned in the dtype of ``value``; it has first derivatives by reverse mode alone.
    """
    q, k, v = (jnp.swapaxes(x.astype(jnp.float32), 1, 2) for x in (query, key, value))
    y = _attention(q * scale, k, v, bias, None if mask is None else mask[:, None])
    return jnp.swapaxes(y, 1, 2).astype(value.dtype)


@jax.custom_vjp
def _attention(query: Array, key: Array, value: Array, bias: Array | None, mask: Array | None) -> Array:
    return _forward(query, key, value, bias, mask)[0]


def _forward(query: Array, key: Array, value: Array, bias: Array | None, mask: Array | None) -> tuple[Array, Residuals]:
    weights = _weights(query, key, bias, mask)
    share = 1 / jnp.sum(weights, axis=-1, keepdims=True)
    y = jnp.einsum("bkqs,bksd->bkqd", weights, value) * share
    return y, (query, key, value, bias, mask, share, y)


def _backward(kept: Residuals, dy: Float[Array, "b k n d"]) -> tuple[Array, Array, Array, Array | None, None]:
    query, key, value, bias, mask, share, y = kept
    weights, dy = _weights(query, key, bias, mask), dy * share
    along = jnp.sum(dy * y, axis=-1, keepdims=True)
    dlogits = weights * (jnp.einsum("bkqd,bksd->bkqs", dy, value) - along)
    if mask is not None:
        dlogits = jnp.where(mask, dlogits, 0.0)
    dquery = jnp.einsum("bkqs,bksd->bkqd", dlogits, key)
    dkey = jnp.einsum("bkqs,bkqd->bksd", dlogits, query)
    dvalue = jnp.einsum("bkqs,bkqd->bksd", weights, dy)
    return dquery, dkey, dvalue, None if bias is None else jnp.sum(dlogits, axis=0), None


_attention.defvjp(_forward, _backward)


def _weights(query: Array, key: Array, bias: Array | None, mask: Array | None) -> Float[Array, "b k n n"]:
    """Not divided by their sum; the largest of a query is 1, and all are where it may attend to none."""
    logits = jnp.einsum("bkqd,bksd->bkqs", query, key)
    if bias is not None:
        logits = logits + bias[None]
    if mask is not None:
        logits = jnp.where(mask, logits, jnp.finfo(jnp.float32).min)
    return jnp.exp(logits - jnp.max(logits, axis=-1, keepdims=True))
