"""The figures at given thresholds: of each label, of all pairs of rows and labels, and means over labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from ichformer.evaluation.results import MeanPoint, OperatingPoint
from ichformer.evaluation.tables.table import Level
from ichformer.evaluation.thresholds import Threshold
from ichformer.statistics.bootstrap import RATES, Statistic, bootstrap, rates_statistic
from ichformer.statistics.estimates import estimate_of
from ichformer.statistics.intervals import (
    NOTHING,
    Estimate,
    Interval,
    rate_interval,
    ratio_of_shares,
    sum_by_patient,
)
from ichformer.statistics.metrics import Confusion, confusion

Vector = Float64[np.ndarray, " n"]
Patients = Int64[np.ndarray, " n"]


@dataclass(frozen=True, kw_only=True)
class LevelPoints:
    """The operating points of a level: of each label, of all pairs, and means over the labels; one for each rule."""

    labels: tuple[tuple[OperatingPoint, ...], ...]
    micro: tuple[OperatingPoint, ...]
    macro: tuple[MeanPoint, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Calls:
    """Rows called positive or not by one rule; None where a threshold is missing."""

    truth: Vector
    called: Bool[np.ndarray, " n"] | None
    patients: Patients
    weights: Vector
    rule: str
    threshold: float | None


def level_points(
    level: Level,
    thresholds: Sequence[Sequence[Threshold]],
    *,
    prevalence: float | None,
    replicates: int,
    seed: int,
) -> LevelPoints:
    """Compute every figure at thresholds that were chosen before.

    Args:
      level: the rows.
      thresholds: of each label, one for each rule in the same order.
      prevalence: share of positives at which PPV and NPV are stated too.
      replicates: resamples of patients behind the intervals of F1, MCC and the means.
      seed: of the resamples.
    """
    n_patients, rules = int(level.patients.max()) + 1, len(thresholds[0])
    if not rules:
        return LevelPoints(labels=((),) * len(thresholds), micro=(), macro=())
    calls = [[_label_calls(level, i, of_label[r]) for r in range(rules)] for i, of_label in enumerate(thresholds)]
    pooled = [_pooled_calls(level, [of_label[r] for of_label in thresholds]) for r in range(rules)]
    resampled = bootstrap(
        [_rates(one, n_patients) for of_label in (*calls, pooled) for one in of_label],
        n_patients=n_patients,
        replicates=replicates,
        seed=seed,
        jackknife=True,
    )

    def estimates(labels: Sequence[int], r: int) -> dict[str, Estimate]:
        """``RATES`` at a rule: of one label, or their mean over several; the labels are followed by all pairs."""
        first = (np.array(labels) * rules + r) * len(RATES)

        def mean(k: int) -> Estimate:
            return estimate_of(resampled, lambda values: values[..., first + k].mean(-1), n_patients=n_patients)

        return {name: mean(k) for k, name in enumerate(RATES)}

    found = [
        tuple(_point(calls_of[r], estimates([i], r), prevalence) for r in range(rules))
        for i, calls_of in enumerate((*calls, pooled))
    ]
    return LevelPoints(
        labels=tuple(found[:-1]),
        micro=found[-1],
        macro=tuple(
            MeanPoint(rule=thresholds[0][r].rule, **estimates(range(len(thresholds)), r)) for r in range(rules)
        ),
    )


def _label_calls(level: Level, column: int, threshold: Threshold) -> _Calls:
    return _Calls(
        truth=level.labels[:, column],
        called=None if threshold.value is None else level.scores[:, column] >= threshold.value,
        patients=level.patients,
        weights=level.weights,
        rule=threshold.rule,
        threshold=threshold.value,
    )


def _pooled_calls(level: Level, thresholds: Sequence[Threshold]) -> _Calls:
    """All pairs of a row and a label, each label at its own threshold."""
    values, k = [threshold.value for threshold in thresholds], len(thresholds)
    return _Calls(
        truth=level.labels.ravel(),
        called=None if None in values else (level.scores >= np.array(values, np.float64)).ravel(),
        patients=np.repeat(level.patients, k),
        weights=np.repeat(level.weights, k),
        rule=thresholds[0].rule,
        threshold=None,
    )


def _rates(calls: _Calls, n_patients: int) -> Statistic:
    # Without a threshold no row counts, and so no rate is estimable.
    nothing = calls.called is None
    truth = np.full_like(calls.truth, np.nan) if nothing else calls.truth
    return rates_statistic(truth, _called(calls), calls.patients, calls.weights, n_patients=n_patients)


def _point(calls: _Calls, bootstrapped: dict[str, Estimate], prevalence: float | None) -> OperatingPoint:
    truth, called, patients, weights = calls.truth, calls.called, calls.patients, calls.weights
    if called is None:
        nothing = dict.fromkeys((*RATES, *_RATIOS, *_RESTATED), NOTHING)
        return OperatingPoint(rule=calls.rule, threshold=calls.threshold, **nothing)
    found = confusion(truth, called.astype(np.float64), weights, threshold=0.5)

    def share(value: float | None, success: Bool[np.ndarray, " n"], among: Bool[np.ndarray, " n"]) -> Estimate:
        interval = rate_interval(success[among], patients[among], weights[among])
        return Estimate(value=value, interval=interval)

    known, positive, negative = ~np.isnan(truth), truth == 1, truth == 0
    sensitivity, specificity = share(found.sensitivity, called, positive), share(found.specificity, ~called, negative)
    restated = _likelihoods(calls, found, sensitivity.interval, specificity.interval, prevalence)
    return OperatingPoint(
        rule=calls.rule,
        threshold=calls.threshold,
        sensitivity=sensitivity,
        specificity=specificity,
        ppv=share(found.ppv, positive, called & known),
        npv=share(found.npv, negative, ~called & known),
        f1=bootstrapped["f1"],
        mcc=bootstrapped["mcc"],
        **restated,
    )


_RATIOS = ("positive_likelihood_ratio", "negative_likelihood_ratio")
_RESTATED = ("ppv_at_prevalence", "npv_at_prevalence")


def _likelihoods(
    calls: _Calls,
    found: Confusion,
    sensitivity: Interval | None,
    specificity: Interval | None,
    prevalence: float | None,
) -> dict[str, Estimate]:
    """Likelihood ratios, and what follows from them at a prevalence by Bayes: it rises or falls with the ratio."""
    if sensitivity is None or specificity is None or found.sensitivity is None or found.specificity is None:
        return dict.fromkeys((*_RATIOS, *_RESTATED), NOTHING)
    r = _correlation(calls, found.sensitivity, found.specificity)
    sick, well = found.sensitivity, found.specificity
    positive = ratio_of_shares(sick, 1 - well, sensitivity, _turned(specificity), correlation=r)
    negative = ratio_of_shares(1 - sick, well, _turned(sensitivity), specificity, correlation=r)

    def estimate(value: float | None, ends: tuple[float, float]) -> Estimate:
        method = "MOVER of clustered Wilson intervals"
        finite = value is not None and np.isfinite(ends).all()
        return Estimate(value=value, interval=Interval(low=ends[0], high=ends[1], method=method) if finite else None)

    restated = dict.fromkeys(_RESTATED, NOTHING)
    if prevalence is not None:
        odds = prevalence / (1 - prevalence)
        ppv = [1.0 if np.isinf(ratio) else odds * ratio / (1 + odds * ratio) for ratio in positive]
        npv = [0.0 if np.isinf(ratio) else 1 / (1 + odds * ratio) for ratio in reversed(negative)]
        restated = {
            "ppv_at_prevalence": estimate(found.ppv_at(prevalence), (ppv[0], ppv[1])),
            "npv_at_prevalence": estimate(found.npv_at(prevalence), (npv[0], npv[1])),
        }
    ratios = (found.positive_likelihood_ratio, found.negative_likelihood_ratio)
    return {
        name: estimate(value, ends) for name, value, ends in zip(_RATIOS, ratios, (positive, negative), strict=True)
    } | restated


def _turned(interval: Interval) -> Interval:
    """The interval of one minus the share."""
    return Interval(low=1 - interval.high, high=1 - interval.low, method=interval.method)


def _correlation(calls: _Calls, sensitivity: float, specificity: float) -> float:
    """Correlation of the errors of sensitivity and of 1 - specificity: both may rest on rows of the same patients."""
    called = _called(calls).astype(np.float64)
    n_patients = int(calls.patients.max()) + 1
    of_class = []
    for truth, share in ((1, sensitivity), (0, 1 - specificity)):
        among = calls.truth == truth
        errors = calls.weights[among] * (called[among] - share)
        of_class.append(sum_by_patient(errors, calls.patients[among], n_patients))
    first, second = of_class
    scale = np.sqrt(np.sum(first**2) * np.sum(second**2))
    return float(np.clip(np.sum(first * second) / scale, -1, 1)) if scale > 0 else 0.0


def _called(calls: _Calls) -> Bool[np.ndarray, " n"]:
    return np.zeros(calls.truth.size, bool) if calls.called is None else calls.called
