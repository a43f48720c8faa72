import itertools

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given
from hypothesis import strategies as st

from ichformer.statistics.curves import decision_curve, pr_curve, risk_coverage, roc_curve
from ichformer.statistics.metrics import confusion
from tests.statistics.strategies import rows


@given(rows(min_size=2))
def test_the_areas_under_roc_and_pr_are_scikit_learns(drawn):
    labels, scores, _, _ = drawn
    known = ~np.isnan(labels)
    y, s = labels[known], scores[known]
    roc, pr = roc_curve(labels, scores), pr_curve(labels, scores)
    assert (roc is None) == (len(set(y)) < 2)
    assert (pr is None) == (roc is None)
    if roc is not None:
        assert sk.auc(roc.x, roc.y) == pytest.approx(sk.roc_auc_score(y, s), abs=1e-9)
        assert (roc.x[0], roc.y[0], roc.x[-1], roc.y[-1]) == (0, 0, 1, 1)
    if pr is not None:
        precision, recall, _ = sk.precision_recall_curve(y, s)
        points = set(zip(recall.tolist(), precision.tolist(), strict=True))
        assert set(zip(pr.x.tolist(), pr.y.tolist(), strict=True)) <= points
        assert set(pr.x.tolist()) == set(recall.tolist())


@given(rows(), st.integers(1, 99))
def test_net_benefit_is_that_of_the_counts(drawn, hundredths):
    labels, scores, _, _ = drawn
    threshold = hundredths / 100
    found = decision_curve(labels, scores, np.array([threshold]))
    n = np.sum(~np.isnan(labels))
    if n == 0:
        assert found is None
        return
    for called, value in ((scores, found.model), (np.ones_like(scores), found.treat_all)):
        seen = confusion(labels, called, threshold=threshold)
        expected = seen.tp / n - seen.fp / n * threshold / (1 - threshold)
        assert value[0] == pytest.approx(expected, abs=1e-12)


def test_treating_all_breaks_even_at_the_prevalence_and_a_perfect_model_is_worth_the_prevalence():
    labels = np.array([1.0] * 20 + [0.0] * 80)
    found = decision_curve(labels, labels, np.array([0.01, 0.2, 0.7]))
    np.testing.assert_allclose(found.model, 0.2)
    assert found.treat_all[1] == pytest.approx(0)
    assert found.treat_all[2] < 0 < found.treat_all[0]
    with pytest.raises(ValueError, match="above 0 and below 1"):
        decision_curve(labels, labels, np.array([1.0]))


@given(rows(max_size=6), st.sampled_from([0.3, 0.5]))
def test_risk_is_the_mean_over_all_orders_of_equally_sure_rows(drawn, threshold):
    labels, scores, _, _ = drawn
    found = risk_coverage(labels, scores, threshold=threshold)
    known = ~np.isnan(labels)
    y, s = labels[known], np.clip(scores[known], 1e-7, 1 - 1e-7)
    if not y.size:
        assert found is None
        return
    wrong = (scores[known] >= threshold) != (y == 1)
    sure = np.round(np.abs(np.log(s / (1 - s)) - np.log(threshold / (1 - threshold))), 9)
    orders = [
        o for o in itertools.permutations(range(y.size)) if all(sure[a] >= sure[b] for a, b in itertools.pairwise(o))
    ]
    risks = np.mean([np.cumsum(wrong[list(o)]) / np.arange(1, y.size + 1) for o in orders], axis=0)
    np.testing.assert_allclose(found.risk, risks, atol=1e-12)
    assert found.aurc == pytest.approx(risks.mean())
    assert found.risk[-1] == pytest.approx(wrong.mean())


def test_a_model_that_knows_where_it_errs_has_a_lower_aurc():
    rng = np.random.default_rng(0)
    odds = rng.normal(size=2000) * 2
    scores = 1 / (1 + np.exp(-odds))
    honest = (rng.random(2000) < scores).astype(np.float64)
    blind = np.where(rng.random(2000) < np.mean((scores >= 0.5) == honest), scores >= 0.5, scores < 0.5).astype(
        np.float64
    )
    assert risk_coverage(honest, scores).aurc < 0.6 * risk_coverage(blind, scores).aurc
