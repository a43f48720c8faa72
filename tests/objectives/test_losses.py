"""Losses beside those of other libraries, and where their formulas have to meet."""

import doctest

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


@pytest.mark.parametrize("loss", list(losses.LOSSES.values()))
def test_losses_and_gradients_stay_finite_at_the_ends(loss):
    logits = jnp.asarray([[-200.0, -20.0, 0.0, 20.0, 200.0]])
    for label in (0.0, 1.0):
        labels = jnp.full(logits.shape, label)
        value, gradient = jax.value_and_grad(lambda x, labels=labels: loss(x, labels).sum())(logits)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()
        assert (loss(logits, labels) >= 0).all()
