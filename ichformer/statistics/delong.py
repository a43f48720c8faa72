"""DeLong's variance, interval and paired test of AUROCs, with rows clustered by patient.

Sources: DeLong, DeLong, Clarke-Pearson, Biometrics 1988;44:837-845; sorting instead of all pairs, O(n log n): Sun, Xu,
IEEE Signal Processing Letters 2014;21:1389-1393; rows clustered by patient: Obuchowski, Biometrics 1997;53:567-578.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int64
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import norm, rankdata
from scipy.stats import t as student

from ichformer.statistics.intervals import Interval, effective_patients, sum_by_patient

Vector = Float64[np.ndarray, " n"]
Patients = Int64[np.ndarray, " n"]


@dataclass(frozen=True, kw_only=True, eq=False)
class AurocCovariance:
    """AUROCs of several scores for the same rows.

    Attributes:
      aurocs: [models].
      covariance: [models, models].
      positive_patients: patients with at least one positive row; where rows have weights, how many equal ones tell as
        much (``intervals.effective_patients``).
      negative_patients: the same of those with at least one negative row.
    """

    aurocs: Float64[np.ndarray, " models"]
    covariance: Float64[np.ndarray, "models models"]
    positive_patients: float
    negative_patients: float


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A difference of two AUROCs, its interval and two-sided p value.

    ``z`` is None where the variance is 0. There the interval has no width where both scores rank all rows alike, and is
    None where they do not: two AUROCs of 1 on a few rows do not show that the models are equally good.
    """

    value: float
    interval: Interval | None
    z: float | None
    p_value: float


