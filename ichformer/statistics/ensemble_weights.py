"""Weights of the members of an ensemble that minimise the log loss on validation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy.optimize import LinearConstraint, minimize
from scipy.special import expit

from ichformer.errors import InputError


@dataclass(frozen=True, kw_only=True)
class MemberLogits:
    """Logits of each member for the rows of a split, which are slices and scans.

    Attributes:
      logits: [rows, members, labels].
      labels: [rows, labels] 0, 1 or NaN (unknown).
      share: [rows, labels] the weight of each label's loss: 0 where the label is unknown; the sum is 1.
    """

    logits: Float64[np.ndarray, "n m labels"]
    labels: Float64[np.ndarray, "n labels"]
    share: Float64[np.ndarray, "n labels"]

    def loss(self, weights: Float64[np.ndarray, "m"]) -> float:
        """The log loss of the members' weighted logits."""
        return self.loss_and_gradient(weights)[0]

    def loss_and_gradient(self, weights: Float64[np.ndarray, "m"]) -> tuple[float, Float64[np.ndarray, "m"]]:
        """The log loss of the members' weighted logits, and its gradient by the weights."""
        labels = np.where(self.share > 0, self.labels, 0.0)
        logits = np.einsum("m,nml->nl", weights, self.logits)
        loss = np.sum(self.share * (np.logaddexp(0, logits) - labels * logits))
        return float(loss), np.einsum("nl,nml->m", self.share * (expit(logits) - labels), self.logits)


def shares(
    labels: Float64[np.ndarray, "n labels"], scan: np.ndarray, *, is_scan: np.ndarray, label_weights: Sequence[float]
) -> Float64[np.ndarray, "n labels"]:
    """Weight of each label's loss, as in training: every scan counts the same, half by its slices and half by itself.

    Args:
      labels: of slices and scans, NaN where unknown.
      scan: the number of the scan that each row belongs to.
      is_scan: whether the row is the scan itself.
      label_weights: of the labels among each other.
    """
    known = np.where(np.isnan(labels), 0.0, np.asarray(label_weights))
    part = 2 * scan + is_scan
    total = np.bincount(part, weights=known.sum(1))[part]
    share = known / np.where(total > 0, total, 1.0)[:, None]
    if not share.any():
        raise InputError("no label is known", where="ensemble", fix="name a split with labels")
    return share / share.sum()


def fit_weights(found: MemberLogits) -> Float64[np.ndarray, "m"]:
    """Find the weights of at least 0, with the sum 1, that have the smallest log loss.

    A logit is linear in the weights and the log loss is convex in a logit, so there is one minimum, which SLSQP (Kraft
    1988) finds from equal weights. No member alone is better on these scans. That is not promised for other scans.
    Weights under a thousandth become 0.
    """
    count = found.logits.shape[1]
    # SLSQP stops by the absolute change of the value, and a good ensemble's loss is small: relative to the start's.
    scale = 1.0 / max(found.loss(np.full(count, 1 / count)), 1e-12)
    result = minimize(
        lambda w: tuple(scale * value for value in found.loss_and_gradient(w)),
        np.full(count, 1 / count),
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * count,
        constraints=LinearConstraint(np.ones((1, count)), 1.0, 1.0),
        options={"ftol": 1e-12, "maxiter": 1000},
    )
    weights = np.where(result.x < 1e-3, 0.0, result.x)
    return weights / weights.sum()
