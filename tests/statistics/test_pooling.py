import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal, t, ttest_1samp

from ichformer.statistics.pooling import pool

# The thirteen BCG trials of Colditz et al., JAMA 1994;271:698-702: cases and non-cases, vaccinated and not.
BCG = np.array([
    [4, 119, 11, 128], [6, 300, 29, 274], [3, 228, 11, 209], [62, 13536, 248, 12619], [33, 5036, 47, 5761],
    [180, 1361, 372, 1079], [8, 2537, 10, 619], [505, 87886, 499, 87892], [29, 7470, 45, 7232], [17, 1699, 65, 1600],
    [186, 50448, 141, 27197], [5, 2493, 3, 2338], [27, 16886, 29, 17825],
], np.float64)  # fmt: skip


def bcg():
    a, b, c, d = BCG.T
    return np.log(a / (a + b)) - np.log(c / (c + d)), 1 / a - 1 / (a + b) + 1 / c - 1 / (c + d)


def test_bcg_trials_as_published_for_metafor():
    """Viechtbauer, Journal of Statistical Software 2010;36(3).

    REML -0.7145, tau² 0.3132, I² 92.22 %, Q 152.233; DL 0.3088.
    """
    found = pool(*bcg())
    assert found.value == pytest.approx(-0.7145, abs=5e-5)
    assert found.tau2 == pytest.approx(0.3132, abs=5e-5)
    assert found.q == pytest.approx(152.233, abs=5e-4)
    assert found.i2 == pytest.approx(0.9222, abs=5e-5)
    assert found.q_p_value < 1e-4
    by_moments = pool(*bcg(), between="DL")
    assert by_moments.tau2 == pytest.approx(0.3088, abs=5e-5)
    assert by_moments.i2 == pytest.approx(1 - 12 / 152.233, abs=1e-6)


values = st.lists(st.tuples(st.integers(-20, 20), st.integers(1, 40)), min_size=2, max_size=8)


@pytest.mark.slow
@given(values)
def test_reml_is_the_maximum_of_the_likelihood_of_the_contrasts(drawn):
    figures, variances = (np.array(column, np.float64) / 10 for column in zip(*drawn, strict=True))
    found = pool(figures, variances)
    # Restricted likelihood by its definition: that of contrasts that do not depend on the mean.
    contrasts = np.eye(figures.size)[1:] - np.eye(figures.size)[:-1]

    def likelihood(tau2):
        covariance = contrasts @ np.diag(variances + tau2) @ contrasts.T
        return multivariate_normal.logpdf(contrasts @ figures, np.zeros(figures.size - 1), covariance)

    best = likelihood(found.tau2)
    assert all(best >= likelihood(tau2) - 1e-7 for tau2 in np.linspace(0, 2 * np.ptp(figures) ** 2 + 1, 60))
    assert sum(found.weights) == pytest.approx(1)
    assert found.interval.low <= found.value <= found.interval.high
    if found.prediction is not None:
        assert found.prediction.low <= found.interval.low + 1e-9


def test_sites_of_equal_precision_that_differ_give_students_interval_of_their_mean():
    figures = np.array([0.1, 0.9, 2.0, 3.3])
    found = pool(figures, np.full(4, 0.01))
    expected = ttest_1samp(figures, 0).confidence_interval(0.95)
    assert (found.interval.low, found.interval.high) == pytest.approx(tuple(expected), rel=1e-6)
    assert found.tau2 == pytest.approx(figures.var(ddof=1) - 0.01, rel=1e-6)


def test_sites_that_agree_have_no_variance_between_them_and_no_narrow_interval():
    found = pool(np.full(3, 0.7), np.array([0.01, 0.02, 0.04]))
    assert (found.tau2, found.i2, found.q) == (0.0, 0.0, 0.0)
    half = t.ppf(0.975, 2) / np.sqrt(100 + 50 + 25)
    assert (found.interval.low, found.interval.high) == pytest.approx((0.7 - half, 0.7 + half))


def test_one_site_is_not_pooled_and_bad_sites_are_refused():
    assert pool(np.array([0.5]), np.array([0.1])) is None
    assert pool(np.array([0.5, 0.6]), np.array([0.1, 0.1])).prediction is None
    for figures, variances in (([0.5, np.nan], [0.1, 0.1]), ([0.5, 0.6], [0.1, 0.0]), ([0.5, 0.6], [0.1, np.inf])):
        with pytest.raises(ValueError, match="finite"):
            pool(np.array(figures), np.array(variances))
