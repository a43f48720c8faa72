"""Curves of one label: ROC, precision and recall, decision curve (net benefit), risk and coverage.

Every function takes ``labels`` (1, 0, or NaN where unknown: such rows are left out), ``scores`` and, where rows count
differently, their ``weights``.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64
from sklearn.metrics import precision_recall_curve
from sklearn.metrics import roc_curve as sklearn_roc_curve

from ichformer.statistics.calibration import logits
from ichformer.statistics.metrics import Vector, known_rows


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """Points of a curve, in drawing order."""

    x: Float64[np.ndarray, " points"]
    y: Float64[np.ndarray, " points"]


@dataclass(frozen=True, kw_only=True, eq=False)
class DecisionCurve:
    """Net benefit against the threshold probability, per row, in units of true positives.

    Attributes:
      thresholds: probabilities from which on a patient would be treated.
      model: net benefit where those are treated whose score is at least the threshold.
      treat_all: net benefit where everybody is treated. Treating nobody has a net benefit of 0.
    """

    thresholds: Float64[np.ndarray, " points"]
    model: Float64[np.ndarray, " points"]
    treat_all: Float64[np.ndarray, " points"]


@dataclass(frozen=True, kw_only=True, eq=False)
class RiskCoverage:
    """Share of wrong calls among the rows of which the model is most certain.

    Attributes:
      coverage: ascending to 1: share of the rows that are not left to a reader, row by row.
      risk: share of them that are called wrongly.
      aurc: mean of the risk over the coverages; lower is better.
    """

    coverage: Float64[np.ndarray, " n"]
    risk: Float64[np.ndarray, " n"]
    aurc: float


def roc_curve(labels: Vector, scores: Vector, weights: Vector | None = None) -> Curve | None:
    """Sensitivity (y) against 1 - specificity (x), from scikit-learn. None where one class is missing."""
    labels, scores, weights = known_rows(labels, scores, weights)
    if not 0 < labels.sum() < labels.size:
        return None
    false_alarms, sensitivity, _ = sklearn_roc_curve(labels, scores, sample_weight=weights)
    return Curve(x=false_alarms, y=sensitivity)


def pr_curve(labels: Vector, scores: Vector, weights: Vector | None = None) -> Curve | None:
    """Precision (y) against recall (x), from scikit-learn. None where one class is missing."""
    labels, scores, weights = known_rows(labels, scores, weights)
    if not 0 < labels.sum() < labels.size:
        return None
    precision, recall, _ = precision_recall_curve(labels, scores, sample_weight=weights, drop_intermediate=True)
    return Curve(x=recall, y=precision)


def decision_curve(
    labels: Vector, scores: Vector, thresholds: Float64[np.ndarray, " points"], weights: Vector | None = None
) -> DecisionCurve | None:
    """Net benefit: true positives per row minus false positives per row weighted by the odds of the threshold.

    Source: Vickers, Elkin, Medical Decision Making 2006;26:565-574.

    Args:
      labels: 1, 0 or NaN.
      scores: probabilities; a net benefit of scores that are not calibrated says little.
      thresholds: [points] above 0 and below 1.
      weights: of the rows.

    Returns:
      None where no label is known.

    Raises:
      ValueError: a threshold outside 0 to 1.
    """
    if not ((thresholds > 0) & (thresholds < 1)).all():
        raise ValueError("thresholds must lie above 0 and below 1")
    labels, scores, weights = known_rows(labels, scores, weights)
    if not labels.size:
        return None
    odds = thresholds / (1 - thresholds)
    shares = weights / weights.sum()
    hits, false_alarms = (_at_least(scores[labels == truth], shares[labels == truth], thresholds) for truth in (1, 0))
    positive = shares[labels == 1].sum()
    return DecisionCurve(
        thresholds=thresholds, model=hits - false_alarms * odds, treat_all=positive - (1 - positive) * odds
    )


def _at_least(
    scores: Float64[np.ndarray, " m"], shares: Float64[np.ndarray, " m"], thresholds: Float64[np.ndarray, " points"]
) -> Float64[np.ndarray, " points"]:
    """Sum of the shares of the rows that score at least each threshold."""
    order = np.argsort(scores)
    below = np.concatenate([[0.0], np.cumsum(shares[order])])
    return below[-1] - below[np.searchsorted(scores[order], thresholds, "left")]


def risk_coverage(
    labels: Vector, scores: Vector, weights: Vector | None = None, *, threshold: float = 0.5
) -> RiskCoverage | None:
    """Share of wrong calls where the model leaves the rows of which it is least certain to a reader.

    The model is the more certain of a row, the farther its log odds lie from those of the threshold. Rows of equal
    certainty come in random order, and the risk is the mean over these orders.

    Source: Geifman, El-Yaniv, NeurIPS 2017 (curve); Geifman, Uziel, El-Yaniv, ICLR 2019 (AURC).

    Returns:
      None where no label is known.
    """
    labels, scores, weights = known_rows(labels, scores, weights)
    if not labels.size:
        return None
    point = np.array([threshold])
    # Rounded, as 0.1 and 0.9 are equally certain and the last bits of their log odds differ.
    certainty = np.round(np.abs(logits(scores) - logits(point)), 9)
    return _risk_coverage((scores >= threshold) != (labels == 1), certainty, weights)


def _risk_coverage(wrong: Bool[np.ndarray, " n"], certainty: Vector, weights: Vector) -> RiskCoverage:
    _, tied = np.unique(-certainty, return_inverse=True)
    share_wrong = np.bincount(tied, weights=weights * wrong) / np.bincount(tied, weights=weights)
    order = np.argsort(tied, kind="stable")
    weights = weights[order]
    kept = np.cumsum(weights)
    risk = np.cumsum(weights * share_wrong[tied[order]]) / kept
    return RiskCoverage(coverage=kept / kept[-1], risk=risk, aurc=float(np.average(risk, weights=weights)))
