"""Bootstrap over patients: statistics are computed from how often each patient was drawn, many resamples at once.

Nothing is sorted or copied per replicate: the scores are sorted once, and a resample is a weight for each row.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral

import numpy as np
from jaxtyping import Bool, Float64, Int64

from ichformer.errors import InputError
from ichformer.statistics.intervals import sum_by_patient

CHUNK = 16
"""Replicates that are computed at once: as many as keep a chunk of 20,000 rows inside the processor's cache."""

JACKKNIFE_GROUPS = 1000
"""With more patients than this, the jackknife leaves out groups of them. The acceleration of BCa needs no more."""

Counts = Float64[np.ndarray, "replicates patients"]
Vector = Float64[np.ndarray, " n"]
Weights = Float64[np.ndarray, " n"]
Statistic = Callable[[Counts], Float64[np.ndarray, "replicates ..."]]
"""A function from how often each patient was drawn to the statistic of each replicate, or to several statistics in
columns. NaN where it is not estimable."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Resampled:
    """Several statistics on the same resamples, so that means and differences of them have intervals too.

    Attributes:
      values: [statistics] on the data.
      replicates: [replicates, statistics].
      jackknife: [left_out, statistics] without each patient, or group of patients, in turn; no rows where it was not
        asked for.
    """

    values: Float64[np.ndarray, " statistics"]
    replicates: Float64[np.ndarray, "replicates statistics"]
    jackknife: Float64[np.ndarray, "left_out statistics"]


def bootstrap(
    statistics: Sequence[Statistic],
    *,
    n_patients: int,
    replicates: int,
    seed: int,
    jackknife: bool = False,
) -> Resampled:
    """Compute ``statistics`` on the data and on resamples of whole patients.

    Args:
      statistics: each as made by ``auroc_statistic`` and its siblings for the same patients.
      n_patients: how many patients there are.
      replicates: how many resamples are drawn.
      seed: the resamples are a function of it alone.
      jackknife: also leave out each patient once (above ``JACKKNIFE_GROUPS`` patients, each group of patients), which
        ``intervals.bca`` needs.
    """

    def apply(chunks: Iterator[Counts]) -> Float64[np.ndarray, "replicates statistics"]:
        joined = _joined(chunks, min(1000 // max(n_patients, 1) + 1, 8))
        rows = [np.column_stack([statistic(counts) for statistic in statistics]) for counts in joined]
        return np.concatenate([np.empty((0, values.size)), *rows])

    values = np.column_stack([statistic(np.ones((1, n_patients))) for statistic in statistics])[0]
    return Resampled(
        values=values,
        replicates=apply(resample(n_patients, replicates=replicates, seed=seed)),
        jackknife=apply(_leave_one_out(n_patients) if jackknife else iter(())),
    )


def _joined(chunks: Iterator[Counts], at_once: int) -> Iterator[Counts]:
    """Several chunks as one: of few patients they are so small that the calls take longer than the sums."""
    while some := list(itertools.islice(chunks, at_once)):
        yield np.concatenate(some)


def check_draws(*, replicates: object, seed: object) -> None:
    """InputError for fewer than one resample, a negative seed, or one of them that is no whole number."""
    if not isinstance(replicates, Integral) or replicates < 1:
        raise InputError(f"found {replicates!r}", where="replicates", fix="take at least 1, better 1000 or more")
    if not isinstance(seed, Integral) or seed < 0:
        raise InputError(f"found {seed!r}", where="seed", fix="take a whole number from 0")


def resample(n_patients: int, *, replicates: int, seed: int) -> Iterator[Counts]:
    """Yield how often each patient was drawn, with replacement, in chunks of replicates."""
    rng = np.random.default_rng(seed)
    for start in range(0, replicates, CHUNK):
        size = min(CHUNK, replicates - start)
        drawn = rng.integers(0, n_patients, (size, n_patients)) + n_patients * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * n_patients)
        yield counts.reshape(size, n_patients).astype(np.float64)


def _leave_one_out(n_patients: int) -> Iterator[Counts]:
    n_groups = min(n_patients, JACKKNIFE_GROUPS)
    group = np.arange(n_patients) % n_groups
    for start in range(0, n_groups, CHUNK):
        left_out = np.arange(start, min(start + CHUNK, n_groups))
        yield (group != left_out[:, None]).astype(np.float64)


def auroc_statistic(
    labels: Vector, scores: Vector, patients: Int64[np.ndarray, " n"], weights: Weights | None = None
) -> Statistic:
    """AUROC, with ties counted half. Rows with an unknown label (NaN) are left out.

    Without weights every sum is an integer below 2**53, so the only rounding is that of the last division.
    """
    pairs = _Pairs.of(labels, scores, patients, weights)

    def statistic(counts: Counts) -> Float64[np.ndarray, " replicates"]:
        positive, negative_below = pairs.positive(counts), pairs.negative_below(counts)
        doubled = negative_below[:, pairs.first_tied] + negative_below[:, pairs.after_tied]
        wins = np.einsum("ri,ri->r", positive, doubled) / 2
        return _divide(wins, positive.sum(axis=1) * negative_below[:, -1])

    return statistic


def partial_auroc_statistic(
    labels: Vector,
    scores: Vector,
    patients: Int64[np.ndarray, " n"],
    weights: Weights | None = None,
    *,
    max_false_positive_rate: float,
) -> Statistic:
    """AUROC up to a false positive rate, standardised to 0.5 for chance and 1 for perfect.

    Source: McClish, Medical Decision Making 1989;9:190-195.
    """
    pairs, end = _Pairs.of(labels, scores, patients, weights), max_false_positive_rate
    # One corner of the curve for each distinct score, the highest first; rows that score the same share a corner.
    positives, negatives = pairs.positive_scores[::-1], pairs.negative_scores[::-1]
    corners = np.unique(-np.concatenate([positives, negatives]))
    hits_at, alarms_at = (np.searchsorted(-s, corners, "right") for s in (positives, negatives))
    chance = end**2 / 2

    def statistic(counts: Counts) -> Float64[np.ndarray, " replicates"]:
        hits = _cumulative(pairs.positive(counts)[:, ::-1])
        alarms = _cumulative(pairs.negative(counts)[:, ::-1])
        y, x = (_divide(sums, np.broadcast_to(sums[:, -1:], sums.shape)) for sums in (hits, alarms))
        y, x = _with_origin(y[:, hits_at]), _with_origin(x[:, alarms_at])
        width, kept = np.diff(x, axis=1), np.diff(np.minimum(x, end), axis=1)
        slope = _divide(np.diff(y, axis=1), width, otherwise=0.0)
        area = np.sum(kept * (y[:, :-1] + slope * kept / 2), axis=1)
        estimable = (hits[:, -1] > 0) & (alarms[:, -1] > 0)
        return np.where(estimable, (1 + (area - chance) / (end - chance)) / 2, np.nan)

    return statistic


def average_precision_statistic(
    labels: Vector, scores: Vector, patients: Int64[np.ndarray, " n"], weights: Weights | None = None
) -> Statistic:
    """Average precision as scikit-learn defines it. Rows with an unknown label (NaN) are left out.

    It is NaN also where no negative row was drawn, as it would be 1 whatever the scores.
    """
    pairs = _Pairs.of(labels, scores, patients, weights)

    def statistic(counts: Counts) -> Float64[np.ndarray, " replicates"]:
        positive, negative_below = pairs.positive(counts), pairs.negative_below(counts)
        positive_below = _cumulative(positive)
        true_calls = positive_below[:, -1:] - positive_below[:, pairs.first_tied_positive]
        false_calls = negative_below[:, -1:] - negative_below[:, pairs.first_tied]
        precision = _divide(true_calls, true_calls + false_calls, otherwise=0.0)
        found = _divide(np.einsum("ri,ri->r", positive, precision), positive_below[:, -1])
        return np.where(negative_below[:, -1] > 0, found, np.nan)

    return statistic


def mean_statistic(
    values: Vector, patients: Int64[np.ndarray, " n"], weights: Weights | None = None, *, n_patients: int
) -> Statistic:
    """Mean of ``values`` over the rows, such as a loss or a share of correct calls. Rows with NaN are left out."""
    known = ~np.isnan(values)
    weights = np.ones(values.size) if weights is None else weights
    sums = sum_by_patient((weights * values)[known], patients[known], n_patients)
    rows = sum_by_patient(weights[known], patients[known], n_patients)

    def statistic(counts: Counts) -> Float64[np.ndarray, " replicates"]:
        return _divide(counts @ sums, counts @ rows)

    return statistic


RATES = ("sensitivity", "specificity", "ppv", "npv", "f1", "mcc")
"""The columns of ``rates_statistic``."""


def rates_statistic(
    labels: Vector,
    called: Bool[np.ndarray, " n"],
    patients: Int64[np.ndarray, " n"],
    weights: Weights,
    *,
    n_patients: int,
) -> Statistic:
    """The ``RATES`` of rows that were called positive or not. Rows with an unknown label (NaN) are left out."""
    cells = (called & (labels == 1), called & (labels == 0), ~called & (labels == 0), ~called & (labels == 1))
    sums = np.stack([sum_by_patient(weights * cell, patients, n_patients) for cell in cells], axis=1)

    def statistic(counts: Counts) -> Float64[np.ndarray, "replicates rates"]:
        tp, fp, tn, fn = (counts @ sums).T
        margins = np.sqrt(tp + fp) * np.sqrt(tp + fn) * np.sqrt(tn + fp) * np.sqrt(tn + fn)
        return np.stack(
            [
                _divide(tp, tp + fn),
                _divide(tn, tn + fp),
                _divide(tp, tp + fp),
                _divide(tn, tn + fn),
                _divide(2 * tp, 2 * tp + fp + fn),
                _divide(tp * tn - fp * fn, margins),
            ],
            axis=1,
        )

    return statistic


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pairs:
    """Positive and negative rows in the order of their scores, and where they meet; weights are None where all are 1.

    ``first_tied`` and ``after_tied`` hold, for each positive row, how many negatives score less, and less or the same;
    ``first_tied_positive``, how many positives score less.
    """

    positive_patients: Int64[np.ndarray, " positives"]
    negative_patients: Int64[np.ndarray, " negatives"]
    positive_scores: Float64[np.ndarray, " positives"]
    negative_scores: Float64[np.ndarray, " negatives"]
    positive_weights: Float64[np.ndarray, " positives"] | None
    negative_weights: Float64[np.ndarray, " negatives"] | None
    first_tied: Int64[np.ndarray, " positives"]
    after_tied: Int64[np.ndarray, " positives"]
    first_tied_positive: Int64[np.ndarray, " positives"]

    @classmethod
    def of(cls, labels: Vector, scores: Vector, patients: Int64[np.ndarray, " n"], weights: Weights | None) -> "_Pairs":
        order = np.argsort(scores, kind="stable")
        labels, scores, patients = labels[order], scores[order], patients[order]
        positives, negatives = scores[labels == 1], scores[labels == 0]
        return cls(
            positive_patients=patients[labels == 1],
            negative_patients=patients[labels == 0],
            positive_scores=positives,
            negative_scores=negatives,
            positive_weights=None if weights is None else weights[order][labels == 1],
            negative_weights=None if weights is None else weights[order][labels == 0],
            first_tied=np.searchsorted(negatives, positives, "left"),
            after_tied=np.searchsorted(negatives, positives, "right"),
            first_tied_positive=np.searchsorted(positives, positives, "left"),
        )

    def positive(self, counts: Counts) -> Float64[np.ndarray, "replicates positives"]:
        return _weigh(np.take(counts, self.positive_patients, axis=1), self.positive_weights)

    def negative(self, counts: Counts) -> Float64[np.ndarray, "replicates negatives"]:
        return _weigh(np.take(counts, self.negative_patients, axis=1), self.negative_weights)

    def negative_below(self, counts: Counts) -> Float64[np.ndarray, "replicates below"]:
        return _cumulative(self.negative(counts))


def _weigh(drawn: Float64[np.ndarray, "r n"], weights: Weights | None) -> Float64[np.ndarray, "r n"]:
    return drawn if weights is None else drawn * weights


def _with_origin(values: Float64[np.ndarray, "r n"]) -> Float64[np.ndarray, "r n+1"]:
    return np.pad(values, ((0, 0), (1, 0)))


def _cumulative(values: Float64[np.ndarray, "r n"]) -> Float64[np.ndarray, "r n+1"]:
    """Sums of the first 0, 1, ... n values."""
    total = np.zeros((values.shape[0], values.shape[1] + 1))
    np.cumsum(values, axis=1, out=total[:, 1:])
    return total


def _divide(
    numerator: Float64[np.ndarray, "*shape"], denominator: Float64[np.ndarray, "*shape"], otherwise: float = np.nan
) -> Float64[np.ndarray, "*shape"]:
    return np.divide(numerator, denominator, out=np.full_like(numerator, otherwise), where=denominator > 0)
