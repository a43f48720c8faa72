import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from ichformer.evaluation.bootstrap import auroc_statistic
from ichformer.evaluation.comparisons import bootstrap_difference, holm, mcnemar, non_inferior
from ichformer.evaluation.delong import delong_test
from ichformer.evaluation.intervals import Interval


@given(st.integers(0, 30), st.integers(0, 30))
def test_mcnemar_is_the_two_sided_binomial_tail_of_the_discordant_rows(only_first, only_second):
    both = 7
    first = np.repeat([True, False, True], [only_first, only_second, both])
    second = np.repeat([False, True, True], [only_first, only_second, both])
    found = mcnemar(first, second)
    tail = 2 * binom.cdf(min(only_first, only_second), only_first + only_second, 0.5)
    assert (found.only_first, found.only_second) == (only_first, only_second)
    assert found.p_value == pytest.approx(min(1, tail), rel=1e-9)


def test_holm_agrees_with_values_by_hand():
    # 0.01 * 4; 0.02 * 3; then 0.03 * 2 = 0.06, which may not fall below the one before; 0.5.
    np.testing.assert_allclose(holm(np.array([0.5, 0.01, 0.03, 0.02])), [0.5, 0.04, 0.06, 0.06], rtol=1e-12)
    assert holm(np.array([0.9, 0.8])).max() <= 1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_exactly_what_the_stepwise_test_rejects(p_values):
    adjusted = holm(np.array(p_values))
    for level in (0.01, 0.05, 0.2):
        rejected = set()
        for step, i in enumerate(np.argsort(p_values, kind="stable")):
            if p_values[i] * (len(p_values) - step) > level:
                break
            rejected.add(int(i))
        assert set(np.flatnonzero(adjusted <= level).tolist()) == rejected


def test_bootstrap_difference_of_aurocs_is_near_delongs():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400).astype(np.float64)
    good, poor = labels + rng.normal(size=400), 0.4 * labels + rng.normal(size=400)
    patients = np.arange(400)
    found = bootstrap_difference(
        auroc_statistic(labels, good, patients), auroc_statistic(labels, poor, patients), n_patients=400
    )
    expected = delong_test(labels, good, poor)
    assert found.value == pytest.approx(expected.value, abs=1e-12)
    assert found.interval.low == pytest.approx(expected.interval.low, abs=0.006)
    assert found.interval.high == pytest.approx(expected.interval.high, abs=0.006)


def test_a_difference_of_one_class_is_not_estimable():
    statistic = auroc_statistic(np.zeros(5), np.linspace(0, 1, 5), np.arange(5))
    found = bootstrap_difference(statistic, statistic, n_patients=5, replicates=10)
    assert (found.value, found.interval) == (None, None)


def test_non_inferiority_is_that_the_whole_interval_lies_above_the_margin():
    interval = Interval(low=-0.04, high=0.02, method="")
    assert non_inferior(interval, margin=0.05)
    assert not non_inferior(interval, margin=0.04)
    with pytest.raises(ValueError, match="margin"):
        non_inferior(interval, margin=-0.05)
