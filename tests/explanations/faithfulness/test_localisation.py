"""Where a map points and how much of it lies in few places, beside counts by hand and SciPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from ichformer.explanations.faithfulness.concentration import complexity, sparseness
from ichformer.explanations.faithfulness.localisation import best_iou, mass_accuracy, rank_accuracy
from ichformer.explanations.faithfulness.stability import similarity

maps = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=1, max_size=12).map(
    lambda cells: (np.asarray([float(v) for v, _ in cells]), np.asarray([t for _, t in cells]))
)


def iou(values, target, threshold):
    found = values >= threshold
    return (found & target).sum() / (found | target).sum()


@given(maps)
def test_no_threshold_gives_more_than_the_best(made):
    values, target = made
    found = best_iou(values, target)
    if not target.any():
        assert found is None
        return
    value, threshold = found
    assert value == pytest.approx(iou(values, target, threshold))
    assert value == pytest.approx(max(iou(values, target, t) for t in values))


@given(maps)
def test_ties_count_as_the_mean_of_all_ways_to_break_them(made):
    values, target = made
    found = rank_accuracy(values, target)
    if not target.any():
        assert found is None
        return
    rng, count = np.random.default_rng(0), int(target.sum())
    drawn = [target[np.lexsort((rng.random(values.size), -values))[:count]].mean() for _ in range(400)]
    assert found == pytest.approx(np.mean(drawn), abs=0.12)


def test_mass_lies_in_the_target_or_not():
    values, target = np.asarray([[2.0, 0.0], [-7.0, 6.0]]), np.asarray([[True, True], [True, False]])
    assert mass_accuracy(values, target) == 0.25
    assert mass_accuracy(values, ~target) == 0.75
    assert mass_accuracy(-np.abs(values), target) is None


@given(st.lists(st.floats(-5, 5, allow_subnormal=False), min_size=2, max_size=20))
def test_concentration_is_that_of_scipy_and_of_the_gini_of_pairs(numbers):
    values = np.asarray(numbers)
    size = np.abs(values)
    if size.max() < 1e-6:
        return
    assert complexity(values) == pytest.approx(entropy(size), abs=1e-9)
    pairs = np.abs(size[:, None] - size[None]).mean() / (2 * size.mean())
    assert sparseness(values) == pytest.approx(pairs, abs=1e-9)


def test_one_cell_with_all_is_simple_and_zeros_are_nothing():
    assert complexity(np.asarray([0.0, 4.0])) == 0
    assert sparseness(np.eye(1, 100)) == pytest.approx(0.99)
    assert complexity(np.zeros(3)) is sparseness(np.zeros(3)) is None


def test_maps_are_compared_over_the_tissue():
    first = np.arange(8.0).reshape(2, 2, 2)
    tissue = np.ones((2, 2, 2), bool)
    assert similarity(first, first**3, tissue) == pytest.approx(1.0)
    assert similarity(first, -first, tissue) == pytest.approx(-1.0)
    assert similarity(first, np.zeros_like(first), tissue) is None
    tissue[1] = False
    assert similarity(first, np.where(tissue, first, 99.0), tissue) == pytest.approx(1.0)
