"""Losses beside those of other libraries, and where their formulas have to meet."""

import doctest
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ichformer.objectives import losses

LOGITS = jnp.asarray(np.random.default_rng(0).normal(0, 3, (4, 5, 3)), jnp.float32)
LABELS = jnp.asarray(np.random.default_rng(1).integers(0, 2, (4, 5, 3)), jnp.float32)


def test_the_examples_of_the_docstrings():
    assert doctest.testmod(losses) == (0, 2)


@pytest.mark.slow  # torch takes seconds to load
def test_binary_cross_entropy_is_that_of_torch():
    torch = pytest.importorskip("torch")
    weight = np.asarray([0.5, 1.0, 7.0], np.float32)
    theirs = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.tensor(np.asarray(LOGITS)),
        torch.tensor(np.asarray(LABELS)),
        pos_weight=torch.tensor(weight),
        reduction="none",
    )
    ours = losses.binary_cross_entropy(LOGITS, LABELS, positive_weight=jnp.asarray(weight))
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-6)


def test_focal_fades_what_is_told_well():
    np.testing.assert_allclose(
        losses.focal(LOGITS, LABELS, gamma=0.0), losses.binary_cross_entropy(LOGITS, LABELS), atol=1e-6
    )
    told = jax.nn.sigmoid(jnp.where(LABELS == 1, LOGITS, -LOGITS))
    expected = (1 - told) ** 2 * losses.binary_cross_entropy(LOGITS, LABELS) * jnp.where(LABELS == 1, 0.25, 0.75)
    np.testing.assert_allclose(losses.focal(LOGITS, LABELS, alpha=0.25), expected, atol=1e-5)


def test_asymmetric_by_hand():
    # p = 0.9 of a negative: (0.85)**4 * -log(0.15); p = 0.9 of a positive: 0.1 * -log(0.9).
    logits = jnp.full((1, 2), jnp.log(9.0))
    found = losses.asymmetric(logits, jnp.asarray([[0.0, 1.0]]))
    np.testing.assert_allclose(found, [[0.85**4 * -np.log(0.15), 0.1 * -np.log(0.9)]], rtol=1e-5)
    assert float(losses.asymmetric(jnp.full((1, 1), -3.2), jnp.zeros((1, 1)))[0, 0]) == 0.0  # p = 0.039 < 0.05
    same = losses.asymmetric(LOGITS, LABELS, gamma_positive=0.0, gamma_negative=0.0, margin=0.0)
    np.testing.assert_allclose(same, losses.binary_cross_entropy(LOGITS, LABELS), rtol=1e-4, atol=1e-6)


@pytest.mark.slow  # torch takes seconds to load
def test_losses_of_targets_are_those_of_torch():
    torch = pytest.importorskip("torch")
    theirs = {"smooth_l1": torch.nn.SmoothL1Loss, "l1": torch.nn.L1Loss, "l2": torch.nn.MSELoss}
    assert set(theirs) == set(losses.TARGET_LOSSES)
    truth = LOGITS[::-1]
    for name, loss in theirs.items():
        expected = loss(reduction="none")(torch.tensor(np.array(LOGITS)), torch.tensor(np.array(truth)))
        np.testing.assert_allclose(losses.TARGET_LOSSES[name](LOGITS, truth), expected.numpy(), atol=1e-5)


def test_logit_adjusted_is_the_binary_cross_entropy_at_balance_and_learns_past_the_prevalence():
    balanced = losses.logit_adjusted(LOGITS, LABELS, log_odds=jnp.zeros(3))
    np.testing.assert_allclose(balanced, losses.binary_cross_entropy(LOGITS, LABELS), atol=1e-6)
    # One positive in ten: a constant logit of 0, not of log(1/9), is where its mean has no gradient.
    labels, prior = jnp.asarray([1.0] + [0.0] * 9)[:, None], jnp.log(jnp.asarray([1 / 9]))
    gradient = jax.grad(lambda x: losses.logit_adjusted(jnp.full((10, 1), x), labels, log_odds=prior).mean())
    assert abs(gradient(0.0)) < 1e-6
    half = losses.logit_adjusted(LOGITS, LABELS, log_odds=jnp.full(3, 2.0), tau=0.5)
    np.testing.assert_allclose(half, losses.binary_cross_entropy(LOGITS + 1.0, LABELS), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "loss",
    [
        partial(loss, log_odds=jnp.full(5, -3.0)) if name == "logit_adjusted" else loss
        for name, loss in losses.LOSSES.items()
    ],
)
def test_losses_and_gradients_stay_finite_at_the_ends(loss):
    logits = jnp.asarray([[-200.0, -20.0, 0.0, 20.0, 200.0]])
    for label in (0.0, 1.0):
        labels = jnp.full(logits.shape, label)
        value, gradient = jax.value_and_grad(lambda x, labels=labels: loss(x, labels).sum())(logits)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()
        assert (loss(logits, labels) >= 0).all()
