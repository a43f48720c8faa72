"""Are the probabilities true? Reliability curve, expected calibration error, slope and intercept."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64
from scipy.special import expit, logit

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
      curve: reliability curve over bins of equal mass.
    """

    n: int
    n_positive: int
    brier: float | None
    log_loss: float | None
    ece_width: float | None
    ece_mass: float | None
    slope: float | None
    intercept: float | None
    curve: tuple[Bin, ...]


def measure_calibration(labels: Vector, scores: Vector, *, n_bins: int = 10) -> Calibration:
    """Every figure of calibration of one label.

    Source: Van Calster et al., BMC Medicine 2019;17:230, for what slope and intercept mean.
    """
    labels, scores, _ = known_rows(labels, scores)
    x, ones = logits(scores), np.ones((labels.size, 1))
    joint = fit_logistic(np.column_stack([ones, x]), labels, np.zeros_like(x)) if _overlap(labels, x) else None
    mixed = 0 < np.sum(labels == 1) < labels.size
    large = fit_logistic(ones, labels, x) if mixed else None
    return Calibration(
        n=labels.size,
        n_positive=int(np.sum(labels == 1)),
        brier=brier(labels, scores),
        log_loss=log_loss(labels, scores),
        ece_width=expected_calibration_error(labels, scores, n_bins=n_bins, strategy="width"),
        ece_mass=expected_calibration_error(labels, scores, n_bins=n_bins, strategy="mass"),
        slope=None if joint is None else float(joint[1]),
        intercept=None if large is None else float(large[0]),
        curve=reliability_curve(labels, scores, n_bins=n_bins, strategy="mass"),
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


def logits(scores: Vector) -> Vector:
    """Log odds of probabilities, clipped by ``LOGIT_CLIP``."""
    return logit(np.clip(scores, LOGIT_CLIP, 1 - LOGIT_CLIP))


def _overlap(labels: Vector, x: Vector) -> bool:
    """Whether the logistic fit of slope and intercept exists: neither class lies wholly on one side of the other."""
    positive, negative = x[labels == 1], x[labels == 0]
    both = positive.size > 0 and negative.size > 0
    return bool(both and positive.min() < negative.max() and negative.min() < positive.max())


def fit_logistic(
    design: Float64[np.ndarray, "n k"], targets: Vector, offset: Vector
) -> Float64[np.ndarray, " k"] | None:
    """Logistic regression by Levenberg and Marquardt's damped Newton method; None where it does not converge.

    Undamped steps fly off where most scores are near 0 or 1, for there the Hessian is next to nothing.
    """

    def loss(beta: Float64[np.ndarray, " k"]) -> float:
        eta = offset + design @ beta
        return float(np.mean(np.logaddexp(0, eta) - targets * eta))

    beta, damping, unit = np.zeros(design.shape[1]), 0.0, np.eye(design.shape[1])
    for _ in range(500):
        p = expit(offset + design @ beta)
        gradient = design.T @ (p - targets) / targets.size
        hessian = (design * (p * (1 - p))[:, None]).T @ design / targets.size
        # A trace of rounding keeps the matrix regular where the scores are all but constant.
        newton = np.linalg.solve(hessian + 1e-15 * unit, gradient)
        # Twice the loss that is left to gain, whatever the scale of the coefficients.
        if gradient @ newton < 1e-20:
            return beta - newton
        step = np.linalg.solve(hessian + (damping + 1e-15) * unit, gradient)
        if loss(beta - step) <= loss(beta) + 1e-14:
            beta, damping = beta - step, damping / 10
        else:
            damping = max(10 * damping, 1e-6)
    return None
