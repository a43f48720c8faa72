import math

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given

from ichformer.statistics import metrics
from tests.statistics.strategies import rows


def same(found, expected):
    """Both not estimable, or equal to 1e-9."""
    if found is None or expected is None:
        return found is expected
    return found == pytest.approx(expected, rel=1e-9, abs=1e-9)


def known(labels, scores, weights):
    keep = ~np.isnan(labels) & (weights > 0)
    return labels[keep], scores[keep], weights[keep]


@given(rows())
def test_auroc_agrees_with_scikit_learn_or_is_not_estimable(drawn):
    labels, scores, weights, _ = drawn
    y, s, w = known(labels, scores, weights)
    expected = sk.roc_auc_score(y, s, sample_weight=w) if len(set(y)) == 2 else None
    assert same(metrics.auroc(labels, scores, weights), expected)


@given(rows())
def test_auroc_is_the_share_of_pairs_in_the_right_order(drawn):
    labels, scores, weights, _ = drawn
    y, s, w = known(labels, scores, weights)
    pairs = [
        (w[i] * w[j], (s[i] > s[j]) + (s[i] == s[j]) / 2) for i in np.flatnonzero(y) for j in np.flatnonzero(y == 0)
    ]
    expected = sum(a * b for a, b in pairs) / sum(a for a, _ in pairs) if pairs else None
    assert same(metrics.auroc(labels, scores, weights), expected)


@given(rows())
def test_losses_agree_with_scikit_learn(drawn):
    labels, scores, weights, _ = drawn
    y, s, w = known(labels, scores, weights)
    if not y.size:
        assert metrics.brier(labels, scores, weights) is None
        assert metrics.log_loss(labels, scores, weights) is None
        return
    assert same(metrics.brier(labels, scores, weights), np.sum(w * (s - y) ** 2) / w.sum())
    clipped = np.clip(s, 1e-15, 1 - 1e-15)
    expected = sk.log_loss(y, np.column_stack([1 - clipped, clipped]), sample_weight=w, labels=[0, 1])
    assert same(metrics.log_loss(labels, scores, weights), expected)


@given(rows(unknown=False))
def test_rates_agree_with_scikit_learn(drawn):
    labels, scores, weights, _ = drawn
    y, s, w = known(labels, scores, weights)
    called = s >= 0.5
    found = metrics.confusion(labels, scores, weights, threshold=0.5)

    def rate(function, defined, **options):
        return function(y, called, sample_weight=w, **options) if defined else None

    assert same(found.sensitivity, rate(sk.recall_score, (y == 1).any()))
    assert same(found.specificity, rate(sk.recall_score, (y == 0).any(), pos_label=0))
    assert same(found.ppv, rate(sk.precision_score, called.any()))
    assert same(found.npv, rate(sk.precision_score, (~called).any(), pos_label=0))
    assert same(found.f1, rate(sk.f1_score, (y == 1).any() or called.any()))
    assert same(found.mcc, rate(sk.matthews_corrcoef, len(set(y)) == 2 and len(set(called)) == 2))
    both = len(set(y)) == 2
    false_alarms, rejections = (y == 0) & called, (y == 0) & ~called
    if both and false_alarms.any() and rejections.any():
        positive, negative = sk.class_likelihood_ratios(y, called, sample_weight=w, labels=[0, 1])
        assert same(found.positive_likelihood_ratio, positive)
        assert same(found.negative_likelihood_ratio, negative)
    else:
        assert found.positive_likelihood_ratio is None or false_alarms.any()
        assert found.negative_likelihood_ratio is None or rejections.any()


@given(rows(unknown=False))
def test_predictive_values_at_the_prevalence_of_the_data_are_those_of_the_data(drawn):
    labels, scores, weights, _ = drawn
    found = metrics.confusion(labels, scores, weights, threshold=0.5)
    total = found.tp + found.fp + found.tn + found.fn
    if found.sensitivity is None or found.specificity is None:
        assert found.ppv_at(0.1) is None
        assert found.npv_at(0.1) is None
        return
    prevalence = (found.tp + found.fn) / total
    assert same(found.ppv_at(prevalence), found.ppv)
    assert same(found.npv_at(prevalence), found.npv)


def test_predictive_values_follow_bayes_at_another_prevalence():
    found = metrics.Confusion(tp=90, fn=10, tn=80, fp=20)
    assert found.ppv_at(0.1) == pytest.approx(0.09 / (0.09 + 0.18))
    assert found.npv_at(0.1) == pytest.approx(0.72 / (0.72 + 0.01))


def test_log_loss_clips_a_wrong_certainty_where_the_competition_did():
    # 1 - (1 - 1e-15) is 1.11e-15 in doubles, and the competition computed in doubles too.
    found = metrics.log_loss(np.zeros(1), np.ones(1))
    assert found == pytest.approx(-math.log(1 - (1 - 1e-15)), rel=1e-9)


def test_scores_and_weights_that_are_no_numbers_are_refused():
    labels, scores = np.array([0.0, 1.0]), np.array([0.1, np.nan])
    with pytest.raises(ValueError, match="scores"):
        metrics.auroc(labels, scores)
    for wrong in (-1.0, np.nan):
        with pytest.raises(ValueError, match="weights"):
            metrics.auroc(labels, np.array([0.1, 0.2]), np.array([1.0, wrong]))
