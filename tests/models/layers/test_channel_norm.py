"""GroupNorm in one pass is Flax's."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ichformer.models.layers.channel_norm import GroupNorm


@pytest.mark.slow
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("space", [(6, 5), (4, 3, 5)])
def test_values_and_gradients_are_flaxs(space, masked):
    x = 1 + jax.random.normal(jax.random.key(0), (2, *space, 16))
    planes = jnp.arange(space[0])[None] < jnp.asarray([[2], [space[0]]]) if masked else None
    full = planes.reshape((*planes.shape, *(1,) * len(space))) if masked else None
    params = {"scale": jnp.linspace(0.5, 2, 16), "bias": jnp.linspace(-1, 1, 16)}
    weights = jax.random.normal(jax.random.key(1), x.shape)

    def mine(params, x):
        y = GroupNorm().apply({"params": params}, x, planes)
        return jnp.sum(y * weights), y

    def flaxs(params, x):
        norm = nn.GroupNorm(num_groups=None, group_size=8)
        y = norm.apply({"params": params}, x, mask=jnp.broadcast_to(full, x.shape) if masked else None)
        return jnp.sum(y * weights), y

    first, second = (jax.grad(f, argnums=(0, 1), has_aux=True)(params, x) for f in (mine, flaxs))
    np.testing.assert_allclose(first[1], second[1], atol=1e-5)
    for ours, theirs in zip(jax.tree.leaves(first[0]), jax.tree.leaves(second[0]), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max())
    half = GroupNorm(jnp.bfloat16).apply({"params": params}, x.astype(jnp.bfloat16), planes)
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), first[1], atol=0.06)
