"""The interval of a volume holds the true one as often as it says."""

import numpy as np
import pytest

from ichformer.lesions.volumes import COVERAGE, fit_volume_classes, interval_ml


def draw(rng, n):
    """True and predicted volumes: errors shrink with the volume, some bleeds are missed and some are made up."""
    true_ml = np.where(rng.random(n) < 0.5, np.exp(rng.normal(1.2, 1.4, n)), 0.0)
    predicted_ml = true_ml * np.exp(rng.normal(-0.1, 0.6 / (1 + true_ml) ** 0.5, n))
    predicted_ml[rng.random(n) < 0.1 * (true_ml < 2)] = 0.0
    made_up = (true_ml == 0) & (rng.random(n) < 0.08)
    return true_ml, np.where(made_up, rng.uniform(0.1, 3, n), predicted_ml)


def test_as_many_true_volumes_lie_in_the_interval_as_promised():
    """Over 60 validation sets of 200 scans, each with 100 new ones: at least 90 % in every class, and not much more."""
    rng, held = np.random.default_rng(0), {name: [] for name in ("0", "to 1", "to 5", "over 5")}
    for _ in range(60):
        classes = fit_volume_classes(*draw(rng, 200))
        true_ml, predicted_ml = draw(rng, 100)
        for true, predicted in zip(true_ml, predicted_ml, strict=True):
            found = interval_ml(float(predicted), classes)
            assert found is not None
            name = [*held][int(np.searchsorted([0, 1, 5], predicted))]
            held[name].append(found.low_ml - 1e-9 <= true <= found.high_ml + 1e-9)
    for name, values in held.items():
        assert COVERAGE - 0.02 <= np.mean(values) <= 0.97, name


def test_a_perfect_model_has_narrow_intervals_and_too_few_scans_have_none():
    volumes = np.concatenate([np.zeros(20), np.linspace(0.5, 40, 60)])
    classes = fit_volume_classes(volumes, volumes)
    found = interval_ml(10.0, classes)
    assert found is not None
    assert (found.low_ml, found.high_ml) == pytest.approx((10, 10))
    few = fit_volume_classes(volumes[-10:], volumes[-10:])
    assert [interval_ml(10.0, few), interval_ml(0.0, few), interval_ml(10.0, ())] == [None, None, None]
