"""Are the probabilities true? Reliability, calibration error, slope and intercept, and three ways to mend them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression

from ichformer.evaluation.intervals import Interval, wilson
from ichformer.evaluation.metrics import Vector, brier, known_rows, log_loss

LOGIT_CLIP = 1e-7
"""Probabilities are clipped to [clip, 1 - clip] before the logit; float32 cannot tell more from 1."""


@dataclass(frozen=True, kw_only=True)
class Bin:
    """One point of a reliability curve: ``n`` rows with scores from ``low`` to ``high``, and Wilson's interval."""

    low: float
    high: float
    n: int
    mean_score: float
    positive_share: float
    interval: Interval | None


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How well calibrated one label is; None is "not estimable".

    Attributes:
      n: rows with a known label.
      n_positive: how many are positive.
      brier: mean squared error.
      log_loss: mean binary cross-entropy.
      ece_width: expected calibration error over bins of equal width.
      ece_mass: expected calibration error over bins of equal mass.
      slope: of the logistic recalibration; 1 is right, below 1 the scores are too extreme.
      intercept: calibration in the large, with the slope fixed at 1; 0 is right, below 0 the scores are too high.
    """

    n: int
    n_positive: int
    brier: float | None
    log_loss: float | None
    ece_width: float | None
    ece_mass: float | None
    slope: float | None
    intercept: float | None


@dataclass(frozen=True, kw_only=True)
class Logistic:
    """Recalibration ``sigmoid(intercept + slope * logit(score))``: temperature (intercept 0, slope 1/T) and Platt."""

    intercept: float
    slope: float

    def apply(self, scores: Vector) -> Vector:
        """Recalibrated probabilities."""
        return expit(self.intercept + self.slope * _logits(scores))


@dataclass(frozen=True, kw_only=True)
class Isotonic:
    """Recalibration by a rising line through the points ``(x, y)``, constant outside."""

    x: tuple[float, ...]
    y: tuple[float, ...]

    def apply(self, scores: Vector) -> Vector:
        """Recalibrated probabilities."""
        return np.interp(scores, self.x, self.y)


def measure_calibration(labels: Vector, scores: Vector, *, n_bins: int = 10) -> Calibration:
    """Every figure of calibration of one label.

    Source: Van Calster et al., BMC Medicine 2019;17:230, for what slope and intercept mean.
    """
    labels, scores, _ = known_rows(labels, scores)
    x, ones = _logits(scores), np.ones((labels.size, 1))
    joint = _fit(np.column_stack([ones, x]), labels, np.zeros_like(x)) if _overlap(labels, x) else None
    mixed = 0 < np.sum(labels == 1) < labels.size
    large = _fit(ones, labels, x) if mixed else None
    return Calibration(
        n=labels.size,
        n_positive=int(np.sum(labels == 1)),
        brier=brier(labels, scores),
        log_loss=log_loss(labels, scores),
        ece_width=expected_calibration_error(labels, scores, n_bins=n_bins, strategy="width"),
        ece_mass=expected_calibration_error(labels, scores, n_bins=n_bins, strategy="mass"),
        slope=None if joint is None else float(joint[1]),
        intercept=None if large is None else float(large[0]),
    )


def reliability_curve(
    labels: Vector, scores: Vector, *, n_bins: int = 10, strategy: Literal["width", "mass"] = "width"
) -> tuple[Bin, ...]:
    """Share of positives against mean score, over bins of equal width or equal mass; empty bins are left out.

    Rows on an inner edge belong to the bin below, as in scikit-learn's ``calibration_curve``. Wilson's interval takes
    rows as independent.
    """
    labels, scores, _ = known_rows(labels, scores)
    if not labels.size:
        return ()
    parts = np.linspace(0, 1, n_bins + 1)
    edges = parts if strategy == "width" else np.quantile(scores, parts)
    which = np.searchsorted(edges[1:-1], scores)
    return tuple(_bin(labels[which == i], scores[which == i], edges[i], edges[i + 1]) for i in np.unique(which))


def _bin(labels: Vector, scores: Vector, low: np.floating, high: np.floating) -> Bin:
    positives = int(labels.sum())
    return Bin(
        low=float(low),
        high=float(high),
        n=labels.size,
        mean_score=float(scores.mean()),
        positive_share=positives / labels.size,
        interval=wilson(positives, labels.size),
    )


def expected_calibration_error(
    labels: Vector, scores: Vector, *, n_bins: int = 10, strategy: Literal["width", "mass"] = "width"
) -> float | None:
    """Mean distance between mean score and share of positives over the bins, weighted by their rows.

    Source: Naeini, Cooper, Hauskrecht, AAAI 2015 (equal width); Nguyen, O'Connor, EMNLP 2015 (equal mass).
    """
    bins = reliability_curve(labels, scores, n_bins=n_bins, strategy=strategy)
    rows = sum(b.n for b in bins)
    return sum(b.n * abs(b.mean_score - b.positive_share) for b in bins) / rows if rows else None


def fit_temperature(labels: Vector, scores: Vector) -> Logistic | None:
    """The one temperature that minimises the log loss.

    Source: Guo et al., ICML 2017. None where no positive temperature does: every row on its right side of 0.5 (the
    temperature would go to 0), or a score that tells nothing or the opposite.
    """
    labels, scores, _ = known_rows(labels, scores)
    x = _logits(scores)
    margins = np.where(labels == 1, x, -x)
    if not ((margins > 0).any() and (margins < 0).any()):
        return None
    fitted = _fit(x[:, None], labels, np.zeros_like(x))
    return None if fitted is None or fitted[0] <= 0 else Logistic(intercept=0.0, slope=float(fitted[0]))


def fit_platt(labels: Vector, scores: Vector) -> Logistic | None:
    """Platt's scaling on the logits, with his targets (N+ + 1)/(N+ + 2) and 1/(N- + 2), which keep it finite.

    Source: Platt, Advances in Large Margin Classifiers 1999. None where one class is missing or the score is constant.
    """
    labels, scores, _ = known_rows(labels, scores)
    positives, negatives = np.sum(labels == 1), np.sum(labels == 0)
    x = _logits(scores)
    if not positives or not negatives or np.ptp(x) == 0:
        return None
    targets = np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    fitted = _fit(np.column_stack([np.ones_like(x), x]), targets, np.zeros_like(x))
    return None if fitted is None else Logistic(intercept=float(fitted[0]), slope=float(fitted[1]))


def fit_isotonic(labels: Vector, scores: Vector) -> Isotonic | None:
    """Isotonic regression, from scikit-learn. None where one class is missing."""
    labels, scores, _ = known_rows(labels, scores)
    if not 0 < np.sum(labels == 1) < labels.size:
        return None
    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(scores, labels)
    return Isotonic(x=tuple(map(float, fitted.X_thresholds_)), y=tuple(map(float, fitted.y_thresholds_)))


def _logits(scores: Vector) -> Vector:
    return logit(np.clip(scores, LOGIT_CLIP, 1 - LOGIT_CLIP))


def _overlap(labels: Vector, x: Vector) -> bool:
    """Whether the logistic fit of slope and intercept exists: neither class lies wholly on one side of the other."""
    positive, negative = x[labels == 1], x[labels == 0]
    both = positive.size > 0 and negative.size > 0
    return bool(both and positive.min() < negative.max() and negative.min() < positive.max())


def _fit(design: Float64[np.ndarray, "n k"], targets: Vector, offset: Vector) -> Float64[np.ndarray, " k"] | None:
    """Logistic regression by Newton's method with halved steps; None where it does not converge."""

    def loss(beta: Float64[np.ndarray, " k"]) -> float:
        eta = offset + design @ beta
        return float(np.mean(np.logaddexp(0, eta) - targets * eta))

    beta = np.zeros(design.shape[1])
    for _ in range(100):
        p = expit(offset + design @ beta)
        gradient = design.T @ (p - targets) / targets.size
        hessian = (design * (p * (1 - p))[:, None]).T @ design / targets.size
        if np.linalg.matrix_rank(hessian) < beta.size:
            return None
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while size > 1e-6 and loss(beta - size * step) > loss(beta):
            size /= 2
        beta = beta - size * step
        if np.max(np.abs(size * step)) < 1e-10:
            return beta
    return None
