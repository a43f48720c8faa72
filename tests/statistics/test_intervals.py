import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm, sem, t

from ichformer.statistics.intervals import bca, jackknife_log, rate_interval

counts = st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts, st.sampled_from([0.9, 0.95, 0.99]))
def test_rate_interval_with_one_row_a_patient_is_wilson(drawn, confidence):
    successes, n = drawn
    found = rate_interval(np.arange(n) < successes, np.arange(n), confidence=confidence)
    expected = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=30))
def test_rate_interval_holds_the_proportion_and_is_no_narrower_than_wilson(drawn):
    success = np.concatenate([np.arange(good + bad) < good for good, bad in drawn])
    patients = np.repeat(np.arange(len(drawn)), [good + bad for good, bad in drawn])
    found = rate_interval(success, patients)
    if not success.size:
        assert found is None
        return
    plain = binomtest(int(success.sum()), success.size).proportion_ci(method="wilson")
    assert 0 <= found.low <= success.mean() <= found.high <= 1
    assert found.high - found.low >= plain.high - plain.low - 1e-12


def test_rows_that_only_repeat_a_patient_add_next_to_nothing():
    success, patients = np.arange(50) < 30, np.arange(50)
    once = rate_interval(success, patients)
    repeated = rate_interval(np.repeat(success, 10), np.repeat(patients, 10))
    # Student's quantile for the 50 patients makes it a little wider: (2.010 / 1.965)**2 of the effective rows.
    assert repeated.low == pytest.approx(once.low, abs=0.005)
    assert repeated.low < once.low
    assert repeated.high > once.high


def test_rows_without_weight_do_not_count_and_weights_have_no_unit():
    success, patients = np.array([True, False, True, True]), np.array([7, 7, 3, 9])
    found = rate_interval(success, patients, np.array([3.0, 3, 3, 0]))
    expected = rate_interval(success[:3], patients[:3])
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_proportions_without_rows_are_not_estimable():
    assert rate_interval(np.zeros(0, bool), np.zeros(0, np.int64)) is None
    assert rate_interval(np.ones(3, bool), np.arange(3), np.zeros(3)) is None


def test_moved_ends_of_a_normal_bootstrap_are_students():
    # Replicates of a mean of n values: normal, with the plug-in error s * sqrt((n - 1) / n) / sqrt(n).
    n, error = 12, 0.3
    replicates = norm.ppf((np.arange(100_000) + 0.5) / 100_000) * error * np.sqrt((n - 1) / n)
    symmetric = np.array([-1.0, 1.0])
    found = bca(0.0, replicates, symmetric, n_patients=n)
    assert (found.low, found.high) == pytest.approx(
        (-error * t.ppf(0.975, n - 1), error * t.ppf(0.975, n - 1)), abs=1e-3
    )


def test_jackknife_of_a_mean_is_its_standard_error():
    values = np.array([0.2, 0.5, 0.1, 0.9, 0.4])
    found = jackknife_log(float(values.mean()), (values.sum() - values) / 4)
    half = t.ppf(0.975, 4) * sem(values) / values.mean()
    assert np.log([found.low, found.high]) == pytest.approx(np.log(values.mean()) + np.array([-half, half]), abs=1e-12)
    most = jackknife_log(float(values.mean()), (values.sum() - values) / 4, largest=1.0)
    assert (most.low, most.high) == (found.low, 1.0)
    assert found.high > 1
    assert jackknife_log(0.0, np.zeros(5)) is None
    # Every row has the same loss, but for rounding.
    assert jackknife_log(np.log(2), np.log(2) + np.array([0, 1, 0, 1]) * 1e-16) is None
    assert jackknife_log(0.5, np.array([0.5])) is None
    assert jackknife_log(0.5, np.array([0.5, 0.4, np.nan])) is None


def test_bootstrap_intervals_refuse_what_says_nothing():
    values = np.linspace(0, 1, 100)
    few, many = values.copy(), values.copy()
    few[:5], many[:6] = np.nan, np.nan
    assert bca(0.5, values, values) is not None
    assert bca(0.5, few, values) is not None
    assert bca(0.7, np.full(100, 0.7), values) is None
    assert bca(0.7, np.full(100, np.nan), values) is None
    assert bca(0.5, values, values, n_patients=8) is not None
    assert bca(0.5, values, values, n_patients=7) is None
    assert bca(-1.0, values, values) is None
    assert bca(0.5, values, np.full(10, 0.5)) is None
    assert bca(0.5, values, np.array([0.5, np.nan])) is None
    assert bca(0.5, many, values) is None
