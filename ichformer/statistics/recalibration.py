"""Recalibration of probabilities, fitted on validation: temperature, Platt's scaling, isotonic regression."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression

from ichformer.statistics.calibration import fit_logistic, logits
from ichformer.statistics.metrics import Vector, known_rows


@dataclass(frozen=True, kw_only=True)
class Logistic:
    """Recalibration ``sigmoid(intercept + slope * logit(score))``: temperature (intercept 0, slope 1/T) and Platt."""

    intercept: float
    slope: float

    def apply(self, scores: Vector) -> Vector:
        """Recalibrated probabilities."""
        return expit(self.intercept + self.slope * logits(scores))


@dataclass(frozen=True, kw_only=True)
class Isotonic:
    """Recalibration by a rising line through the points ``(x, y)``, which is constant outside of them."""

    x: tuple[float, ...]
    y: tuple[float, ...]

    def apply(self, scores: Vector) -> Vector:
        """Recalibrated probabilities."""
        return np.interp(scores, self.x, self.y)


def fit_temperature(labels: Vector, scores: Vector, weights: Vector | None = None) -> Logistic | None:
    """Fit the temperature that minimises the log loss.

    Source: Guo et al., ICML 2017. None where one class is missing or no positive temperature does: every row on its
    right side of 0.5 (the temperature would go to 0), or a score that tells nothing or the opposite.
    """
    labels, scores, weights = known_rows(labels, scores, weights)
    x = logits(scores)
    margins = np.where(labels == 1, x, -x)
    if not _both(labels) or not ((margins > 0).any() and (margins < 0).any()):
        return None
    # The log loss is convex in the slope, and this is how it falls at 0: rounding alone is no temperature.
    pull = margins * weights
    if np.sum(pull) <= 1e-12 * np.sum(np.abs(pull)):
        return None
    fitted = fit_logistic(x[:, None], labels, np.zeros_like(x), weights)
    return None if fitted is None else Logistic(intercept=0.0, slope=float(fitted[0]))


def fit_platt(labels: Vector, scores: Vector, weights: Vector | None = None) -> Logistic | None:
    """Fit Platt's scaling to the logits, with his targets (N+ + 1)/(N+ + 2) and 1/(N- + 2), which keep it finite.

    Source: Platt, Advances in Large Margin Classifiers 1999. None where one class is missing or the score is constant.
    """
    labels, scores, weights = known_rows(labels, scores, weights)
    positives, negatives = np.sum(labels == 1), np.sum(labels == 0)
    x = logits(scores)
    if not _both(labels) or np.ptp(x) == 0:
        return None
    targets = np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    fitted = fit_logistic(np.column_stack([np.ones_like(x), x]), targets, np.zeros_like(x), weights)
    return None if fitted is None else Logistic(intercept=float(fitted[0]), slope=float(fitted[1]))


def fit_isotonic(labels: Vector, scores: Vector, weights: Vector | None = None) -> Isotonic | None:
    """Fit an isotonic regression with scikit-learn. None where one class is missing."""
    labels, scores, weights = known_rows(labels, scores, weights)
    if not _both(labels):
        return None
    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(scores, labels, weights)
    return Isotonic(x=tuple(map(float, fitted.X_thresholds_)), y=tuple(map(float, fitted.y_thresholds_)))


def _both(labels: Vector) -> bool:
    return bool(0 < np.sum(labels == 1) < labels.size)


RECALIBRATIONS = {"temperature": fit_temperature, "platt": fit_platt, "isotonic": fit_isotonic}
"""The functions that fit a recalibration, by name."""
