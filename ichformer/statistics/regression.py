"""Agreement of predicted with true quantities: errors, bias with limits of agreement, correlation, concordance."""

import numpy as np
from jaxtyping import Float64, Int64

from ichformer.statistics.bootstrap import Counts, Statistic, Vector, Weights

Replicates = Float64[np.ndarray, " replicates"]

AGREEMENT = (
    "mean_absolute_error",
    "median_absolute_error",
    "bias",
    "lower_limit",
    "upper_limit",
    "pearson",
    "concordance",
)
"""The columns of ``agreement_statistic``."""

LIMIT_SDS = 1.96
"""Standard deviations of the differences between the bias and a limit of agreement (Bland & Altman 1986)."""


def agreement_statistic(
    truth: Vector, predicted: Vector, patients: Int64[np.ndarray, " n"], weights: Weights | None = None
) -> Statistic:
    """``AGREEMENT`` of predicted and true values, for ``bootstrap.bootstrap``; rows that lack either are left out.

    The bias is the mean of predicted - true. The limits of agreement lie 1.96 standard deviations (n - 1) of these
    differences on either side of it (Bland & Altman, Lancet 1986;1:307-310). The concordance correlation is Lin's
    (Biometrics 1989;45:255-268), with variances divided by n as there: 1 where all predictions are exact, lower for
    scatter and for bias alike.

    A column is NaN where it is not estimable: limits of one row, a correlation of values that are all the same.

    Args:
      truth: true values, NaN where unknown.
      predicted: predicted values, NaN where there are none.
      patients: the patient of each row, from 0.
      weights: how much each row counts, above 0; all the same where None.
    """
    known = ~(np.isnan(truth) | np.isnan(predicted))
    truth, predicted, patients = truth[known], predicted[known], patients[known]
    row_weights = np.ones(truth.size) if weights is None else weights[known]
    difference = predicted - truth
    order = np.argsort(np.abs(difference), kind="stable")
    errors = np.abs(difference)[order]
    # Sums of squares are taken about values near the means: of large values with a small spread little is lost.
    x, y, d = (values - (values.mean() if values.size else 0.0) for values in (truth, predicted, difference))
    centre = float(difference.mean()) if difference.size else 0.0

    def statistic(counts: Counts) -> Float64[np.ndarray, "replicates figures"]:
        drawn = counts[:, patients]
        w = drawn * row_weights
        total = w.sum(axis=1)

        def mean(values: Vector) -> Replicates:
            return _divide(w @ values, total)

        mean_x, mean_y, mean_d = mean(x), mean(y), mean(d)
        var_x, var_y, var_d = (mean(v**2) - m**2 for v, m in ((x, mean_x), (y, mean_y), (d, mean_d)))
        covariance = mean(x * y) - mean_x * mean_y
        bias = mean_d + centre
        # Of rows that count the same this is n / (n - 1).
        freedom = total - _divide((drawn * row_weights**2).sum(axis=1), total)
        spread = np.sqrt(np.maximum(_divide(var_d * total, freedom), 0.0))
        scale = np.maximum(var_x, 0.0) * np.maximum(var_y, 0.0)
        return np.stack(
            [
                _divide(w[:, order] @ errors, total),
                _median(errors, w[:, order]),
                bias,
                bias - LIMIT_SDS * spread,
                bias + LIMIT_SDS * spread,
                np.clip(_divide(covariance, np.sqrt(scale)), -1.0, 1.0),
                _divide(2 * covariance, var_x + var_y + bias**2),
            ],
            axis=1,
        )

    return statistic


def _median(sorted_values: Vector, weights: Float64[np.ndarray, "replicates n"]) -> Replicates:
    """The weighted median of each replicate: the middle of the two values where the half lies between them."""
    if not sorted_values.size:
        return np.full(len(weights), np.nan)
    reached = np.cumsum(weights, axis=1)
    half = reached[:, -1:] / 2
    slack = 1e-12 * half  # for what rounding leaves of sums of weights
    lower = np.argmax(reached >= half - slack, axis=1)
    upper = np.argmax(reached > half + slack, axis=1)
    middle = (sorted_values[lower] + sorted_values[upper]) / 2
    return np.where(half[:, 0] > 0, middle, np.nan)


def _divide(numerator: Replicates, denominator: Replicates) -> Replicates:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)
