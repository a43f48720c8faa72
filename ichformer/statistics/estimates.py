"""From statistics on the same resamples to a figure with its interval."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ichformer.statistics.bootstrap import Resampled
from ichformer.statistics.intervals import NOTHING, Estimate, bca

Combine = Callable[[np.ndarray], Any]
"""From all statistics to one figure, along the last axis."""


def estimate_of(resampled: Resampled, combine: Combine, *, n_patients: int) -> Estimate:
    """A figure made from statistics, with its BCa interval; ``NOTHING`` where it is NaN on the data.

    Args:
      resampled: the statistics, with a jackknife.
      combine: makes the figure from them.
      n_patients: how many were resampled.

    Example:
      >>> import numpy as np
      >>> from ichformer.statistics.bootstrap import bootstrap, mean_statistic
      >>> values, patients = np.arange(30.0), np.arange(30)
      >>> drawn = bootstrap(
      ...     [mean_statistic(values, patients, n_patients=30)], n_patients=30, replicates=500, seed=0, jackknife=True
      ... )
      >>> estimate_of(drawn, lambda v: v[..., 0], n_patients=30).value
      14.5
    """
    value, drawn, left_out = (combine(v) for v in (resampled.values, resampled.replicates, resampled.jackknife))
    if np.isnan(value):
        return NOTHING
    return Estimate(value=float(value), interval=bca(float(value), drawn, left_out, n_patients=n_patients))
