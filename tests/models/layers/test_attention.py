"""Attention as a CPU gets it, beside JAX's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ichformer.models.layers.backends.cpu_attention import attention

BATCH, TOKENS, HEADS, WIDTH = 3, 5, 2, 4
SCALE = 0.3


def inputs(seed: int = 0) -> dict[str, jax.Array]:
    rng = np.random.default_rng(seed)
    shapes = dict.fromkeys(("query", "key", "value"), (BATCH, TOKENS, HEADS, WIDTH)) | {"bias": (HEADS, TOKENS, TOKENS)}
    return {name: jnp.asarray(3 * rng.normal(size=shape), jnp.float32) for name, shape in shapes.items()}


def masks() -> dict[str, np.ndarray | None]:
    of_tokens = np.ones((BATCH, 1, TOKENS), bool)
    of_tokens[1, :, 3:] = False
    of_pairs = np.random.default_rng(1).random((BATCH, TOKENS, TOKENS)) < 0.6
    of_pairs[0, 2] = False
    return {"none": None, "tokens": of_tokens, "pairs, one query with nobody": of_pairs}


def by_jax(query, key, value, bias, mask):
    bias, mask = None if bias is None else bias[None], None if mask is None else jnp.asarray(mask)[:, None]
    return jax.nn.dot_product_attention(query, key, value, bias=bias, mask=mask, scale=SCALE)


@pytest.mark.slow
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("mask", masks().values(), ids=masks())
def test_value_and_every_gradient_are_those_of_jax(with_bias, mask):
    arrays = inputs() if with_bias else inputs() | {"bias": None}

    def ours(query, key, value, bias):
        return attention(query, key, value, scale=SCALE, bias=bias, mask=None if mask is None else jnp.asarray(mask))

    def sum_of(attend):
        return lambda arrays: jnp.sum(jnp.sin(attend(**arrays)))

    np.testing.assert_allclose(ours(**arrays), by_jax(**arrays, mask=mask), atol=1e-5)
    found, expected = (jax.grad(sum_of(f))(arrays) for f in (ours, lambda **a: by_jax(**a, mask=mask)))
    assert found.keys() == expected.keys()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found, expected)


def test_large_logits_neither_overflow_nor_lose_their_gradient():
    arrays = {name: 100 * x for name, x in inputs().items()}
    grads = jax.grad(lambda arrays: jnp.sum(attention(**arrays, scale=1.0)))(arrays)
    assert all(np.isfinite(grad).all() for grad in grads.values())
    np.testing.assert_allclose(grads["value"].sum((0, 1)), BATCH * TOKENS, rtol=1e-5)


def test_half_precision_is_computed_in_float32():
    half = {name: x.astype(jnp.bfloat16) for name, x in inputs().items() if name != "bias"}
    found = attention(**half, scale=SCALE)
    assert found.dtype == jnp.bfloat16
    whole = attention(**{name: x.astype(jnp.float32) for name, x in half.items()}, scale=SCALE)
    np.testing.assert_array_equal(found, whole.astype(jnp.bfloat16))
