"""Measures of collapse at their ends and between."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ichformer.statistics.probes.collapse import effective_rank, mean_similarity, mean_spread, measure_collapse

FEATURES = st.tuples(st.integers(2, 8), st.integers(1, 8)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.floats(-100, 100, width=32))
)


@given(FEATURES)
def test_all_measures_stay_within_their_ends(features):
    found = measure_collapse(features)
    n, d = features.shape
    assert 0 <= found.effective_rank <= min(n, d) + 1e-9
    assert found.effective_rank >= 1 - 1e-9 or not features.any()
    assert -1e-9 <= found.spread <= found.full_spread + 1e-9
    assert -1 / (n - 1) - 1e-9 <= found.similarity <= 1 + 1e-9


@given(FEATURES, st.floats(0.01, 100), st.randoms(use_true_random=False))
def test_scale_and_order_do_not_matter(features, factor, random):
    order = random.sample(range(len(features)), len(features))
    for measure in (effective_rank, mean_spread, mean_similarity):
        assert measure(features[order] * factor) == pytest.approx(measure(features), abs=1e-6)


@given(st.integers(2, 30), arrays(np.float64, 5, elements=st.floats(0.5, 2)))
def test_the_same_features_of_every_scan_are_a_collapse(n, features):
    found = measure_collapse(np.tile(features, (n, 1)))
    assert found.effective_rank == pytest.approx(1)
    assert found.spread == pytest.approx(0, abs=1e-7)
    assert found.similarity == pytest.approx(1)
    assert found.has_happened


@pytest.mark.parametrize(("spread", "collapsed"), [(1e-1, False), (1e-2, False), (1e-4, True), (0.0, True)])
def test_a_collapse_is_where_nearly_nothing_tells_scans_apart(spread, collapsed):
    rng = np.random.default_rng(0)
    features = np.ones(16) + spread * rng.standard_normal((40, 16))
    assert measure_collapse(features).has_happened == collapsed


def test_features_that_are_all_0_have_collapsed():
    assert measure_collapse(np.zeros((4, 3))).has_happened


def test_features_in_all_directions_alike():
    rng = np.random.default_rng(0)
    found = measure_collapse(rng.normal(size=(4000, 16)))
    assert found.effective_rank == pytest.approx(16, rel=0.01)
    assert found.spread == pytest.approx(found.full_spread, rel=0.01)
    assert found.similarity == pytest.approx(0, abs=0.01)
    assert effective_rank(np.diag([1.0, 1, 1, 0])) == pytest.approx(3)
    assert effective_rank(np.diag([3.0, 1])) == pytest.approx(np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25))))


def test_similarity_is_the_mean_over_pairs():
    features = np.random.default_rng(1).normal(size=(6, 3))
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    pairs = (unit @ unit.T)[np.triu_indices(6, 1)]
    assert mean_similarity(features) == pytest.approx(pairs.mean())
