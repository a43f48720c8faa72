"""Votes of the nearest training rows, beside scikit-learn and beside plain loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

from ichformer.statistics.probes import neighbours
from ichformer.statistics.probes.neighbours import knn_probe


def drawn(n: int = 40, d: int = 6, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.integers(0, 2, n).astype(np.float64), rng.normal(size=(9, d))


def test_scores_are_those_of_scikit_learn():
    train, labels, test = drawn()
    peer = KNeighborsClassifier(
        n_neighbors=20, metric="cosine", algorithm="brute", weights=lambda distance: np.exp((1 - distance) / 0.07)
    ).fit(train, labels)
    np.testing.assert_allclose(knn_probe(train, labels, test), peer.predict_proba(test)[:, 1], rtol=1e-8)


@given(st.integers(0, 10**6), st.integers(1, 50), st.floats(0.05, 2))
def test_scores_are_those_of_plain_loops(seed, count, temperature):
    train, labels, test = drawn(12, 3, seed=seed)
    found = knn_probe(train, labels, test, neighbours=count, temperature=temperature)
    for row, score in zip(test, found, strict=True):
        near = [float(row @ one / np.linalg.norm(row) / np.linalg.norm(one)) for one in train]
        voting = sorted(range(len(train)), key=lambda i: -near[i])[:count]
        votes = [np.exp(near[i] / temperature) for i in voting]
        share = sum(vote for vote, i in zip(votes, voting, strict=True) if labels[i] == 1) / sum(votes)
        assert score == pytest.approx(share, abs=1e-9)
        assert 0 <= score <= 1


def test_many_test_rows_are_scored_in_parts(monkeypatch):
    train, labels, test = drawn()
    whole = knn_probe(train, labels, test)
    monkeypatch.setattr(neighbours, "_AT_ONCE", 4)
    np.testing.assert_array_equal(knn_probe(train, labels, test), whole)


def test_a_row_of_zeros_is_as_near_to_one_as_to_another():
    scores = knn_probe(np.array([[1.0, 0], [0, 1]]), np.array([0.0, 1.0]), np.zeros((1, 2)))
    assert scores.tolist() == [0.5]
