"""Every figure of one level of a table: slices or scans."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int64

from ichformer.errors import InputError, one_line
from ichformer.evaluation.bootstrap import (
    Resampled,
    Statistic,
    auroc_statistic,
    average_precision_statistic,
    bootstrap,
    mean_statistic,
)
from ichformer.evaluation.delong import auroc_interval
from ichformer.evaluation.figures import Estimate, LabelSummary, LevelSummary, OperatingPoint
from ichformer.evaluation.intervals import bca, jackknife_log
from ichformer.evaluation.metrics import Vector, auroc, brier, cross_entropy, label_weights, partial_auroc
from ichformer.evaluation.operating import label_point, mean, mean_points, micro_points
from ichformer.evaluation.strata import pool_sites, strata
from ichformer.evaluation.table import Level
from ichformer.evaluation.thresholds import Threshold, Thresholds

MAX_FALSE_POSITIVE_RATE = 0.2
"""Up to which the partial AUROC is taken: a list that is read by people bears no more false alarms."""


def summarise_level(
    level: Level,
    labels: tuple[str, ...],
    thresholds: Thresholds | None,
    *,
    prevalence: float | None,
    replicates: int,
    seed: int,
) -> LevelSummary:
    """The figures of one level; see ``summary.summarise`` for the arguments and for how the intervals are made."""
    n_patients = int(level.patients.max()) + 1
    k = len(labels)
    resampled = bootstrap(
        _statistics(level, n_patients), n_patients=n_patients, replicates=replicates, seed=seed, jackknife=True
    )
    area, precision, loss = (_part(resampled, slice(i * k, (i + 1) * k)) for i in range(3))
    each, weights = np.eye(k), label_weights(labels)
    frozen = [() if thresholds is None else thresholds.of(level.name, label) for label in labels]
    _check_thresholds(frozen, labels)
    points = [
        tuple(label_point(t, s, level.patients, threshold, prevalence=prevalence) for threshold in of_label)
        for t, s, of_label in zip(level.labels.T, level.scores.T, frozen, strict=True)
    ]
    found = tuple(
        _summarise_label(
            level.labels[:, i],
            level.scores[:, i],
            level.patients,
            label,
            points[i],
            average_precision=_estimate(precision, each[i], n_patients),
            log_loss=_loss(loss, each[i]),
        )
        for i, label in enumerate(labels)
    )
    first = {label: of_label[0].value for label, of_label in zip(labels, frozen, strict=True) if of_label}
    by_group = {name: strata(level, values, labels, first) for name, values in level.groups.items()}
    return LevelSummary(
        level=level.name,
        n=level.patients.size,
        n_patients=n_patients,
        derived=level.derived,
        labels=found,
        micro=_summarise_label(
            level.labels.ravel(),
            level.scores.ravel(),
            np.repeat(level.patients, k),
            "micro",
            micro_points(level, frozen, prevalence=prevalence),
            average_precision=_estimate(_part(resampled, slice(3 * k, 3 * k + 1)), np.ones(1), n_patients),
            log_loss=_loss(_part(resampled, slice(3 * k + 1, None)), np.ones(1)),
        ),
        weighted_log_loss=_loss(loss, weights),
        macro_auroc=_estimate(area, np.full(k, 1 / k), n_patients),
        macro_average_precision=_estimate(precision, np.full(k, 1 / k), n_patients),
        macro_partial_auroc=mean([label.partial_auroc for label in found]),
        macro_log_loss=mean([label.log_loss.value for label in found]),
        macro_brier=mean([label.brier for label in found]),
        macro_points=mean_points(points),
        sites=strata(level, level.sites, labels, first),
        pooled_sites=pool_sites(level, labels),
        subgroups={name: groups for name, groups in by_group.items() if len(groups) > 1},
    )


def _check_thresholds(frozen: Sequence[tuple[Threshold, ...]], labels: tuple[str, ...]) -> None:
    rules = [[threshold.rule for threshold in of_label] for of_label in frozen]
    for label, found in zip(labels, rules, strict=True):
        if found != rules[0]:
            raise InputError(
                f"label {one_line(label)} has thresholds for {found}, {one_line(labels[0])} for {rules[0]}",
                where="thresholds",
                mend="fix them for every label by the same rules",
            )


def _statistics(level: Level, n_patients: int) -> list[Statistic]:
    columns = list(zip(level.labels.T, level.scores.T, strict=True))
    truth, scores, patients = level.labels.ravel(), level.scores.ravel(), np.repeat(level.patients, len(columns))
    return [
        *(auroc_statistic(truth, scores, level.patients) for truth, scores in columns),
        *(average_precision_statistic(truth, scores, level.patients) for truth, scores in columns),
        *(mean_statistic(cross_entropy(*c), level.patients, n_patients=n_patients) for c in columns),
        average_precision_statistic(truth, scores, patients),
        mean_statistic(cross_entropy(truth, scores), patients, n_patients=n_patients),
    ]


def _part(resampled: Resampled, chosen: slice) -> Resampled:
    return Resampled(
        values=resampled.values[chosen],
        replicates=resampled.replicates[:, chosen],
        jackknife=resampled.jackknife[:, chosen],
    )


def _estimate(resampled: Resampled, weights: Float64[np.ndarray, " statistics"], n_patients: int) -> Estimate:
    """The weighted sum of statistics with its interval; only those with a weight have to be estimable."""
    used = weights > 0
    value = float(resampled.values[used] @ weights[used])
    if np.isnan(value):
        return Estimate(value=None, interval=None)
    replicates, jackknife = (drawn[:, used] @ weights[used] for drawn in (resampled.replicates, resampled.jackknife))
    return Estimate(value=value, interval=bca(value, replicates, jackknife, n_patients=n_patients))


def _loss(resampled: Resampled, weights: Float64[np.ndarray, " statistics"]) -> Estimate:
    """The weighted sum of losses with its interval; only those with a weight have to be estimable."""
    used = weights > 0
    value = float(resampled.values[used] @ weights[used])
    if np.isnan(value):
        return Estimate(value=None, interval=None)
    return Estimate(value=value, interval=jackknife_log(value, resampled.jackknife[:, used] @ weights[used]))


def _summarise_label(
    truth: Vector,
    scores: Vector,
    patients: Int64[np.ndarray, " n"],
    label: str,
    points: tuple[OperatingPoint, ...],
    *,
    average_precision: Estimate,
    log_loss: Estimate,
) -> LabelSummary:
    return LabelSummary(
        label=label,
        n=int(np.sum(~np.isnan(truth))),
        n_positive=int(np.sum(truth == 1)),
        n_positive_patients=np.unique(patients[truth == 1]).size,
        auroc=Estimate(value=auroc(truth, scores), interval=auroc_interval(truth, scores, patients)),
        partial_auroc=partial_auroc(truth, scores, max_false_positive_rate=MAX_FALSE_POSITIVE_RATE),
        average_precision=average_precision,
        log_loss=log_loss,
        brier=brier(truth, scores),
        operating_points=points,
    )
