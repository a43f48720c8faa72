import numpy as np
import pytest
import scipy.stats
import sklearn.metrics as sk
from hypothesis import given, settings

from ichformer.statistics import bootstrap as b
from ichformer.statistics import intervals
from tests.statistics.strategies import rows


def naive(metric, labels, scores, patients, counts):
    """The statistic of a resample written out: the rows of each drawn patient, as often as it was drawn."""
    drawn = [
        i
        for patient, times in enumerate(counts)
        for i in np.flatnonzero(patients == patient)
        for _ in range(int(times))
    ]
    y, s = labels[drawn], scores[drawn]
    y, s = y[~np.isnan(y)], s[~np.isnan(y)]
    return metric(y, s)


def wins(y, s):
    """Exact: a count of half wins over a count of pairs."""
    above, below = s[y == 1], s[y == 0]
    if not above.size or not below.size:
        return np.nan
    halves = int(np.sum(above[:, None] > below)) * 2 + int(np.sum(above[:, None] == below))
    return halves / 2 / (above.size * below.size)


def precision(y, s):
    return sk.average_precision_score(y, s) if len(set(y)) == 2 else np.nan


@pytest.mark.slow
@settings(max_examples=40)
@given(rows())
def test_vectorised_replicates_equal_a_naive_loop_over_the_same_resamples(drawn):
    labels, scores, _, patients = drawn
    statistics = [
        b.auroc_statistic(labels, scores, patients),
        b.average_precision_statistic(labels, scores, patients),
        b.mean_statistic(scores + 0 * labels, patients, n_patients=10),
    ]
    found = b.bootstrap(statistics, n_patients=10, replicates=20, seed=3, jackknife=True)
    resamples = np.concatenate(list(b.resample(10, replicates=20, seed=3)))
    assert (resamples.sum(axis=1) == 10).all()

    def loop(metric, samples):
        return np.array([naive(metric, labels, scores, patients, counts) for counts in samples])

    def mean(y, s):
        return s.mean() if s.size else np.nan

    left_out = 1 - np.eye(10)
    for values, samples in (
        (found.replicates, resamples),
        (found.jackknife, left_out),
        (found.values[None], np.ones((1, 10))),
    ):
        np.testing.assert_array_equal(values[:, 0], loop(wins, samples))
        np.testing.assert_allclose(values[:, 1], loop(precision, samples), rtol=0, atol=1e-12)
        np.testing.assert_allclose(values[:, 2], loop(mean, samples), rtol=0, atol=1e-12)


def test_resamples_are_a_function_of_the_seed_and_draw_as_many_patients_as_there_are():
    first, again, other = (np.concatenate(list(b.resample(26, replicates=40, seed=seed))) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert (first.sum(axis=1) == 26).all()
    # Patients are drawn with replacement: some twice, some not at all.
    assert first.max() > 1
    assert first.min() == 0


def table(n, prevalence, seed=0):
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, len(prevalence))) < prevalence).astype(np.float64)
    scores = 1 / (1 + np.exp(-(rng.normal(size=labels.shape) + 2 * labels)))
    return labels, scores


def test_intervals_equal_those_of_scipy_on_the_same_resamples():
    labels, scores = (column[:, 0] for column in table(60, [0.3]))
    patients = np.arange(60)
    found = b.bootstrap(
        [b.auroc_statistic(labels, scores, patients)], n_patients=60, replicates=499, seed=5, jackknife=True
    )
    ours = intervals.bca(float(found.values[0]), found.replicates[:, 0], found.jackknife[:, 0])
    theirs = scipy.stats.bootstrap(
        (patients,),
        lambda drawn: wins(labels[drawn], scores[drawn]),
        n_resamples=499,
        vectorized=False,
        method="BCa",
        rng=np.random.default_rng(5),
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs), abs=1e-9)


def test_groups_of_patients_are_left_out_where_there_are_many(monkeypatch):
    labels, scores = (column[:, 0] for column in table(4000, [0.2]))
    statistic = b.auroc_statistic(labels, scores, np.arange(4000))
    options = {"n_patients": 4000, "replicates": 400, "seed": 0, "jackknife": True}
    grouped = b.bootstrap([statistic], **options)
    monkeypatch.setattr(b, "JACKKNIFE_GROUPS", 4000)
    single = b.bootstrap([statistic], **options)
    assert (grouped.jackknife.shape, single.jackknife.shape) == ((1000, 1), (4000, 1))
    ends = [
        (interval.low, interval.high)
        for found in (grouped, single)
        for interval in [intervals.bca(float(found.values[0]), found.replicates[:, 0], found.jackknife[:, 0])]
    ]
    width = ends[1][1] - ends[1][0]
    assert ends[0] == pytest.approx(ends[1], abs=0.02 * width)


def test_replicates_of_many_aurocs_are_those_of_a_loop_over_scikit_learn():
    labels, scores = table(2_000, [0.01, 0.05, 0.04, 0.05, 0.06, 0.14])
    patients = np.random.default_rng(1).integers(0, 1_500, 2_000)
    statistics = [b.auroc_statistic(labels[:, i], scores[:, i], patients) for i in range(6)]
    found = b.bootstrap(statistics, n_patients=1_500, replicates=10, seed=0)
    counts = next(b.resample(1_500, replicates=10, seed=0))
    theirs = [
        [sk.roc_auc_score(labels[:, i], scores[:, i], sample_weight=row[patients]) for i in range(6)] for row in counts
    ]
    np.testing.assert_allclose(found.replicates, theirs, rtol=0, atol=1e-12)
