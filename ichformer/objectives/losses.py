"""Losses of labels and of regression targets, element by element, and their mean over what is known.

Each takes outputs and truths of one shape and returns a loss for each element. Labels are 0 or 1 (or anything between,
for soft labels), targets are standardised numbers. The caller leaves out the unknown ones.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

LossName = Literal["bce", "focal", "asymmetric", "logit_adjusted"]
"""The losses of labels that training takes by name."""

TargetLossName = Literal["smooth_l1", "l1", "l2"]
"""The losses of regression targets that training takes by name."""


def binary_cross_entropy(
    logits: Float[Array, "*grid labels"],
    labels: Float[Array, "*grid labels"],
    *,
    positive_weight: float | Float[Array, " labels"] = 1.0,
) -> Float[Array, "*grid labels"]:
    """Binary cross-entropy, in which a positive counts ``positive_weight`` times.

    Example:
      >>> import jax.numpy as jnp
      >>> binary_cross_entropy(jnp.zeros((1, 2)), jnp.array([[0.0, 1.0]]), positive_weight=3.0).round(3).tolist()
      [[0.6930000185966492, 2.0789999961853027]]

    Args:
      logits: any real numbers.
      labels: 0 to 1, of the same shape.
      positive_weight: for all labels or for each; above 1 it raises the recall, the share of negatives over positives
        makes both count the same in sum.
    """
    if isinstance(positive_weight, float) and positive_weight == 1:
        return optax.sigmoid_binary_cross_entropy(logits, labels)
    weight = for_each_label(positive_weight, logits)
    return -labels * jax.nn.log_sigmoid(logits) * weight - (1 - labels) * jax.nn.log_sigmoid(-logits)


def focal(
    logits: Float[Array, "*grid labels"],
    labels: Float[Array, "*grid labels"],
    *,
    gamma: float = 2.0,
    alpha: float | None = None,
) -> Float[Array, "*grid labels"]:
    """Focal loss: what is told well already counts less (Lin et al. 2017, eq. 5).

    Args:
      logits: any real numbers.
      labels: 0 to 1, of the same shape.
      gamma: how fast a well-told element fades; 0 gives the binary cross-entropy.
      alpha: weight of positives, with 1 - alpha for negatives; None weighs both the same.
    """
    return optax.sigmoid_focal_loss(logits, labels, alpha=alpha, gamma=gamma)


def asymmetric(
    logits: Float[Array, "*grid labels"],
    labels: Float[Array, "*grid labels"],
    *,
    gamma_positive: float = 1.0,
    gamma_negative: float = 4.0,
    margin: float = 0.05,
) -> Float[Array, "*grid labels"]:
    """Asymmetric loss: easy negatives fade faster than easy positives (Ridnik et al. 2021, eq. 4, 5 and 7).

    Args:
      logits: any real numbers.
      labels: 0 or 1, of the same shape.
      gamma_positive: of positives, as in the focal loss.
      gamma_negative: of negatives.
      margin: negatives with a probability below it count nothing.
    """
    probability = jax.nn.sigmoid(logits)
    shifted = jnp.maximum(probability - margin, 0.0)
    smallest = 1e-8  # as the authors' code has it, so that the logarithm stays finite
    positive = labels * (1 - probability) ** gamma_positive * jnp.log(jnp.maximum(probability, smallest))
    negative = (1 - labels) * shifted**gamma_negative * jnp.log(jnp.maximum(1 - shifted, smallest))
    return -positive - negative


def logit_adjusted(
    logits: Float[Array, "*grid labels"],
    labels: Float[Array, "*grid labels"],
    *,
    log_odds: Float[Array, " labels"],
    tau: float = 1.0,
) -> Float[Array, "*grid labels"]:
    """Binary cross-entropy of logits that are raised by the log odds of each label in training (Menon et al. 2021).

    Menon et al. (arXiv:2007.07314, eq. 10) add ``tau`` times the log of each class's prior to its logit; with the two
    classes of a label that is its log odds. The model itself then scores as if positives and negatives were equally
    frequent: rare labels are found more often, and probabilities need recalibration.

    Args:
      logits: any real numbers.
      labels: 0 to 1, of the same shape.
      log_odds: log(p / (1 - p)) of the share p of positives of each label in training.
      tau: strength of the shift; 0 gives the binary cross-entropy.
    """
    return optax.sigmoid_binary_cross_entropy(logits + tau * for_each_label(log_odds, logits), labels)


def smooth_l1(outputs: Float[Array, "*grid targets"], truth: Float[Array, "*grid targets"]) -> Array:
    """Half the squared error up to an error of 1, then the absolute error less one half (Girshick 2015, eq. 3)."""
    return optax.huber_loss(outputs, truth, delta=1.0)


def l1(outputs: Float[Array, "*grid targets"], truth: Float[Array, "*grid targets"]) -> Array:
    """Absolute error: its smallest mean is reached at the median."""
    return jnp.abs(outputs - truth)


def l2(outputs: Float[Array, "*grid targets"], truth: Float[Array, "*grid targets"]) -> Array:
    """Squared error: its smallest mean is reached at the mean."""
    return jnp.square(outputs - truth)


def for_each_label(values: float | Float[Array, " labels"], like: Float[Array, "*grid labels"]) -> Array:
    """One value, or one value for each label, with as many axes as ``like``."""
    values = jnp.asarray(values, like.dtype)
    return values.reshape((1,) * (like.ndim - values.ndim) + values.shape)


LOSSES: Mapping[LossName, Callable[..., Float[Array, "*grid labels"]]] = {
    "bce": binary_cross_entropy,
    "focal": focal,
    "asymmetric": asymmetric,
    "logit_adjusted": logit_adjusted,
}
"""By the name that ``--objective.loss`` takes."""

TARGET_LOSSES: Mapping[TargetLossName, Callable[..., Float[Array, "*grid targets"]]] = {
    "smooth_l1": smooth_l1,
    "l1": l1,
    "l2": l2,
}
"""By the name that ``--objective.target-loss`` takes."""


def masked_loss(
    logits: Float[Array, "b *grid labels"],
    labels: Float[Array, "b *grid labels"],
    weights: tuple[float, ...],
    of_labels: Callable[..., Array] = binary_cross_entropy,
) -> tuple[Float[Array, "b"], Float[Array, "b"]]:
    """Weighted mean loss of each scan over its known labels, and whether it has any (1 or 0).

    Args:
      logits: [B,...,labels].
      labels: 0, 1 or NaN (unknown), of the same shape; numbers or NaN for targets.
      weights: how much each label counts.
      of_labels: the loss of each logit, given logits and labels.
    """
    known = ~jnp.isnan(labels)
    grid = (1,) * (logits.ndim - 1)
    weight = known * jnp.asarray(weights, logits.dtype).reshape(*grid, -1)
    losses = of_labels(logits, jnp.where(known, labels, 0.0)) * weight
    over = tuple(range(1, logits.ndim))
    total = weight.sum(over)
    return losses.sum(over) / jnp.maximum(total, 1e-6), (total > 0).astype(logits.dtype)
