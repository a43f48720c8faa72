"""Comparison of two models on one level of a table, before p values are corrected over the labels.

All differences are candidate minus reference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ichformer.errors import InputError, one_line
from ichformer.evaluation.tables.table import Level, LevelName
from ichformer.evaluation.thresholds import Threshold
from ichformer.statistics.bootstrap import (
    Statistic,
    auroc_statistic,
    average_precision_statistic,
    bootstrap,
    mean_statistic,
)
from ichformer.statistics.delong import Difference, delong_test
from ichformer.statistics.estimates import estimate_of
from ichformer.statistics.intervals import Estimate
from ichformer.statistics.metrics import Vector, auroc, cross_entropy
from ichformer.statistics.paired_tests import McNemar, mcnemar, mcnemar_clustered, non_inferior

Frozen = Mapping[str, Sequence[Threshold]]
"""Thresholds of one model and level by label; empty where there are none."""


@dataclass(frozen=True, kw_only=True)
class RateComparison:
    """Sensitivities or specificities of two models, each at its own threshold, which was chosen by the same rule.

    Attributes:
      rule: by which the thresholds were chosen.
      rate: "sensitivity" (among the positives) or "specificity" (among the negatives).
      reference, candidate: the rates.
      difference: with its bootstrap interval.
      test: McNemar's, exact where every patient has one row and all weigh the same, clustered by patient otherwise.
      p_holm: corrected over the labels.
    """

    rule: str
    rate: str
    reference: float | None
    candidate: float | None
    difference: Estimate
    test: McNemar | None
    p_holm: float | None


@dataclass(frozen=True, kw_only=True)
class LabelComparison:
    """Two models on one label; ``auroc`` is DeLong's paired test with Student's interval, the rest is bootstrapped.

    ``non_inferior`` says whether the whole interval of the AUROC's difference lies above minus the margin.
    """

    label: str
    n: int
    n_positive: int
    n_positive_patients: int
    reference_auroc: float | None
    candidate_auroc: float | None
    auroc: Difference | None
    auroc_p_holm: float | None
    non_inferior: bool | None
    average_precision: Estimate
    log_loss: Estimate
    rates: tuple[RateComparison, ...]


@dataclass(frozen=True, kw_only=True)
class LevelComparison:
    """Two models on one level."""

    level: LevelName
    n: int
    n_patients: int
    labels: tuple[LabelComparison, ...]
    macro_auroc: Estimate


def compare_level(
    reference: Level,
    candidate: Level,
    labels: tuple[str, ...],
    thresholds: tuple[Frozen, Frozen],
    *,
    margin: float | None,
    replicates: int,
    seed: int,
) -> LevelComparison:
    """Compare two models on the same rows; see ``compare.compare`` for the arguments.

    Raises:
      InputError: the models' thresholds follow other rules.
    """
    patients, k = reference.patients, len(labels)
    n_patients = int(patients.max()) + 1
    pairs = [_pairs(reference, candidate, i, label, thresholds) for i, label in enumerate(labels)]
    sides = [_statistics(level, n_patients) for level in (reference, candidate)]
    for side, statistics in enumerate(sides):
        statistics += [
            mean_statistic(pair.right[side], patients, reference.weights, n_patients=n_patients)
            for of_label in pairs
            for pair in of_label
        ]
    resampled = bootstrap(
        [*sides[0], *sides[1]], n_patients=n_patients, replicates=replicates, seed=seed, jackknife=True
    )
    size = len(sides[0])

    def estimate(start: int, stop: int) -> Estimate:
        """The mean of the differences from ``start`` to ``stop``."""
        return estimate_of(
            resampled, lambda v: (v[..., size:] - v[..., :size])[..., start:stop].mean(-1), n_patients=n_patients
        )

    found, at = [], 3 * k
    for i, label in enumerate(labels):
        truth = reference.labels[:, i]
        tested = delong_test(
            truth, candidate.scores[:, i], reference.scores[:, i], patients, reference.weights, tails="student"
        )
        interval = None if tested is None else tested.interval
        rates = tuple(
            _rate(pair, reference, estimate(column, column + 1)) for column, pair in enumerate(pairs[i], start=at)
        )
        at += len(rates)
        found.append(
            LabelComparison(
                label=label,
                n=int(np.sum(~np.isnan(truth))),
                n_positive=int(np.sum(truth == 1)),
                n_positive_patients=np.unique(patients[truth == 1]).size,
                reference_auroc=auroc(truth, reference.scores[:, i], reference.weights),
                candidate_auroc=auroc(truth, candidate.scores[:, i], reference.weights),
                auroc=tested,
                auroc_p_holm=None,
                non_inferior=None if interval is None or margin is None else non_inferior(interval, margin=margin),
                average_precision=estimate(k + i, k + i + 1),
                log_loss=estimate(2 * k + i, 2 * k + i + 1),
                rates=rates,
            )
        )
    return LevelComparison(
        level=reference.name, n=patients.size, n_patients=n_patients, labels=tuple(found), macro_auroc=estimate(0, k)
    )


def _statistics(level: Level, n_patients: int) -> list[Statistic]:
    columns, of_rows = list(zip(level.labels.T, level.scores.T, strict=True)), (level.patients, level.weights)
    return [
        *(auroc_statistic(truth, scores, *of_rows) for truth, scores in columns),
        *(average_precision_statistic(truth, scores, *of_rows) for truth, scores in columns),
        *(mean_statistic(cross_entropy(*c), *of_rows, n_patients=n_patients) for c in columns),
    ]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pair:
    """Whether reference and candidate get each row right: 1, 0, or NaN where a row does not count for the rate."""

    rule: str
    rate: str
    right: tuple[Vector, Vector]


def _pairs(
    reference: Level, candidate: Level, column: int, label: str, thresholds: tuple[Frozen, Frozen]
) -> list[_Pair]:
    of_rule = [{threshold.rule: threshold for threshold in frozen.get(label, ())} for frozen in thresholds]
    if of_rule[0].keys() != of_rule[1].keys():
        raise InputError(
            f"rules {list(of_rule[0])} and {list(of_rule[1])} for {one_line(label)}",
            where="thresholds",
            fix="choose those of both models by the same rules",
        )
    truth, found = reference.labels[:, column], []
    for rule, first in of_rule[0].items():
        second = of_rule[1][rule]
        if first.value is None or second.value is None:
            continue
        called = [
            level.scores[:, column] >= threshold.value for level, threshold in ((reference, first), (candidate, second))
        ]
        for rate, among in (("sensitivity", 1), ("specificity", 0)):
            right = [np.where(truth == among, (c == among).astype(np.float64), np.nan) for c in called]
            found.append(_Pair(rule=rule, rate=rate, right=(right[0], right[1])))
    return found


def _rate(pair: _Pair, level: Level, difference: Estimate) -> RateComparison:
    counts = ~np.isnan(pair.right[0])
    reference, candidate = (right[counts] for right in pair.right)
    among, weights = level.patients[counts], level.weights[counts]
    test: McNemar | None = None
    if among.size:
        one_row_each = np.unique(among).size == among.size and not level.weighted
        right = (candidate == 1, reference == 1)
        test = mcnemar(*right) if one_row_each else mcnemar_clustered(*right, among, weights)
    return RateComparison(
        rule=pair.rule,
        rate=pair.rate,
        reference=float(np.average(reference, weights=weights)) if among.size else None,
        candidate=float(np.average(candidate, weights=weights)) if among.size else None,
        difference=difference,
        test=test,
        p_holm=None,
    )
