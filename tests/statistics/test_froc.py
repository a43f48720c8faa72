"""Sensitivity at fixed rates of false positives, beside counting them."""

import numpy as np
import pytest

from ichformer.statistics.froc import froc_curve, froc_statistic


def counted(found, false, n_scans, rate):
    """The best sensitivity over all thresholds that keep the rate."""
    thresholds = [0.0, *found, *false, *(np.concatenate([found, false]) + 1e-9)]
    kept = [t for t in thresholds if np.sum(false >= max(t, 1e-12)) <= rate * n_scans]
    return max(np.mean((found >= t) & (found > 0)) for t in kept)


@pytest.mark.parametrize("seed", range(5))
def test_it_is_what_counting_gives(seed):
    rng = np.random.default_rng(seed)
    found = np.round(rng.random(20), 1) * (rng.random(20) < 0.8)
    false = np.round(0.8 * rng.random(13), 1) + 0.1
    scans, rates = np.repeat(np.arange(6), 2), (0.0, 0.25, 0.5, 1.0, 2.0)
    patients, false_patients = rng.integers(0, 6, 20), rng.integers(0, 6, 13)
    statistic = froc_statistic(found, patients, false, false_patients, scans, n_patients=6, rates=rates)
    counts = np.array([[1, 1, 1, 1, 1, 1], [0, 2, 1, 0, 3, 0.0]])
    for drawn, row in zip(counts.astype(int), statistic(counts), strict=True):
        again = found.repeat(drawn[patients]), false.repeat(drawn[false_patients]), 2 * drawn.sum()
        assert row == pytest.approx([counted(*again, rate) for rate in rates])


def test_a_curve_begins_at_nothing_and_ends_at_all_that_is_found():
    curve = froc_curve(np.array([0.9, 0.0, 0.5, 0.5]), np.array([0.6, 0.2]), n_scans=4)
    assert curve is not None
    np.testing.assert_allclose(curve.x, [0, 0, 0.25, 0.25, 0.5])
    np.testing.assert_allclose(curve.y, [0, 0.25, 0.25, 0.75, 0.75])
    assert froc_curve(np.zeros(0), np.zeros(0), n_scans=4) is None
    no_false = froc_statistic(
        np.array([0.4, 0.0]), np.array([0, 1]), np.zeros(0), np.zeros(0, np.int64), np.array([0, 1]),
        n_patients=2, rates=(1.0,),
    )  # fmt: skip
    assert no_false(np.ones((1, 2)))[0] == pytest.approx([0.5])
