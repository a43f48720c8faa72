import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.calibration import calibration_curve
from sklearn.isotonic import isotonic_regression
from sklearn.linear_model import LogisticRegression

from ichformer.errors import InputError
from ichformer.evaluation.recalibration import recalibrate
from ichformer.evaluation.tables.checked import check_table
from ichformer.statistics.calibration import expected_calibration_error, measure_calibration, reliability_curve
from ichformer.statistics.metrics import brier, log_loss
from ichformer.statistics.recalibration import fit_isotonic, fit_platt, fit_temperature
from tests.evaluation.tables import prediction_table
from tests.statistics.strategies import rows


def drawn_labels(*, intercept=0.0, slope=1.0, n=3000, seed=0):
    """Labels whose true probability is ``sigmoid(intercept + slope * logit(score))``."""
    rng = np.random.default_rng(seed)
    scores = expit(1.5 * rng.normal(size=n) - 1)
    return (rng.random(n) < expit(intercept + slope * logit(scores))).astype(np.float64), scores


@pytest.mark.parametrize(("ours", "theirs"), [("width", "uniform"), ("mass", "quantile")])
@given(drawn=rows(unknown=False))
def test_reliability_curve_is_scikit_learns(ours, theirs, drawn):
    labels, scores, _, _ = drawn
    curve = reliability_curve(labels, scores, n_bins=5, strategy=ours)
    share, mean = calibration_curve(labels, scores, n_bins=5, strategy=theirs, pos_label=1)
    np.testing.assert_allclose([b.positive_share for b in curve], share, rtol=0, atol=1e-9)
    np.testing.assert_allclose([b.mean_score for b in curve], mean, rtol=0, atol=1e-9)
    assert sum(b.n for b in curve) == labels.size
    assert all(b.low - 1e-12 <= b.mean_score <= b.high + 1e-12 for b in curve)


def test_expected_calibration_error_by_hand():
    labels, scores = np.array([0.0, 0.0, 1.0, 1.0, np.nan]), np.array([0.1, 0.2, 0.6, 0.9, 0.3])
    # Two bins: mean scores 0.15 and 0.75, shares 0 and 1.
    assert expected_calibration_error(reliability_curve(labels, scores, n_bins=2)) == pytest.approx((0.15 + 0.25) / 2)
    assert expected_calibration_error(reliability_curve(labels[4:], scores[4:])) is None


def test_slope_and_intercept_agree_with_an_unpenalised_logistic_regression():
    labels, scores = drawn_labels(intercept=0.4, slope=0.6, n=500)
    found = measure_calibration(labels, scores)
    joint = LogisticRegression(C=np.inf, tol=1e-12, max_iter=1000, solver="newton-cholesky").fit(
        logit(scores)[:, None], labels
    )
    assert found.slope == pytest.approx(joint.coef_[0, 0], abs=1e-7)

    def offset_loss(a):
        eta = a[0] + logit(scores)
        return np.sum(np.logaddexp(0, eta) - labels * eta)

    assert found.intercept == pytest.approx(minimize(offset_loss, [0.0], tol=1e-12, method="BFGS").x[0], abs=1e-5)
    # Calibration in the large: with this intercept the mean probability is the share of positives.
    assert expit(found.intercept + logit(scores)).mean() == pytest.approx(labels.mean(), abs=1e-9)


def test_true_probabilities_have_slope_1_and_intercept_0():
    found = measure_calibration(*drawn_labels(n=50_000))
    assert found.slope == pytest.approx(1, abs=0.04)
    assert found.intercept == pytest.approx(0, abs=0.04)
    assert found.ece_width < 0.01
    assert found.ece_mass < 0.01


@given(rows())
def test_no_table_breaks_the_figures(drawn):
    labels, scores, _, _ = drawn
    found = measure_calibration(labels, scores)
    y, s = labels[~np.isnan(labels)], scores[~np.isnan(labels)]
    assert (found.n, found.n_positive) == (y.size, y.sum())
    assert (found.brier is None) == (y.size == 0)
    assert (found.intercept is None) == (y.size == 0 or y.min() == y.max())
    # The slope has no finite value where one threshold separates the classes, be it with ties on it.
    overlap = len(set(y)) == 2 and s[y == 1].min() < s[y == 0].max() and s[y == 0].min() < s[y == 1].max()
    assert (found.slope is None) == (not overlap)


def test_temperature_is_found_and_minimises_the_log_loss():
    labels, scores = drawn_labels(slope=0.5)
    found = fit_temperature(labels, scores)
    assert found.intercept == 0
    assert 1 / found.slope == pytest.approx(2, rel=0.1)
    best = log_loss(labels, found.apply(scores))
    for factor in (0.99, 1.01):
        assert best < log_loss(labels, expit(found.slope * factor * logit(scores)))


