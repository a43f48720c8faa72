"""The recurrent context: masked steps are as good as not there, wherever they stand."""

import jax
import jax.numpy as jnp
import numpy as np

from ichformer.models.families.recurrent import RecurrentContext, neighbour_differences

CONTEXT = RecurrentContext(hidden=5, layers=2)
X = jax.random.normal(jax.random.key(0), (2, 7, 4))
SPACING = jnp.ones((2, 3))


def run(params, x, mask):
    return CONTEXT.apply({"params": params}, x, mask, SPACING, train=False)


def test_masked_steps_change_nothing_before_and_behind():
    params = CONTEXT.init(jax.random.key(1), X, jnp.ones((2, 7), bool), SPACING, train=False)["params"]
    inner = run(params, X[:, 2:5], jnp.ones((2, 3), bool))
    assert inner.shape == (2, 3, 10)
    mask = jnp.asarray([[False, False, True, True, True, False, False]] * 2)
    np.testing.assert_allclose(run(params, X, mask)[:, 2:5], inner, atol=1e-6)
    np.testing.assert_allclose(run(params, jnp.where(mask[..., None], X, 9.0), mask)[:, 2:5], inner, atol=1e-6)
    # Every step hears of every other one, in both directions.
    for near, far in ((0, 2), (2, 0)):
        moved = run(params, X[:, 2:5].at[:, far].add(1.0), jnp.ones((2, 3), bool))
        assert np.abs(moved[:, near] - inner[:, near]).max() > 1e-4


def test_differences_stop_at_masked_neighbours():
    x = jnp.asarray([1.0, 4.0, 9.0, 16.0]).reshape(1, 4, 1)
    before, behind = neighbour_differences(x, jnp.asarray([[True, True, True, False]]))
    np.testing.assert_array_equal(before.ravel(), [0, 3, 5, 0])
    np.testing.assert_array_equal(behind.ravel(), [-3, -5, 0, 0])
