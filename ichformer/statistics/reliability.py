"""The intraclass correlation of two ratings of the same scans."""

import numpy as np
from jaxtyping import Float64, Int64
from scipy.stats import f as fisher

from ichformer.statistics.bootstrap import Counts, Statistic
from ichformer.statistics.intervals import Interval

Ratings = Float64[np.ndarray, "n raters"]


def icc_agreement_statistic(ratings: Ratings, patients: Int64[np.ndarray, " n"]) -> Statistic:
    """ICC(2,1) of Shrout and Fleiss, which is ICC(A,1) of McGraw and Wong, for ``bootstrap.bootstrap``.

    Two-way random effects, absolute agreement, one rating: a bias between the raters lowers it. NaN where all ratings
    are the same.

    Source: Shrout, Fleiss, Psychological Bulletin 1979;86:420-428; McGraw, Wong, Psychological Methods 1996;1:30-46.

    Args:
      ratings: of every scan by each rater, such as its true and its predicted volume.
      patients: the patient of each scan, from 0.
    """

    def statistic(counts: Counts) -> Float64[np.ndarray, " replicates"]:
        rows, columns, errors, n = _mean_squares(ratings, counts[:, patients])
        k = ratings.shape[1]
        below = rows + (k - 1) * errors + k / np.maximum(n, 1) * (columns - errors)
        return np.divide(rows - errors, below, out=np.full_like(rows, np.nan), where=(n > 1) & (below > 0))

    return statistic


def icc_interval(ratings: Ratings, *, confidence: float = 0.95) -> Interval | None:
    """The interval of ICC(A,1) where every scan is of another patient.

    Source: McGraw, Wong, Psychological Methods 1996;1:30-46, table 7, case 2 and 3A.

    Returns:
      None of fewer than two scans, and where all ratings agree or all are the same.
    """
    n, k = ratings.shape
    if n < 2:
        return None
    rows, columns, errors, _ = (float(one[0]) for one in _mean_squares(ratings, np.ones((1, n))))
    if not rows > 0 or not errors > 0:
        return None
    icc = (rows - errors) / (rows + (k - 1) * errors + k / n * (columns - errors))
    a, b = k * icc / (n * (1 - icc)), 1 + k * icc * (n - 1) / (n * (1 - icc))
    freedom = (a * columns + b * errors) ** 2 / ((a * columns) ** 2 / (k - 1) + (b * errors) ** 2 / ((n - 1) * (k - 1)))
    tail = (1 + confidence) / 2
    above, below = fisher.ppf(tail, n - 1, freedom), fisher.ppf(tail, freedom, n - 1)
    spread = k * columns + (k * n - k - n) * errors
    low = n * (rows - above * errors) / (above * spread + n * rows)
    high = n * (below * rows - errors) / (spread + n * below * rows)
    return Interval(low=float(low), high=float(high), method="McGraw and Wong", confidence=confidence)


def _mean_squares(
    ratings: Ratings, weights: Float64[np.ndarray, "replicates n"]
) -> tuple[Float64[np.ndarray, " replicates"], ...]:
    """Mean squares of rows, columns and the rest, and the number of rows, each row counted as often as drawn."""
    k = ratings.shape[1]
    # About the mean of all: of large values with a small spread little is lost.
    x = ratings - ratings.mean() if ratings.size else ratings
    n = weights.sum(axis=1)
    per = np.maximum(n, 1)[:, None]
    column_means = weights @ x / per
    grand = column_means.mean(axis=1)
    row_means = x.mean(axis=1)
    total = weights @ (x**2).sum(axis=1) - k * n * grand**2
    rows = k * (weights @ row_means**2 - n * grand**2)
    columns = n * ((column_means - grand[:, None]) ** 2).sum(axis=1)
    freedom = np.maximum(n - 1, 1)
    errors = np.maximum(total - rows - columns, 0.0)
    return rows / freedom, columns / max(k - 1, 1), errors / (freedom * max(k - 1, 1)), n
