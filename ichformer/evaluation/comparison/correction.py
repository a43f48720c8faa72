"""Correction of p values for several labels and several models (Holm)."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ichformer.evaluation.comparison.level import LabelComparison, LevelComparison
from ichformer.statistics.paired_tests import holm


def corrected(of_level: Sequence[LevelComparison]) -> list[LevelComparison]:
    """Add Holm's p values over the labels and the models. Those of rates are corrected rule by rule.

    Args:
      of_level: the comparison of each candidate with the reference, on one level.
    """
    labels = [label for level in of_level for label in level.labels]
    rates = [rate for label in labels for rate in label.rates]
    p_aurocs = iter(_holm([None if label.auroc is None else label.auroc.p_value for label in labels]))
    p_rates = {
        kind: iter(_holm([None if r.test is None else r.test.p_value for r in rates if (r.rule, r.rate) == kind]))
        for kind in {(rate.rule, rate.rate) for rate in rates}
    }

    def with_p_values(label: LabelComparison) -> LabelComparison:
        return replace(
            label,
            auroc_p_holm=next(p_aurocs),
            rates=tuple(replace(rate, p_holm=next(p_rates[rate.rule, rate.rate])) for rate in label.rates),
        )

    return [replace(level, labels=tuple([with_p_values(label) for label in level.labels])) for level in of_level]


def _holm(p_values: Sequence[float | None]) -> list[float | None]:
    known = [i for i, p in enumerate(p_values) if p is not None]
    adjusted = holm(np.array([p_values[i] for i in known], np.float64))
    found: list[float | None] = [None] * len(p_values)
    for i, p in zip(known, adjusted, strict=True):
        found[i] = float(p)
    return found
