"""Every figure of one level of a table: slices or scans."""

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float64

from ichformer.cohorts.index import shown_sites
from ichformer.errors import InputError, one_line
from ichformer.evaluation.operating_points import level_points
from ichformer.evaluation.results import LabelSummary, LevelSummary
from ichformer.evaluation.subgroups import auroc_estimate, pool_sites, strata
from ichformer.evaluation.tables.table import Level
from ichformer.evaluation.thresholds import Threshold, Thresholds
from ichformer.statistics.bootstrap import (
    Resampled,
    Statistic,
    auroc_statistic,
    average_precision_statistic,
    bootstrap,
    mean_statistic,
    partial_auroc_statistic,
)
from ichformer.statistics.estimates import estimate_of
from ichformer.statistics.intervals import NOTHING, Estimate, effective_number, jackknife_log
from ichformer.statistics.metrics import Vector, cross_entropy, label_weights

MAX_GROUP_COLUMNS = 30
"""Of more columns of subgroups than this, only the first ones have figures."""

MAX_FALSE_POSITIVE_RATE = 0.2
"""The partial AUROC is taken up to this rate: people who read a work list accept no more false alarms."""


def summarise_level(
    level: Level,
    labels: tuple[str, ...],
    thresholds: Thresholds | None,
    *,
    prevalence: float | None,
    replicates: int,
    seed: int,
) -> LevelSummary:
    """Compute the figures of one level. ``summary.summarise`` explains the arguments and the intervals."""
    n_patients = int(level.patients.max()) + 1
    k = len(labels)
    resampled = bootstrap(
        _statistics(level, n_patients), n_patients=n_patients, replicates=replicates, seed=seed, jackknife=True
    )
    # Of each kind one column a label, then one of all pairs of rows and labels.
    area, precision, partial, loss, brier_loss = (
        _part(resampled, slice(i * (k + 1), (i + 1) * (k + 1))) for i in range(5)
    )
    each, weights = np.eye(k + 1), np.append(label_weights(labels), 0.0)
    average = np.append(np.full(k, 1 / k), 0.0)
    frozen = [() if thresholds is None else thresholds.of(level.name, label) for label in labels]
    _check_thresholds(frozen, labels)
    points = level_points(level, frozen, prevalence=prevalence, replicates=replicates, seed=seed)
    pairs = (level.labels.ravel(), level.scores.ravel(), np.repeat(level.patients, k), np.repeat(level.weights, k))
    columns = [(t, s, level.patients, level.weights) for t, s in zip(level.labels.T, level.scores.T, strict=True)]
    *found, micro = (
        LabelSummary(
            label=label,
            n=int(np.sum(~np.isnan(rows[0]))),
            n_positive=int(np.sum(rows[0] == 1)),
            n_positive_patients=np.unique(rows[2][rows[0] == 1]).size,
            auroc=auroc_estimate(*rows),
            partial_auroc=_estimate(partial, each[i], n_patients),
            average_precision=_estimate(precision, each[i], n_patients),
            log_loss=_loss(loss, each[i]),
            brier=_loss(brier_loss, each[i], largest=1.0),
            operating_points=of_label,
        )
        for i, (label, rows, of_label) in enumerate(
            zip((*labels, "micro"), (*columns, pairs), (*points.labels, points.micro), strict=True)
        )
    )
    first = {label: of_label[0].value for label, of_label in zip(labels, frozen, strict=True) if of_label}
    groups = itertools.islice(level.groups.items(), MAX_GROUP_COLUMNS)
    by_group = {name: strata(level, values, labels, first) for name, values in groups}
    return LevelSummary(
        level=level.name,
        n=level.patients.size,
        n_effective=effective_number(level.weights),
        n_patients=n_patients,
        derived=level.derived,
        labels=tuple(found),
        micro=micro,
        weighted_log_loss=_loss(loss, weights),
        macro_auroc=_estimate(area, average, n_patients),
        macro_average_precision=_estimate(precision, average, n_patients),
        macro_partial_auroc=_estimate(partial, average, n_patients),
        macro_log_loss=_loss(loss, average),
        macro_brier=_loss(brier_loss, average, largest=1.0),
        macro_points=points.macro,
        sites=strata(level, np.array(shown_sites(level.sites.tolist()), object), labels, first),
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
                fix="choose them for every label by the same rules",
            )


def _statistics(level: Level, n_patients: int) -> list[Statistic]:
    k, weights = level.labels.shape[1], level.weights if level.weighted else None
    columns = [(t, s, level.patients, weights) for t, s in zip(level.labels.T, level.scores.T, strict=True)]
    pooled = None if weights is None else np.repeat(weights, k)
    pairs = (level.labels.ravel(), level.scores.ravel(), np.repeat(level.patients, k), pooled)
    every = [*columns, pairs]

    def losses(loss: Callable[[Vector, Vector], Vector]) -> list[Statistic]:
        return [mean_statistic(loss(t, s), p, w, n_patients=n_patients) for t, s, p, w in every]

    return [
        *(auroc_statistic(*rows) for rows in every),
        *(average_precision_statistic(*rows) for rows in every),
        *(partial_auroc_statistic(*rows, max_false_positive_rate=MAX_FALSE_POSITIVE_RATE) for rows in every),
        *losses(cross_entropy),
        *losses(lambda truth, scores: (scores - truth) ** 2),
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
    return estimate_of(resampled, lambda v: v[..., used] @ weights[used], n_patients=n_patients)


def _loss(resampled: Resampled, weights: Float64[np.ndarray, " statistics"], *, largest: float = math.inf) -> Estimate:
    """The weighted sum of losses with its interval; only those with a weight have to be estimable."""
    used = weights > 0
    value = float(resampled.values[used] @ weights[used])
    if np.isnan(value):
        return NOTHING
    jackknife = resampled.jackknife[:, used] @ weights[used]
    return Estimate(value=value, interval=jackknife_log(value, jackknife, largest=largest))
