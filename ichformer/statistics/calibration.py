"""Calibration of probabilities: reliability curve, expected calibration error, slope and intercept."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int64
from scipy.special import expit, logit
from scipy.stats import t as student

from ichformer.statistics.intervals import Interval, rate_interval, sum_by_patient
from ichformer.statistics.metrics import Vector, brier, known_rows, log_loss

LOGIT_CLIP = 1e-7
"""Probabilities are clipped to [clip, 1 - clip] before the logit; float32 cannot tell more from 1."""


Patients = Int64[np.ndarray, " n"]


@dataclass(frozen=True, kw_only=True)
class Bin:
    """One point of a reliability curve: ``n`` rows with scores from ``low`` to ``high``.

    They hold the share ``weight`` of the weight of all rows; the interval is for patients.
    """

    low: float
    high: float
    n: int
    weight: float
    mean_score: float
    positive_share: float
    interval: Interval | None


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Figures of calibration of one label; None is "not estimable".

    Attributes:
      n: rows with a known label.
      n_positive: how many are positive.
      brier: mean squared error.
      log_loss: mean binary cross-entropy.
      ece_width: expected calibration error over bins of equal width.
      ece_mass: expected calibration error over bins of equal mass.
      slope: of the logistic recalibration; 1 is right, below 1 the scores are too extreme.
      slope_interval: for patients; None with fewer than two.
      intercept: calibration in the large, with the slope fixed at 1; 0 is right, below 0 the scores are too high.
      intercept_interval: the same.
      curve: reliability curve over bins of equal mass.
    """

    n: int
    n_positive: int
    brier: float | None
    log_loss: float | None
    ece_width: float | None
    ece_mass: float | None
    slope: float | None
    slope_interval: Interval | None
    intercept: float | None
    intercept_interval: Interval | None
    curve: tuple[Bin, ...]


def measure_calibration(
    labels: Vector,
    scores: Vector,
    patients: Patients | None = None,
    weights: Vector | None = None,
    *,
    n_bins: int = 10,
) -> Calibration:
    """Measure every figure of calibration of one label.

    Source: Van Calster et al., BMC Medicine 2019;17:230, for what slope and intercept mean.

    Args:
      labels: 1, 0, or NaN where unknown; such rows are left out.
      scores: probabilities.
      patients: number of the patient of each row; None where every row is a patient.
      weights: of the rows, above 0; None where all count the same.
      n_bins: of the curve and of the expected errors.
    """
    patients = _known_patients(labels, patients, weights)
    labels, scores, weights = known_rows(labels, scores, weights)
    x, ones = logits(scores), np.ones((labels.size, 1))
    mixed = 0 < np.sum(labels == 1) < labels.size
    joint = _fit(np.column_stack([ones, x]), labels, 0 * x, patients, weights) if _overlap(labels, x) else None
    large = _fit(ones, labels, x, patients, weights) if mixed else None
    by_width, by_mass = (
        reliability_curve(labels, scores, patients, weights, n_bins=n_bins, strategy=s) for s in ("width", "mass")
    )
    return Calibration(
        n=labels.size,
        n_positive=int(np.sum(labels == 1)),
        brier=brier(labels, scores, weights),
        log_loss=log_loss(labels, scores, weights),
        ece_width=expected_calibration_error(by_width),
        ece_mass=expected_calibration_error(by_mass),
        slope=None if joint is None else joint[0],
        slope_interval=None if joint is None else joint[1],
        intercept=None if large is None else large[0],
        intercept_interval=None if large is None else large[1],
        curve=by_mass,
    )


def reliability_curve(
    labels: Vector,
    scores: Vector,
    patients: Patients | None = None,
    weights: Vector | None = None,
    *,
    n_bins: int = 10,
    strategy: Literal["width", "mass"] = "width",
) -> tuple[Bin, ...]:
    """Share of positives against mean score, over bins of equal width or equal mass; empty bins are left out.

    Rows on an inner edge belong to the bin below, as in scikit-learn's ``calibration_curve``. The arguments are those
    of ``measure_calibration``.
    """
    patients = _known_patients(labels, patients, weights)
    labels, scores, weights = known_rows(labels, scores, weights)
    if not labels.size:
        return ()
    parts = np.linspace(0, 1, n_bins + 1)
    edges = parts if strategy == "width" else _quantiles(scores, weights, parts)
    which = np.searchsorted(edges[1:-1], scores)
    found = []
    for i in np.unique(which):
        y, s, w, p = (values[which == i] for values in (labels, scores, weights, patients))
        found.append(
            Bin(
                low=float(edges[i]),
                high=float(edges[i + 1]),
                n=y.size,
                weight=float(w.sum() / weights.sum()),
                mean_score=float(np.average(s, weights=w)),
                positive_share=float(np.average(y, weights=w)),
                interval=rate_interval(y == 1, p, w),
            )
        )
    return tuple(found)


