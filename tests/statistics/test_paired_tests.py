import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from ichformer.statistics.intervals import Interval
from ichformer.statistics.paired_tests import holm, mcnemar, non_inferior


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


def test_non_inferiority_is_that_the_whole_interval_lies_above_the_margin():
    interval = Interval(low=-0.04, high=0.02, method="")
    assert non_inferior(interval, margin=0.05)
    assert not non_inferior(interval, margin=0.04)
    with pytest.raises(ValueError, match="margin"):
        non_inferior(interval, margin=-0.05)
