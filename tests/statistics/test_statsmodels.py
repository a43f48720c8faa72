"""Figures that statsmodels has too."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit, logit
from statsmodels.stats.contingency_tables import mcnemar as their_mcnemar
from statsmodels.stats.meta_analysis import combine_effects
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from ichformer.statistics.calibration import measure_calibration
from ichformer.statistics.intervals import rate_interval
from ichformer.statistics.paired_tests import holm, mcnemar, mcnemar_clustered
from ichformer.statistics.pooling import pool


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_mcnemar_and_holm(seed):
    rng = np.random.default_rng(seed)
    first, second = rng.random(150) < 0.8, rng.random(150) < 0.7
    table = [[np.sum(first & second), np.sum(first & ~second)], [np.sum(~first & second), np.sum(~first & ~second)]]
    assert mcnemar(first, second).p_value == pytest.approx(their_mcnemar(table, exact=True).pvalue, abs=1e-9)
    asymptotic = their_mcnemar(table, exact=False, correction=False).pvalue
    assert mcnemar_clustered(first, second, np.arange(150)).p_value == pytest.approx(asymptotic, abs=1e-9)
    p_values = rng.random(7) ** 3
    np.testing.assert_allclose(holm(p_values), multipletests(p_values, method="holm")[1], atol=1e-9)


@pytest.mark.parametrize(("successes", "n"), [(0, 9), (3, 9), (9, 9), (70, 400)])
def test_intervals_of_shares(successes, n):
    found = rate_interval(np.arange(n) < successes, np.arange(n))
    assert (found.low, found.high) == pytest.approx(proportion_confint(successes, n, method="wilson"), abs=1e-9)


def test_slope_and_intercept_of_the_calibration():
    rng = np.random.default_rng(0)
    scores = expit(1.5 * rng.normal(size=800) - 1)
    labels = (rng.random(800) < expit(0.3 + 0.7 * logit(scores))).astype(np.float64)
    x = logit(scores)
    found = measure_calibration(labels, scores)
    joint = sm.GLM(labels, sm.add_constant(x), family=sm.families.Binomial()).fit(tol=1e-14)
    assert found.slope == pytest.approx(joint.params[1], abs=1e-9)
    large = sm.GLM(labels, np.ones(800), family=sm.families.Binomial(), offset=x).fit(tol=1e-14)
    assert found.intercept == pytest.approx(large.params[0], abs=1e-9)


def test_pooling_with_dersimonian_and_laird():
    values, variances = np.array([1.2, 2.0, 0.7, 1.9]), np.array([0.04, 0.1, 0.02, 0.08])
    found, theirs = pool(values, variances, between="DL"), combine_effects(values, variances, method_re="dl")
    assert found.tau2 == pytest.approx(theirs.tau2, abs=1e-9)
    assert found.q == pytest.approx(theirs.q, abs=1e-9)
    assert found.i2 == pytest.approx(theirs.i2, abs=1e-9)
    assert found.value == pytest.approx(theirs.mean_effect_re, abs=1e-9)
