"""Weights of members: the loss is scikit-learn's log loss, and a search over all weights finds none that is smaller."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import check_grad
from sklearn.metrics import log_loss

from ichformer.errors import InputError
from ichformer.objectives.classification import LABEL_WEIGHTS
from ichformer.statistics.ensemble_weights import MemberLogits, fit_weights, shares


def member_logits(seed: int, *, members: int = 3, noise: tuple[float, ...] = (1.0, 2.0, 4.0)) -> MemberLogits:
    """30 scans of 4 slices; each member says the truth under noise of its own."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, (150, 6)).astype(float)
    labels[rng.uniform(size=labels.shape) < 0.1] = np.nan
    truth = np.where(np.isnan(labels), 0, 2 * labels - 1)
    logits = np.stack([truth + n * rng.normal(size=truth.shape) for n in noise[:members]], axis=1)
    share = shares(labels, np.arange(150) // 5, is_scan=np.arange(150) % 5 == 4, label_weights=LABEL_WEIGHTS)
    return MemberLogits(logits=logits, labels=labels, share=share)


def test_the_loss_is_the_log_loss_and_its_gradient_is_its_own():
    found = member_logits(0)
    weights = np.asarray([0.5, 0.2, 0.3])
    scores = 1 / (1 + np.exp(-np.einsum("m,nml->nl", weights, found.logits)))
    known = found.share > 0
    wanted = log_loss(found.labels[known], scores[known], sample_weight=found.share[known])
    assert found.loss(weights) == pytest.approx(wanted, rel=1e-12)
    assert check_grad(found.loss, lambda w: found.loss_and_gradient(w)[1], weights) < 1e-6


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_no_member_is_better_alone(seed, members):
    found = member_logits(seed, members=members)
    weights = fit_weights(found)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1)
    best = min(found.loss(one) for one in np.eye(members))
    assert found.loss(weights) <= best * (1 + 1e-6)


@pytest.mark.slow
def test_it_finds_what_a_search_over_all_weights_finds():
    found = member_logits(1, members=2)
    line = np.linspace(0, 1, 10_001)
    best = line[np.argmin([found.loss(np.asarray([w, 1 - w])) for w in line])]
    assert fit_weights(found)[0] == pytest.approx(best, abs=2e-4)


def test_a_member_that_only_harms_gets_nothing():
    found = member_logits(2, members=2)
    worse = MemberLogits(
        logits=np.stack([found.logits[:, 0], -3 * found.logits[:, 0]], axis=1), labels=found.labels, share=found.share
    )
    np.testing.assert_array_equal(fit_weights(worse), [1.0, 0.0])


def test_each_scan_counts_the_same_however_many_slices_it_has():
    labels = np.zeros((8, 6))
    labels[6] = np.nan  # a scan without a label of its own
    labels[0, 1:] = np.nan
    scan, is_scan = np.asarray([0, 0, 0, 0, 1, 0, 1, 2]), np.asarray([0, 0, 0, 0, 0, 1, 1, 1], bool)
    share = shares(labels, scan, is_scan=is_scan, label_weights=LABEL_WEIGHTS)
    of_scan = np.bincount(scan, weights=share.sum(1))
    np.testing.assert_allclose(of_scan, np.asarray([2, 1, 1]) / 4)
    np.testing.assert_allclose(share[1], share[1, 0] * np.asarray(LABEL_WEIGHTS))
    assert share[0, 0] == share[1, 0]
    assert share[6].sum() == share[0, 1:].sum() == 0
    with pytest.raises(InputError, match="no label is known"):
        shares(np.full((2, 6), np.nan), np.arange(2), is_scan=np.ones(2, bool), label_weights=LABEL_WEIGHTS)
