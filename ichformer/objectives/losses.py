"""Losses of single labels, element by element: what ``Classification`` averages over labels, slices and scans.

Each takes logits and labels of one shape and returns a loss for each element. Labels are 0 or 1 (or anything between,
for soft labels); whoever calls it leaves out the unknown ones.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

LossName = Literal["bce", "focal", "asymmetric"]
"""The losses that training takes by name."""


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
    weight = _for_each_label(positive_weight, logits)
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


def _for_each_label(values: float | Float[Array, " labels"], like: Float[Array, "*grid labels"]) -> Array:
    """One value or one a label, with as many axes as ``like``."""
    values = jnp.asarray(values, like.dtype)
    return values.reshape((1,) * (like.ndim - values.ndim) + values.shape)


LOSSES: Mapping[LossName, Callable[..., Float[Array, "*grid labels"]]] = {
    "bce": binary_cross_entropy,
    "focal": focal,
    "asymmetric": asymmetric,
}
"""By the name that ``--objective.loss`` takes."""
