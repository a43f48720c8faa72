"""Paired tests of two models on the same rows: McNemar's test, Holm's correction, non-inferiority.

The paired test of AUROCs is ``delong.delong_test``.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.stats import binomtest, chi2

from ichformer.statistics.intervals import Interval, sum_by_patient


@dataclass(frozen=True, kw_only=True)
class McNemar:
    """How many rows only the first and only the second model gets right, and the two-sided p value."""

    only_first: int
    only_second: int
    p_value: float
    method: str


def mcnemar(first: Bool[np.ndarray, " n"], second: Bool[np.ndarray, " n"]) -> McNemar:
    """McNemar's exact test of two models' correct rows. Rows are taken as independent: give one row a patient."""
    only_first, only_second = int(np.sum(first & ~second)), int(np.sum(second & ~first))
    discordant = only_first + only_second
    p_value = float(binomtest(only_first, discordant).pvalue) if discordant else 1.0
    return McNemar(only_first=only_first, only_second=only_second, p_value=p_value, method="exact")


def mcnemar_clustered(
    first: Bool[np.ndarray, " n"],
    second: Bool[np.ndarray, " n"],
    patients: Int64[np.ndarray, " n"],
    weights: Float64[np.ndarray, " n"] | None = None,
) -> McNemar:
    """McNemar's test where patients have several rows, or rows have weights.

    Each patient's difference of right rows, or of their weights, is one observation.

    The squared sum of the patients' differences over the sum of their squares is chi-squared with one degree of
    freedom where neither model is better. With one row a patient this is McNemar's statistic without correction; it
    needs some ten patients that differ.

    Source: Obuchowski, Statistics in Medicine 1998;17:1495-1507, with the variance under the null hypothesis as in
    Yang, Sun, Hardin, Biometrical Journal 2010;52:638-652.
    """
    only_first, only_second = first & ~second, second & ~first
    weights = np.ones(first.size) if weights is None else weights
    _, number = np.unique(patients, return_inverse=True)
    differences = sum_by_patient(weights * only_first - weights * only_second, number, int(number.max(initial=-1)) + 1)
    squares = float(np.sum(differences**2))
    p_value = float(chi2.sf(differences.sum() ** 2 / squares, 1)) if squares else 1.0
    return McNemar(
        only_first=int(only_first.sum()), only_second=int(only_second.sum()), p_value=p_value, method="clustered"
    )


def holm(p_values: Float64[np.ndarray, " tests"]) -> Float64[np.ndarray, " tests"]:
    """Adjust p values for several tests, such as one for each label.

    Source: Holm, Scandinavian Journal of Statistics 1979;6:65-70.
    """
    order = np.argsort(p_values, kind="stable")
    steps = p_values[order] * np.arange(p_values.size, 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted


def non_inferior(difference: Interval, *, margin: float) -> bool:
    """Whether the whole interval of a difference (new minus old, higher is better) lies above ``-margin``."""
    if margin <= 0:
        raise ValueError(f"margin must be positive, got {margin}")
    return difference.low > -margin
