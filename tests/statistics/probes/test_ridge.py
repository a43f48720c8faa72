"""The linear probe beside scikit-learn, and its leave-one-patient-out error beside fits without each patient."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.preprocessing import StandardScaler

from ichformer.statistics.probes.ridge import PENALTIES, ridge_probe


def drawn(n: int, d: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) % 3 == 0).astype(np.float64)
    features = rng.normal(3, 2, (n, d)) * rng.uniform(0.1, 10, d) + 2 * labels[:, None]
    return features, labels, rng.normal(3, 5, (7, d))


@pytest.mark.parametrize(("n", "d"), [(60, 8), (20, 50)])
def test_scores_are_those_of_scikit_learn_with_the_penalty_that_it_chooses(n, d):
    train, labels, test = drawn(n, d)
    found = ridge_probe(train, labels, test)
    scaler = StandardScaler().fit(train)
    signs = 2 * labels - 1
    peer = RidgeCV(alphas=n * PENALTIES, scoring=None, gcv_mode="svd", store_cv_results=True)
    peer.fit(scaler.transform(train), signs)
    assert found.penalty == pytest.approx(peer.alpha_)
    np.testing.assert_allclose(found.scores, peer.predict(scaler.transform(test)), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(found.errors, peer.cv_results_.mean(axis=0), rtol=1e-8)
    alone = Ridge(alpha=found.penalty).fit(scaler.transform(train), signs)
    np.testing.assert_allclose(found.scores, alone.predict(scaler.transform(test)), rtol=1e-8, atol=1e-8)


def test_errors_are_those_of_fits_without_each_patient():
    train, labels, test = drawn(24, 5)
    patients = np.array([0, 1, 2, 2, 3, 3, 3, 4, 5, 6, 7, 7, *range(8, 20)])
    found = ridge_probe(train, labels, test, patients=patients)
    # The standardisation is that of all rows, as it is no fit of the label.
    x, signs = StandardScaler().fit_transform(train), 2 * labels - 1
    for penalty, error in list(zip(found.penalties, found.errors, strict=True))[::20]:
        squared = np.empty(len(x))
        for patient in set(patients):
            own = patients == patient
            fit = Ridge(alpha=penalty).fit(x[~own], signs[~own])
            squared[own] = (fit.predict(x[own]) - signs[own]) ** 2
        assert error == pytest.approx(squared.mean(), rel=1e-8)
    assert found.errors.min() == found.errors[list(found.penalties).index(found.penalty)]


def test_rows_that_repeat_within_a_patient_do_not_speak_for_a_small_penalty():
    """Four copies of each row: a fit that left out one row would know its label from the other three."""
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(30, 40)), np.arange(30) % 2.0
    by_row, by_patient = (
        ridge_probe(features.repeat(4, axis=0), labels.repeat(4), features, patients=patients)
        for patients in (None, np.arange(30).repeat(4))
    )
    assert by_row.penalty < by_patient.penalty / 100


@given(st.integers(0, 10**6), st.floats(0.01, 100), st.floats(-100, 100))
def test_scores_do_not_depend_on_the_units_of_features(seed, factor, shift):
    train, labels, test = drawn(12, 4, seed=seed)
    found, other = ridge_probe(train, labels, test), ridge_probe(train * factor + shift, labels, test * factor + shift)
    assert other.penalty == found.penalty
    np.testing.assert_allclose(other.scores, found.scores, rtol=1e-6, atol=1e-6)


def test_features_that_never_change_count_for_nothing():
    train, labels, test = drawn(20, 3)
    constant = np.full((27, 1), np.float32(0.1), np.float64)
    wide = ridge_probe(np.hstack([train, constant[:20]]), labels, np.hstack([test, constant[20:] + 5]))
    np.testing.assert_allclose(wide.scores, ridge_probe(train, labels, test).scores, atol=1e-9)


def test_of_two_rows_the_largest_penalty_still_tells_the_nearer_one():
    found = ridge_probe(np.array([[0.0, 1.0], [2.0, 1.0]]), np.array([0.0, 1.0]), np.array([[0.5, 1.0], [1.9, 1.0]]))
    assert found.penalty == found.penalties[-1]
    assert found.scores[0] < found.scores[1]
