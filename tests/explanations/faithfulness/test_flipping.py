"""Pixel flipping of a model whose score is a weighted sum, where the best order is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ichformer.explanations.faithfulness.fillings import from_neighbours, from_scan
from ichformer.explanations.faithfulness.flipping import flipping_curves
from ichformer.explanations.faithfulness.infidelity import infidelity
from ichformer.explanations.faithfulness.stability import max_sensitivity
from tests.explanations.scored import Linear, score_of

STEPS = 8


@pytest.fixture(scope="module")
def linear():
    """The score of a batch of two scans, the second with a slice of padding, and the exact share of each voxel."""
    x = jax.random.uniform(jax.random.key(0), (2, 3, 8, 8, 1))
    mask, spacing_mm = jnp.ones((2, 3), bool).at[1, 2].set(False), jnp.ones((2, 3))
    model = Linear()
    variables = model.init(jax.random.key(1), x, mask, spacing_mm, False)
    score = score_of(model, variables, x, mask, spacing_mm, label=0, level="scan")
    heights = (1.0 + jnp.arange(3))[None, :, None, None]
    exact = (x * variables["params"]["weights"][None])[..., 0] * heights * mask[:, :, None, None]
    return score, exact


@pytest.fixture(scope="module")
def curves(linear):
    score, _ = linear
    return jax.jit(lambda maps: flipping_curves(score, maps, from_scan(score.reference), steps=STEPS))


def test_scores_are_those_without_the_voxels(linear, curves):
    score, exact = linear
    found = curves(exact)
    for scan in range(2):
        real = np.asarray(exact)[scan, np.asarray(score.slice_mask)[scan]].ravel()
        for curve, order in ((found.most_first, -real), (found.least_first, real)):
            ranked = real[np.argsort(order)]
            gone = np.round(np.linspace(0, 1, STEPS + 1) * real.size).astype(int)
            np.testing.assert_allclose(curve[scan], [ranked[n:].sum() for n in gone], atol=1e-4)


def test_no_order_beats_that_of_the_exact_shares(linear, curves):
    _, exact = linear
    best = curves(exact)
    for seed in range(5):
        other = curves(jax.random.normal(jax.random.key(seed), exact.shape))
        assert (best.deletion < other.deletion).all()
        assert (best.insertion > other.insertion).all()
        assert (np.abs(other.symmetric_relevance_gain) < 0.3 * best.symmetric_relevance_gain).all()


def test_the_opposite_map_gains_the_opposite(linear, curves):
    _, exact = linear
    found, opposite = curves(exact), curves(-exact)
    np.testing.assert_allclose(opposite.symmetric_relevance_gain, -found.symmetric_relevance_gain, rtol=1e-5)


def test_a_flat_map_says_nothing(linear, curves):
    """In reading order the highest slice, which weighs most here, would always be the last to go."""
    _, exact = linear
    flat = curves(jnp.zeros_like(exact))
    assert (np.abs(flat.symmetric_relevance_gain) < 0.3 * curves(exact).symmetric_relevance_gain).all()


def test_infidelity_is_0_for_exact_shares_and_1_for_nothing(linear):
    score, exact = linear
    run = jax.jit(lambda maps: infidelity(score, maps, block=(1, 3, 3), samples=16))
    np.testing.assert_allclose(run(exact), 0.0, atol=1e-5)
    np.testing.assert_allclose(run(5 * exact), 0.0, atol=1e-5)  # the unit of a map does not matter
    np.testing.assert_allclose(run(jnp.zeros_like(exact)), 1.0, atol=1e-5)
    assert (run(jax.random.normal(jax.random.key(3), exact.shape)) > 0.5).all()


def test_sensitivity_is_the_largest_change_of_the_map(linear):
    score, _ = linear

    def explain(given):
        return 100.0 + given.hu.astype(jnp.float32)

    voxels = score.hu[0].size
    assert (max_sensitivity(score, explain, radius_hu=0.0) == 0).all()
    found = max_sensitivity(score, explain, radius_hu=3.0)
    # Noise of HU that is uniform in -3 to 3 and rounded: its mean square is 3.2, that of the map is 10000.
    np.testing.assert_allclose(found, np.sqrt(3.2 / 1e4), rtol=4 / np.sqrt(voxels))


def test_a_hole_is_filled_with_what_lies_around():
    ramp = jnp.broadcast_to(jnp.linspace(0.2, 0.8, 12)[None, None, None, :, None], (1, 2, 12, 12, 1))
    gone = jnp.zeros((1, 2, 12, 12), bool).at[0, 1, 4:8, 4:8].set(True)
    filled = from_neighbours(passes=120, noise=0.0)(ramp, gone)
    np.testing.assert_allclose(filled, ramp, atol=1e-3)  # a ramp is its own mean of neighbours
    grainy = from_neighbours(passes=120, noise=0.05)(ramp, gone)
    np.testing.assert_array_equal(grainy[~gone], ramp[~gone])
    assert 0.02 < float(jnp.std((grainy - ramp)[gone])) < 0.08
