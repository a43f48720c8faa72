"""Dense layers as plain matrices: what Flax computes, without the copies."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ichformer.models.layers.dense import Dense, DenseGeneral
from tests.models.test_slice_vit import noise_like

SIZES = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(lead=SIZES, inner=SIZES, features=SIZES, seed=st.integers(0, 9))
def test_dense_general_is_flax_s_in_value_and_gradients(lead, inner, features, seed):
    x = np.random.default_rng(seed).normal(size=(*lead, *inner)).astype(np.float32)
    options = {"features": features, "axis": tuple(range(-len(inner), 0))}
    ours, theirs = DenseGeneral(**options), nn.DenseGeneral(**options)
    params = noise_like(jax.eval_shape(lambda: theirs.init(jax.random.key(0), x)), seed)

    def asked(layer, params, x):
        def loss(params, x):
            y = layer.apply(params, x)
            return jnp.sum(jnp.sin(y)), y

        return jax.grad(loss, (0, 1), has_aux=True)(params, x)

    found, wanted = jax.jit(lambda *inputs: [asked(layer, *inputs) for layer in (ours, theirs)])(params, x)
    assert found[1].shape == (*lead, *features)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), found, wanted)


@pytest.mark.parametrize(("dense", "copies"), [(Dense, False), (nn.Dense, True)])
def test_gradients_copy_nothing_transposed(dense, copies):
    """The control is what the layer is for: should XLA learn it, ``rows_times`` can go."""
    layer, x = dense(256), jnp.ones((4, 32, 64))
    params = layer.init(jax.random.key(0), x)
    grad = jax.jit(jax.grad(lambda params, x: jnp.sum(jnp.square(layer.apply(params, x))), (0, 1)))
    compiled = grad.lower(params, x).compile().as_text()
    assert bool(re.search(r" (transpose|copy)\(", compiled)) is copies