def delong(
    labels: Vector,
    scores: Float64[np.ndarray, "models n"],
    patients: Patients | None = None,
    weights: Vector | None = None,
) -> AurocCovariance | None:
    """Compute AUROCs and their covariance.

    With weights every pair counts by the product of its rows' weights, and the components are those of that estimate:
    its first-order terms, summed by patient.

    Args:
      labels: 1, 0, or NaN where unknown; such rows are left out.
      scores: one row of scores a model.
      patients: number of the patient of each row; None where every row is a patient. With one row a patient both give
        DeLong's covariance.
      weights: of the rows, above 0; None where all count the same.

    Returns:
      None where fewer than two patients have a positive row, or fewer than two a negative one.
    """
    patients = np.arange(labels.size, dtype=np.int64) if patients is None else patients
    weights = np.ones(labels.size) if weights is None else weights
    positive, negative = labels == 1, labels == 0
    of_positive, of_negative = weights[positive], weights[negative]
    clusters_positive, clusters_negative = (np.unique(patients[rows]).size for rows in (positive, negative))
    if min(clusters_positive, clusters_negative) < 2:
        return None
    wins = np.stack([_placements(model[negative], of_negative, model[positive]) for model in scores])
    losses = np.stack([1 - _placements(model[positive], of_positive, model[negative]) for model in scores])
    aurocs = wins @ of_positive / of_positive.sum()
    n_patients = int(patients.max()) + 1

    def by_patient(deviations: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return np.stack([sum_by_patient(model, patients[rows], n_patients) for model in deviations])

    a = by_patient((wins - aurocs[:, None]) * of_positive, positive) / of_positive.sum()
    b = by_patient((losses - aurocs[:, None]) * of_negative, negative) / of_negative.sum()
    clusters = np.unique(patients[positive | negative]).size
    covariance = (
        clusters_positive / (clusters_positive - 1) * (a @ a.T)
        + clusters_negative / (clusters_negative - 1) * (b @ b.T)
        + clusters / (clusters - 1) * (a @ b.T + b @ a.T)
    )
    return AurocCovariance(
        aurocs=aurocs,
        covariance=covariance,
        positive_patients=effective_patients(patients[positive], of_positive),
        negative_patients=effective_patients(patients[negative], of_negative),
    )


def _placements(reference: Float64[np.ndarray, " r"], weights: Float64[np.ndarray, " r"], values: Vector) -> Vector:
    """Share of ``reference``, by weight, below each value, ties counted half."""
    order = np.argsort(reference, kind="stable")
    ordered, below = reference[order], np.concatenate([[0.0], np.cumsum(weights[order])])
    less, no_more = below[np.searchsorted(ordered, values, "left")], below[np.searchsorted(ordered, values, "right")]
    return (less + no_more) / (2 * below[-1])


def auroc_interval(
    labels: Vector,
    scores: Vector,
    patients: Patients | None = None,
    weights: Vector | None = None,
    *,
    scale: Literal["logit", "plain"] = "logit",
    confidence: float = 0.95,
) -> Interval | None:
    """DeLong interval of one AUROC.

    ``logit`` is the default: the interval is made on the log odds of the AUROC and mapped back, with Student's quantile
    for one degree of freedom less than the smaller of the numbers of patients with a positive and with a negative row.
    It stays inside 0 to 1, and it covers as promised where positives are rare, data few or AUROCs high, where
    ``plain`` falls short (``tests/statistics/test_coverage.py``). ``plain`` is AUROC +- z * SE, cut at 0 and 1, as R's
    pROC has it. Where positives and negatives are separated completely, DeLong's variance is 0 and says nothing;
    there both give way to ``separated_interval``.

    Returns:
      None where ``delong`` gives None, and where all rows score the same, or the rows of each patient cancel: a
      variance of 0 says nothing about the spread.
    """
    found = delong(labels, scores[None], patients, weights)
    if found is None:
        return None
    auroc, error = float(found.aurocs[0]), float(np.sqrt(max(0.0, found.covariance[0, 0])))
    # Sums of weights leave about 1e-16 of what is 0.
    if min(auroc, 1 - auroc) < 1e-12:
        auroc = round(auroc)
        return separated_interval(auroc, found.positive_patients, found.negative_patients, confidence=confidence)
    if error < 1e-9:
        return None
    if scale == "plain":
        low, high = np.clip(auroc + norm.ppf(_tails(confidence)) * error, 0, 1)
    else:
        quantiles = student.ppf(_tails(confidence), _degrees(found))
        low, high = expit(logit(auroc) + quantiles * error / (auroc * (1 - auroc)))
    method = ("DeLong" if patients is None else "DeLong, clustered by patient") + (", logit" * (scale == "logit"))
    return Interval(low=float(low), high=float(high), method=method, confidence=confidence)


def _tails(confidence: float) -> Float64[np.ndarray, "2"]:
    return np.array([(1 - confidence) / 2, (1 + confidence) / 2])


def _degrees(found: AurocCovariance) -> float:
    """Degrees of freedom of a variance that rests on two classes of patients: those of the smaller class."""
    return max(1.0, min(found.positive_patients, found.negative_patients) - 1)


def separated_interval(auroc: float, n_positive: float, n_negative: float, *, confidence: float = 0.95) -> Interval:
    """Interval of an AUROC that came out as exactly 0 or 1.

    Source: Newcombe, Statistics in Medicine 2006;25:559-573, method 5: the AUROCs whose distance from the one seen is
    at most z standard errors, the error being Hanley and McNeil's at that AUROC with both groups set to their mean size
    in its numerator.
    """
    z = norm.ppf((1 + confidence) / 2)
    mean_size = (n_positive + n_negative) / 2

    def excess(area: float) -> float:
        spread = 1 + (mean_size - 1) * ((1 - area) / (2 - area) + area / (1 + area))
        return (1 - area) ** 2 - z**2 * area * (1 - area) * spread / (n_positive * n_negative)

    # Both ends mirror: an AUROC of 0 is an AUROC of 1 with the labels exchanged.
    end = float(brentq(excess, 1e-12, 1 - 1e-12))
    low, high = (end, 1.0) if auroc == 1 else (0.0, 1 - end)
    return Interval(low=low, high=high, method="Newcombe (complete separation)", confidence=confidence)


def delong_test(
    labels: Vector,
    scores_a: Vector,
    scores_b: Vector,
    patients: Patients | None = None,
    weights: Vector | None = None,
    *,
    tails: Literal["normal", "student"] = "normal",
    confidence: float = 0.95,
) -> Difference | None:
    """Paired test of the AUROC of ``scores_a`` minus that of ``scores_b`` on the same rows.

    Args:
      labels, scores_a, scores_b, patients, weights: see ``delong``.
      tails: of the interval. "normal" is as R's pROC has it; with 10 positives it holds the truth in 90 % of trials
        only. "student" has the degrees of freedom of ``auroc_interval`` and covers as promised there
        (``tests/statistics/test_coverage.py``). z and p are always DeLong's own, the normal ones.
      confidence: of the interval.

    Returns:
      None where the variance cannot be computed, or is 0 although the AUROCs differ.
    """
    found = delong(labels, np.stack([scores_a, scores_b]), patients, weights)
    if found is None:
        return None
    value = float(found.aurocs[0] - found.aurocs[1])
    contrast = np.array([1.0, -1.0])
    variance = float(contrast @ found.covariance @ contrast)
    method = "DeLong, paired" if patients is None else "DeLong, paired, clustered by patient"
    # Rounding leaves about 1e-18 of a variance that is 0.
    if variance < 1e-15:
        if abs(value) > 1e-12:
            return None
        nothing = Interval(low=0.0, high=0.0, method=method, confidence=confidence)
        known = ~np.isnan(labels)
        alike = (rankdata(scores_a[known]) == rankdata(scores_b[known])).all()
        return Difference(value=0.0, interval=nothing if alike else None, z=None, p_value=1.0)
    error = float(np.sqrt(variance))
    ends = _tails(confidence)
    low, high = value + error * (norm.ppf(ends) if tails == "normal" else student.ppf(ends, _degrees(found)))
    return Difference(
        value=value,
        interval=Interval(low=float(low), high=float(high), method=method, confidence=confidence),
        z=value / error,
        p_value=float(2 * norm.sf(abs(value / error))),
    )