def _known_patients(labels: Vector, patients: Patients | None, weights: Vector | None) -> Int64[np.ndarray, " known"]:
    """The patients of the rows that ``known_rows`` keeps."""
    patients = np.arange(labels.size, dtype=np.int64) if patients is None else patients
    return patients[~np.isnan(labels) & (True if weights is None else weights > 0)]


def _quantiles(scores: Vector, weights: Vector, at: Float64[np.ndarray, " parts"]) -> Float64[np.ndarray, " parts"]:
    """NumPy's linear quantiles; with unequal weights the scores at which the cumulated weight passes a share."""
    if (weights == weights[0]).all():
        return np.quantile(scores, at)
    return np.quantile(scores, at, weights=weights, method="inverted_cdf")


def expected_calibration_error(curve: tuple[Bin, ...]) -> float | None:
    """Mean distance between mean score and share of positives over the bins, weighted by their rows.

    Source: Naeini, Cooper, Hauskrecht, AAAI 2015 (equal width); Nguyen, O'Connor, EMNLP 2015 (equal mass).
    """
    return sum(b.weight * abs(b.mean_score - b.positive_share) for b in curve) if curve else None


def _fit(
    design: Float64[np.ndarray, "n k"], labels: Vector, offset: Vector, patients: Patients, weights: Vector
) -> tuple[float, Interval | None] | None:
    """The last coefficient of a logistic regression and its interval from the errors of patients; None without a fit.

    Source: Liang, Zeger, Biometrika 1986;73:13-22 (sandwich), times clusters / (clusters - 1), Student's quantile.
    """
    beta = fit_logistic(design, labels, offset, weights)
    if beta is None:
        return None
    p = expit(offset + design @ beta)
    hessian = (design * (weights * p * (1 - p))[:, None]).T @ design
    _, number = np.unique(patients, return_inverse=True)
    n = int(number.max()) + 1
    if n < 2 or np.linalg.cond(hessian) > 1e14:
        return float(beta[-1]), None
    scores = np.stack([sum_by_patient(weights * (labels - p) * column, number, n) for column in design.T], axis=1)
    influence = np.linalg.solve(hessian, scores.T)[-1]
    error = float(np.sqrt(n / (n - 1) * np.sum(influence**2)))
    if error == 0:
        return float(beta[-1]), None
    low, high = beta[-1] + error * student.ppf([0.025, 0.975], n - 1)
    return float(beta[-1]), Interval(low=float(low), high=float(high), method="sandwich, clustered by patient")


def logits(scores: Vector) -> Vector:
    """Log odds of probabilities, clipped by ``LOGIT_CLIP``."""
    return logit(np.clip(scores, LOGIT_CLIP, 1 - LOGIT_CLIP))


def _overlap(labels: Vector, x: Vector) -> bool:
    """Whether the logistic fit of slope and intercept exists: neither class lies wholly on one side of the other."""
    positive, negative = x[labels == 1], x[labels == 0]
    both = positive.size > 0 and negative.size > 0
    return bool(both and positive.min() < negative.max() and negative.min() < positive.max())


def fit_logistic(
    design: Float64[np.ndarray, "n k"], targets: Vector, offset: Vector, weights: Vector
) -> Float64[np.ndarray, " k"] | None:
    """Logistic regression by Levenberg and Marquardt's damped Newton method; None where it does not converge.

    Undamped steps fly off where most scores are near 0 or 1, for there the Hessian is next to nothing.
    """

    weights = weights / weights.sum()

    def loss(beta: Float64[np.ndarray, " k"]) -> float:
        eta = offset + design @ beta
        return float(np.sum(weights * (np.logaddexp(0, eta) - targets * eta)))

    beta, damping, unit = np.zeros(design.shape[1]), 0.0, np.eye(design.shape[1])
    for _ in range(500):
        p = expit(offset + design @ beta)
        gradient = design.T @ (weights * (p - targets))
        hessian = (design * (weights * p * (1 - p))[:, None]).T @ design
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
