"""The stem's pool is Flax's, and a maximum's gradient has one place."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ichformer.models.layers.pooling import largest, max_pool


@pytest.mark.slow
@pytest.mark.parametrize(("space", "strides"), [((7, 8), (2, 2)), ((5, 1, 6), (1, 2, 2)), ((4, 5, 3), (2, 2, 2))])
def test_values_and_gradients_are_flaxs(space, strides):
    x = jax.random.normal(jax.random.key(0), (2, *space, 3))

    def flaxs(x):
        return nn.max_pool(x, (3,) * len(strides), strides, ((1, 1),) * len(strides))

    expected, pull = jax.vjp(flaxs, x)
    found, ours = jax.vjp(lambda x: max_pool(x, strides), x)
    np.testing.assert_array_equal(found, expected)
    dy = jax.random.normal(jax.random.key(1), expected.shape)
    np.testing.assert_allclose(ours(dy)[0], pull(dy)[0], atol=1e-6)


@pytest.mark.slow
def test_of_equal_values_the_first_gets_the_gradient():
    grad = jax.grad(lambda x: jnp.sum(max_pool(x, (2, 2))))(jnp.ones((1, 4, 6, 1), jnp.bfloat16))
    assert grad.dtype == jnp.bfloat16
    assert sorted(grad.astype(jnp.float32).ravel().tolist()) == [0.0] * 18 + [1.0] * 6
    x = jnp.asarray([[1.0, 3.0, 3.0, 2.0], [-jnp.inf, -jnp.inf, -jnp.inf, -jnp.inf]])
    np.testing.assert_array_equal(jax.grad(lambda x: largest(x, -1)[0])(x), [[0, 1, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(largest(x, 1), x.max(1))
    np.testing.assert_array_equal(largest(x, 0), x.max(0))
    assert np.isnan(largest(x.at[0, 1].set(jnp.nan), 1)[0])