def test_platt_minimises_the_log_loss_against_his_targets():
    labels, scores = drawn_labels(intercept=1.0, slope=0.5, n=400)
    found = fit_platt(labels, scores)
    n1, n0 = labels.sum(), (1 - labels).sum()
    targets = np.where(labels == 1, (n1 + 1) / (n1 + 2), 1 / (n0 + 2))
    residual = found.apply(scores) - targets
    assert residual.sum() == pytest.approx(0, abs=1e-7)
    assert (residual * logit(scores)).sum() == pytest.approx(0, abs=1e-7)


def test_recalibration_corrects_probabilities_on_other_patients():
    labels, scores = drawn_labels(intercept=1.0, slope=0.5, seed=1)
    fresh, fresh_scores = drawn_labels(intercept=1.0, slope=0.5, seed=2)
    before = expected_calibration_error(reliability_curve(fresh, fresh_scores))
    assert before > 0.1
    for fit in (fit_platt, fit_isotonic):
        after = fit(labels, scores).apply(fresh_scores)
        assert expected_calibration_error(reliability_curve(fresh, after)) < 0.04
        assert brier(fresh, after) < brier(fresh, fresh_scores)


def test_isotonic_is_scikit_learns_and_rises():
    labels, scores = drawn_labels(n=200)
    found = fit_isotonic(labels, scores)
    order = np.argsort(scores)
    np.testing.assert_allclose(found.apply(scores[order]), isotonic_regression(labels[order]), atol=1e-12)
    assert (np.diff(found.apply(np.linspace(0, 1, 50))) >= 0).all()


@given(rows())
def test_what_cannot_be_recalibrated_is_not_estimable(drawn):
    labels, scores, _, _ = drawn
    y, s = labels[~np.isnan(labels)], scores[~np.isnan(labels)]
    both = len(set(y)) == 2
    assert (fit_isotonic(labels, scores) is None) == (not both)
    assert (fit_platt(labels, scores) is None) == (not both or np.ptp(s) == 0)
    temperature = fit_temperature(labels, scores)
    assert temperature is None or (both and temperature.slope > 0)
    for found in (temperature, fit_platt(labels, scores), fit_isotonic(labels, scores)):
        if found is not None:
            applied = found.apply(np.linspace(0, 1, 11))
            assert ((applied >= 0) & (applied <= 1)).all()


@pytest.mark.slow
def test_recalibration_is_fitted_on_validation_and_measured_on_test():
    validation, test = prediction_table("val", seed=1).assign(epidural=0.0), prediction_table("test", seed=2)
    found = {(c.level, c.label): c for c in recalibrate(check_table(validation), check_table(test))}
    assert len(found) == 12
    assert set(found["slice", "epidural"].after.values()) == {None}
    any_slice = found["slice", "any"]
    truth, scores = (test[name].to_numpy() for name in ("any", "score_any"))
    recalibrated = fit_platt(*(validation[name].to_numpy() for name in ("any", "score_any"))).apply(scores)
    patients = pd.factorize(test["patient"], sort=True)[0]
    assert any_slice.before == measure_calibration(truth, scores, patients)
    assert any_slice.after["platt"] == measure_calibration(truth, recalibrated, patients)
    assert any_slice.after["platt"].log_loss < any_slice.before.log_loss
    with pytest.raises(InputError, match="60 patients are in both"):
        recalibrate(check_table(test.assign(split="val")), check_table(test))


def test_scores_of_0_and_1_have_an_intercept_although_newtons_method_flies_off():
    labels, scores = np.array([0.0] * 7 + [1.0]), np.array([0, 0.1, 0.1, 0.2, 0.2, 1, 1, 1])
    found = measure_calibration(labels, scores)
    assert expit(found.intercept + logit(np.clip(scores, 1e-7, 1 - 1e-7))).mean() == pytest.approx(1 / 8, abs=1e-9)
    assert measure_calibration(np.array([0.0, 0, 1, 1]), np.array([0.0, 1, 1, 0])).intercept == pytest.approx(
        0, abs=1e-6
    )


def test_scores_that_tell_nothing_have_no_temperature():
    """Not one of 1e18, whichever way the rounding went."""
    labels, scores = np.array([0.0, 1.0]), np.full(2, 1e-15)
    for times in range(1, 8):
        assert fit_temperature(np.repeat(labels, times), np.repeat(scores, times)) is None
        assert fit_temperature(labels, scores, np.full(2, times / 3)) is None
