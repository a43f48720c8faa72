"""Curves of one label: ROC, precision against recall, net benefit of decisions, risk against coverage.

Every function takes ``labels`` (1, 0, or NaN where unknown: such rows are left out) and ``scores``.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64
from sklearn.metrics import precision_recall_curve
from sklearn.metrics import roc_curve as sklearn_roc_curve

from ichformer.evaluation.calibration import logits
from ichformer.evaluation.metrics import Vector, known_rows


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
      model: who has at least the threshold as score is treated.
      treat_all: everybody is treated. Treating nobody has a net benefit of 0.
    """

    thresholds: Float64[np.ndarray, " points"]
    model: Float64[np.ndarray, " points"]
    treat_all: Float64[np.ndarray, " points"]


@dataclass(frozen=True, kw_only=True, eq=False)
class RiskCoverage:
    """Share of wrong calls among the rows that the model is surest of.

    Attributes:
      coverage: 1/n, 2/n, ... 1: share of the rows that are not handed back to a reader.
      risk: share of them that are called wrongly.
      aurc: mean of the risk over the coverages; lower is better.
    """

    coverage: Float64[np.ndarray, " n"]
    risk: Float64[np.ndarray, " n"]
    aurc: float


def roc_curve(labels: Vector, scores: Vector) -> Curve | None:
    """Sensitivity (y) against 1 - specificity (x), from scikit-learn. None where one class is missing."""
    labels, scores, _ = known_rows(labels, scores)
    if not 0 < labels.sum() < labels.size:
        return None
    false_alarms, sensitivity, _ = sklearn_roc_curve(labels, scores)
    return Curve(x=false_alarms, y=sensitivity)


def pr_curve(labels: Vector, scores: Vector) -> Curve | None:
    """Precision (y) against recall (x), from scikit-learn. None where no row is positive."""
    labels, scores, _ = known_rows(labels, scores)
    if not (labels == 1).any():
        return None
    precision, recall, _ = precision_recall_curve(labels, scores, drop_intermediate=True)
    return Curve(x=recall, y=precision)


def decision_curve(labels: Vector, scores: Vector, thresholds: Float64[np.ndarray, " points"]) -> DecisionCurve | None:
    """Net benefit: true positives a row less false positives a row weighed by the odds of the threshold.

    Source: Vickers, Elkin, Medical Decision Making 2006;26:565-574.

    Args:
      labels: 1, 0 or NaN.
      scores: probabilities; a net benefit of scores that are not calibrated says little.
      thresholds: [points] above 0 and below 1.

    Returns:
      None where no label is known.

    Raises:
      ValueError: a threshold outside 0 to 1.
    """
    if not ((thresholds > 0) & (thresholds < 1)).all():
        raise ValueError("thresholds must lie above 0 and below 1")
    labels, scores, _ = known_rows(labels, scores)
    if not labels.size:
        return None
    odds = thresholds / (1 - thresholds)
    positives, negatives = (np.sort(scores[labels == truth]) for truth in (1, 0))
    hits = positives.size - np.searchsorted(positives, thresholds, "left")
    false_alarms = negatives.size - np.searchsorted(negatives, thresholds, "left")
    return DecisionCurve(
        thresholds=thresholds,
        model=(hits - false_alarms * odds) / labels.size,
        treat_all=(positives.size - negatives.size * odds) / labels.size,
    )


def risk_coverage(labels: Vector, scores: Vector, *, threshold: float = 0.5) -> RiskCoverage | None:
    """How the share of wrong calls falls where the model hands back what it is least sure of.

    A row is the surer the farther its log odds lie from those of the threshold. Rows that are equally sure come in
    random order, and the risk is the mean over these orders.

    Source: Geifman, El-Yaniv, NeurIPS 2017 (curve); Geifman, Uziel, El-Yaniv, ICLR 2019 (AURC).

    Returns:
      None where no label is known.
    """
    labels, scores, _ = known_rows(labels, scores)
    if not labels.size:
        return None
    point = np.array([threshold])
    # Rounded, as 0.1 and 0.9 are equally sure and the last bits of their log odds differ.
    sureness = np.round(np.abs(logits(scores) - logits(point)), 9)
    return _risk_coverage((scores >= threshold) != (labels == 1), sureness)


def _risk_coverage(wrong: Bool[np.ndarray, " n"], sureness: Vector) -> RiskCoverage:
    _, tied, sizes = np.unique(-sureness, return_inverse=True, return_counts=True)
    share_wrong = np.bincount(tied, weights=wrong) / sizes
    kept = np.arange(1, wrong.size + 1)
    risk = np.cumsum(np.repeat(share_wrong, sizes)) / kept
    return RiskCoverage(coverage=kept / wrong.size, risk=risk, aurc=float(risk.mean()))
