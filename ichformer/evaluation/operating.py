"""The figures at frozen thresholds: of one label, of all pairs of rows and labels, and means over labels."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64, Int64

from ichformer.evaluation.figures import NOTHING, Estimate, MeanPoint, OperatingPoint
from ichformer.evaluation.intervals import rate_interval
from ichformer.evaluation.metrics import confusion
from ichformer.evaluation.table import Level
from ichformer.evaluation.thresholds import Threshold

Vector = Float64[np.ndarray, " n"]
Patients = Int64[np.ndarray, " n"]


def label_point(
    truth: Vector, scores: Vector, patients: Patients, threshold: Threshold, *, prevalence: float | None
) -> OperatingPoint:
    """The figures of one label at its threshold."""
    if threshold.value is None:
        return _no_point(threshold.rule)
    called = scores >= threshold.value
    return _point(truth, called, patients, threshold.rule, threshold.value, prevalence)


def micro_points(
    level: Level, thresholds: Sequence[Sequence[Threshold]], *, prevalence: float | None
) -> tuple[OperatingPoint, ...]:
    """The figures of all pairs of a row and a label, each label at its own threshold.

    Args:
      level: the rows.
      thresholds: of each label, one for each rule in the same order.
      prevalence: to restate PPV and NPV at.
    """
    patients = np.repeat(level.patients, level.labels.shape[1])
    found = []
    for of_rule in zip(*thresholds, strict=True):
        values = [threshold.value for threshold in of_rule]
        if None in values:
            found.append(_no_point(of_rule[0].rule))
            continue
        called = level.scores >= np.array(values, np.float64)
        found.append(_point(level.labels.ravel(), called.ravel(), patients, of_rule[0].rule, None, prevalence))
    return tuple(found)


def mean_points(points: Sequence[Sequence[OperatingPoint]]) -> tuple[MeanPoint, ...]:
    """Means over the labels, for each rule."""
    return tuple(
        MeanPoint(
            rule=of_rule[0].rule,
            sensitivity=mean([point.sensitivity.value for point in of_rule]),
            specificity=mean([point.specificity.value for point in of_rule]),
            ppv=mean([point.ppv.value for point in of_rule]),
            npv=mean([point.npv.value for point in of_rule]),
            f1=mean([point.f1 for point in of_rule]),
            mcc=mean([point.mcc for point in of_rule]),
        )
        for of_rule in zip(*points, strict=True)
    )


def mean(values: Sequence[float | None]) -> float | None:
    """The mean; None where a value is not estimable."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None


def _point(
    truth: Vector,
    called: Bool[np.ndarray, " n"],
    patients: Patients,
    rule: str,
    threshold: float | None,
    prevalence: float | None,
) -> OperatingPoint:
    found = confusion(truth, called.astype(np.float64), threshold=0.5)

    def share(value: float | None, success: Bool[np.ndarray, " n"], among: Bool[np.ndarray, " n"]) -> Estimate:
        return Estimate(value=value, interval=rate_interval(success[among], patients[among]))

    known, positive, negative = ~np.isnan(truth), truth == 1, truth == 0
    return OperatingPoint(
        rule=rule,
        threshold=threshold,
        sensitivity=share(found.sensitivity, called, positive),
        specificity=share(found.specificity, ~called, negative),
        ppv=share(found.ppv, positive, called & known),
        npv=share(found.npv, negative, ~called & known),
        f1=found.f1,
        mcc=found.mcc,
        positive_likelihood_ratio=found.positive_likelihood_ratio,
        negative_likelihood_ratio=found.negative_likelihood_ratio,
        ppv_at_prevalence=None if prevalence is None else found.ppv_at(prevalence),
        npv_at_prevalence=None if prevalence is None else found.npv_at(prevalence),
    )


def _no_point(rule: str) -> OperatingPoint:
    return OperatingPoint(
        rule=rule,
        threshold=None,
        sensitivity=NOTHING,
        specificity=NOTHING,
        ppv=NOTHING,
        npv=NOTHING,
        f1=None,
        mcc=None,
        positive_likelihood_ratio=None,
        negative_likelihood_ratio=None,
        ppv_at_prevalence=None,
        npv_at_prevalence=None,
    )
