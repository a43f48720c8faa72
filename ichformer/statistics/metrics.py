"""Metrics of one label: AUROC, Brier score, log loss, and the rates at a threshold. None where one is not estimable.

Every function takes ``labels`` (1, 0, or NaN where unknown: such rows are left out), ``scores`` and, where that makes
sense, ``weights`` of the rows. A row counts as called positive where its score is at least the threshold.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

LOG_LOSS_CLIP = 1e-15
"""Scores are clipped to [clip, 1 - clip] before the logarithm, as the RSNA 2019 competition did."""

Vector = Float64[np.ndarray, " n"]


def known_rows(
    labels: Vector, scores: Vector, weights: Vector | None = None
) -> tuple[Float64[np.ndarray, " m"], Float64[np.ndarray, " m"], Float64[np.ndarray, " m"]]:
    """Labels, scores and weights of the rows whose label is known and whose weight is positive.

    Raises:
      ValueError: a weight is negative or no number, or the score of such a row is no number.
    """
    weights = np.ones_like(scores) if weights is None else weights
    if not (weights >= 0).all():
        raise ValueError("weights must be numbers from 0")
    keep = ~np.isnan(labels) & (weights > 0)
    if np.isnan(scores[keep]).any():
        raise ValueError("scores must be numbers")
    return labels[keep], scores[keep], weights[keep]


def auroc(labels: Vector, scores: Vector, weights: Vector | None = None) -> float | None:
    """Area under the ROC curve, with ties counted half. None where one class is missing."""
    from sklearn.metrics import roc_auc_score  # takes a second to load, and most of this file has no need of it

    labels, scores, weights = known_rows(labels, scores, weights)
    return float(roc_auc_score(labels, scores, sample_weight=weights)) if _both_classes(labels) else None


def brier(labels: Vector, scores: Vector, weights: Vector | None = None) -> float | None:
    """Mean squared difference between the probability and the label."""
    labels, scores, weights = known_rows(labels, scores, weights)
    return float(np.average((scores - labels) ** 2, weights=weights)) if labels.size else None


def cross_entropy(labels: Vector, scores: Vector) -> Vector:
    """Binary cross-entropy of each row, in nats; NaN where the label is unknown."""
    clipped = np.clip(scores, LOG_LOSS_CLIP, 1 - LOG_LOSS_CLIP)
    return -np.log(np.where(labels == 1, clipped, 1 - clipped)) + 0 * labels


def log_loss(labels: Vector, scores: Vector, weights: Vector | None = None) -> float | None:
    """Mean binary cross-entropy of one label."""
    labels, scores, weights = known_rows(labels, scores, weights)
    return float(np.average(cross_entropy(labels, scores), weights=weights)) if labels.size else None


def label_weights(names: tuple[str, ...]) -> Float64[np.ndarray, " labels"]:
    """The RSNA 2019 weights of the labels, normalised: "any" counts twice as much as each other label."""
    weights = np.array([2.0 if name == "any" else 1.0 for name in names])
    return weights / weights.sum()


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Sums of weights of true and false positives and negatives at one threshold, and the rates that follow from them.

    A rate is None where its denominator is 0, and so is a likelihood ratio that would be infinite.
    """

    tp: float
    fp: float
    tn: float
    fn: float

    @property
    def sensitivity(self) -> float | None:
        """Share of the positives that are called positive (recall)."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> float | None:
        """Share of the negatives that are called negative."""
        return _ratio(self.tn, self.tn + self.fp)

    @property
    def ppv(self) -> float | None:
        """Share of the rows called positive that are positive (precision), at the prevalence of the data."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def npv(self) -> float | None:
        """Share of the rows called negative that are negative, at the prevalence of the data."""
        return _ratio(self.tn, self.tn + self.fn)

    @property
    def f1(self) -> float | None:
        """Harmonic mean of sensitivity and PPV."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def mcc(self) -> float | None:
        """Matthews correlation coefficient."""
        margins = (self.tp + self.fp, self.tp + self.fn, self.tn + self.fp, self.tn + self.fn)
        # The root of each margin, not of their product, which overflows for the counts of large sets in integers.
        return _ratio(self.tp * self.tn - self.fp * self.fn, float(np.prod(np.sqrt(margins))))

    @property
    def positive_likelihood_ratio(self) -> float | None:
        """Sensitivity / (1 - specificity)."""
        sensitivity, false_alarms = self.sensitivity, _ratio(self.fp, self.tn + self.fp)
        return None if sensitivity is None or false_alarms is None else _ratio(sensitivity, false_alarms)

    @property
    def negative_likelihood_ratio(self) -> float | None:
        """(1 - sensitivity) / specificity."""
        misses, specificity = _ratio(self.fn, self.tp + self.fn), self.specificity
        return None if misses is None or specificity is None else _ratio(misses, specificity)

    def ppv_at(self, prevalence: float) -> float | None:
        """PPV where a share ``prevalence`` of the scans is positive (Bayes), for another clinic than the data's."""
        if self.sensitivity is None or self.specificity is None:
            return None
        hits = self.sensitivity * prevalence
        return _ratio(hits, hits + (1 - self.specificity) * (1 - prevalence))

    def npv_at(self, prevalence: float) -> float | None:
        """NPV where a share ``prevalence`` of the scans is positive (Bayes)."""
        if self.sensitivity is None or self.specificity is None:
            return None
        clear = self.specificity * (1 - prevalence)
        return _ratio(clear, clear + (1 - self.sensitivity) * prevalence)


def confusion(labels: Vector, scores: Vector, weights: Vector | None = None, *, threshold: float) -> Confusion:
    """Add up the weights of true and false positives and negatives at a threshold."""
    labels, scores, weights = known_rows(labels, scores, weights)
    called, positive = scores >= threshold, labels == 1
    return Confusion(
        tp=float(weights[called & positive].sum()),
        fp=float(weights[called & ~positive].sum()),
        tn=float(weights[~called & ~positive].sum()),
        fn=float(weights[~called & positive].sum()),
    )


def _ratio(numerator: float, denominator: float) -> float | None:
    return numerator / denominator if denominator > 0 else None


def _both_classes(labels: Vector) -> bool:
    return bool((labels == 0).any() and (labels == 1).any())
