"""The attentive probe: its gradient beside finite differences, and what it finds that means hide."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from sklearn.linear_model import LogisticRegression

from ichformer.statistics.metrics import auroc
from ichformer.statistics.probes.attentive import ScanSlices, _folds, attentive_probe, fit_query, loss_and_gradient
from ichformer.statistics.probes.ridge import ridge_probe


def drawn(scans: int, d: int, *, seed: int = 0, shown: int = 1, slices: int = 12) -> tuple[ScanSlices, np.ndarray]:
    """Every other scan is positive, and ``shown`` of its slices tell so."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(slices - 4, slices + 5, scans)
    first = np.cumsum(counts) - counts
    features, labels = rng.normal(size=(counts.sum(), d)), np.arange(scans) % 2.0
    for start, count in zip(first[labels == 1], counts[labels == 1], strict=True):
        features[start + rng.permutation(count)[:shown], 0] += 6
    return ScanSlices(features=features, first=first), labels


def test_the_gradient_is_that_of_finite_differences():
    scans, labels = drawn(7, 3)
    rng = np.random.default_rng(1)
    for parameters in (np.zeros(7), rng.normal(size=7)):
        found = loss_and_gradient(parameters, scans, labels, 0.1)[1]
        expected = approx_fprime(parameters, lambda x: loss_and_gradient(x, scans, labels, 0.1)[0], 1e-6)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_slices_that_are_all_alike_leave_a_logistic_regression():
    """Attention to equal slices changes nothing, so the query stays 0 and the rest is scikit-learn's fit."""
    rng = np.random.default_rng(0)
    means, labels = rng.normal(size=(40, 3)), np.arange(40) % 2.0
    means[:, 0] += labels
    scans = ScanSlices(features=np.repeat(means, 5, axis=0), first=5 * np.arange(40))
    found = fit_query(scans, labels, penalty=0.01)
    peer = LogisticRegression(C=1 / (0.01 * 40), tol=1e-10).fit(means, labels)
    np.testing.assert_allclose(found[:3], 0, atol=1e-3)
    np.testing.assert_allclose(found[3:], [*peer.coef_[0], *peer.intercept_], atol=2e-3)


@pytest.mark.slow
def test_a_bleed_of_one_slice_is_found_that_the_mean_hides():
    (train, labels), (test, truth) = drawn(80, 4, seed=0), drawn(60, 4, seed=1)
    found = attentive_probe(train, labels, test, patients=np.arange(80))
    means = [np.add.reduceat(part.features, part.first) / part.counts[:, None] for part in (train, test)]
    plain = ridge_probe(means[0], labels, means[1])
    assert auroc(truth, found.scores) > 0.97
    assert auroc(truth, found.scores) > auroc(truth, plain.scores) + 0.02


@pytest.mark.slow
def test_features_that_tell_nothing_are_not_believed():
    (train, labels), (test, truth) = drawn(60, 6, shown=0), drawn(60, 6, seed=1, shown=0)
    found = attentive_probe(train, labels, test, patients=np.arange(60))
    assert found.penalty >= 0.1
    assert 0.3 < auroc(truth, found.scores) < 0.7


def test_parts_keep_patients_together_and_hold_both_classes():
    labels, patients = np.tile([0.0, 1.0, 0.0], 10), np.arange(30) // 2
    parts = _folds(labels, patients)
    assert all(len(set(parts[patients == patient])) == 1 for patient in set(patients))
    positive = np.array([labels[patients == patient].any() for patient in range(15)])
    for part in range(parts.max() + 1):
        assert set(positive[np.unique(patients[parts == part])]) == {False, True}
    one_each = attentive_probe(*drawn(2, 3), drawn(4, 3, seed=1)[0], patients=np.arange(2))
    assert one_each.penalty == 1.0
    assert np.isfinite(one_each.scores).all()


@pytest.mark.parametrize("scans", [[2, 0], [1]])
def test_scans_are_taken_with_all_their_slices(scans):
    whole = ScanSlices(features=np.arange(12.0).reshape(6, 2), first=np.array([0, 1, 4]))
    own = [whole.features[a:b] for a, b in ((0, 1), (1, 4), (4, 6))]
    taken = whole.take(np.array(scans))
    np.testing.assert_array_equal(taken.features, np.concatenate([own[i] for i in scans]))
    assert taken.counts.tolist() == [len(own[i]) for i in scans]
