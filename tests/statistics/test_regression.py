"""Figures of regression beside those of SciPy and by their definitions."""

import numpy as np
import pytest
import scipy.stats

from ichformer.statistics.bootstrap import bootstrap
from ichformer.statistics.regression import AGREEMENT, agreement_statistic

N = 40
RNG = np.random.default_rng(0)
TRUTH = RNG.normal(30, 10, N)
PREDICTED = 0.8 * TRUTH + 3 + RNG.normal(0, 4, N)
PATIENTS = np.arange(N)


def by_definition(truth: np.ndarray, predicted: np.ndarray) -> list[float]:
    difference = predicted - truth
    spread = 1.96 * difference.std(ddof=1)
    covariance = np.mean((truth - truth.mean()) * (predicted - predicted.mean()))
    return [
        np.abs(difference).mean(),
        np.median(np.abs(difference)),
        difference.mean(),
        difference.mean() - spread,
        difference.mean() + spread,
        scipy.stats.pearsonr(truth, predicted).statistic,
        2 * covariance / (truth.var() + predicted.var() + difference.mean() ** 2),
    ]


def test_figures_are_those_of_their_definitions():
    found = agreement_statistic(TRUTH, PREDICTED, PATIENTS)(np.ones((1, N)))
    np.testing.assert_allclose(found[0], by_definition(TRUTH, PREDICTED), rtol=1e-12)


def test_a_resample_is_the_rows_that_were_drawn():
    counts = RNG.integers(0, 4, (5, N)).astype(np.float64)
    found = agreement_statistic(TRUTH, PREDICTED, PATIENTS)(counts)
    for row, drawn in zip(found, counts.astype(int), strict=True):
        expected = by_definition(np.repeat(TRUTH, drawn), np.repeat(PREDICTED, drawn))
        np.testing.assert_allclose(row, expected, rtol=1e-12)


def test_weights_count_in_proportion():
    weights = RNG.uniform(0.5, 2.0, N)
    one, two = (agreement_statistic(TRUTH, PREDICTED, PATIENTS, w)(np.ones((1, N)))[0] for w in (weights, 2 * weights))
    np.testing.assert_allclose(one, two, rtol=1e-12)
    difference = PREDICTED - TRUTH
    assert one[0] == pytest.approx(np.average(np.abs(difference), weights=weights))
    assert one[2] == pytest.approx(np.average(difference, weights=weights))


def test_lins_concordance_falls_with_bias_and_pearsons_r_does_not():
    exact, shifted = (agreement_statistic(TRUTH, TRUTH + by, PATIENTS)(np.ones((1, N)))[0] for by in (0.0, 10.0))
    assert exact[5:] == pytest.approx([1.0, 1.0])
    assert shifted[5] == pytest.approx(1.0)
    assert shifted[6] == pytest.approx(2 * TRUTH.var() / (2 * TRUTH.var() + 100))


def test_what_is_not_estimable_is_nan_and_unknown_rows_are_left_out():
    truth, predicted = np.array([3.0, np.nan, 3.0]), np.array([4.0, 5.0, np.nan])
    found = agreement_statistic(truth, predicted, np.arange(3))(np.array([[1.0, 1.0, 1.0], [0.0, 1.0, 1.0]]))
    named = dict(zip(AGREEMENT, found[0], strict=True))
    assert (named["mean_absolute_error"], named["median_absolute_error"], named["bias"]) == (1.0, 1.0, 1.0)
    assert np.isnan([named["lower_limit"], named["upper_limit"], named["pearson"]]).all()
    assert np.isnan(found[1]).all()


def test_large_values_with_a_small_spread_keep_their_digits():
    shift = 1e8
    near, far = (agreement_statistic(TRUTH + by, PREDICTED + by, PATIENTS)(np.ones((1, N)))[0] for by in (0.0, shift))
    np.testing.assert_allclose(far, near, rtol=1e-6)


def test_the_bootstrap_takes_the_columns():
    found = bootstrap(
        [agreement_statistic(TRUTH, PREDICTED, PATIENTS // 2)], n_patients=N // 2, replicates=20, seed=0, jackknife=True
    )
    assert found.values.shape == (len(AGREEMENT),)
    assert found.replicates.shape == (20, len(AGREEMENT))
    assert np.isfinite(found.jackknife).all()
