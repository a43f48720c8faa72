"""The interval of a growth: what it says, what happens with the scans exchanged, and how often it holds the truth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichformer.lesions.follow_up.growth import growth_of
from ichformer.lesions.volumes import COVERAGE, VolumeInterval, fit_volume_classes, interval_ml
from tests.lesions.test_volumes import draw

VOLUME = st.floats(0, 200)
INTERVAL = st.tuples(VOLUME, VOLUME).map(lambda ends: VolumeInterval(low_ml=min(ends), high_ml=max(ends)))


@given(VOLUME, VOLUME, INTERVAL, INTERVAL)
def test_with_the_scans_exchanged_the_growth_changes_its_sign(before_ml, after_ml, before, after):
    there = growth_of(before_ml, after_ml, earlier=before, later=after)
    back = growth_of(after_ml, before_ml, earlier=after, later=before)
    assert (there.ml, there.low_ml, there.high_ml) == pytest.approx((-back.ml, -back.high_ml, -back.low_ml))
    exchanged = {"grown": "shrunk", "shrunk": "grown", "within_interval": "within_interval"}
    assert back.change == exchanged[there.change]


@given(VOLUME, VOLUME, INTERVAL, INTERVAL)
def test_the_interval_is_narrower_than_the_farthest_ends_and_wider_than_that_of_each_volume(a, b, before, after):
    found = growth_of(a, b, earlier=before, later=after)
    width = found.high_ml - found.low_ml
    alone = [one.high_ml - one.low_ml for one in (before, after)]
    assert max(alone) - 1e-9 <= width <= sum(alone) + 1e-9
    assert after.low_ml - before.high_ml <= found.low_ml + 1e-9
    assert found.high_ml <= after.high_ml - before.low_ml + 1e-9


def test_what_the_interval_says():
    narrow = [VolumeInterval(low_ml=ml - 1, high_ml=ml + 1) for ml in (10, 20)]
    grown = growth_of(10.0, 20.0, earlier=narrow[0], later=narrow[1])
    assert (grown.change, grown.percent, grown.exceeds_definition) == ("grown", 100.0, True)
    assert (grown.low_ml, grown.high_ml) == pytest.approx((10 - 2**0.5, 10 + 2**0.5))
    assert growth_of(10.0, 11.0, earlier=narrow[0], later=narrow[0]).change == "within_interval"
    without = growth_of(10.0, 14.0, earlier=None, later=narrow[1])
    assert (without.low_ml, without.change, without.exceeds_definition) == (None, "no_interval", True)
    assert growth_of(0.0, 5.9, earlier=None, later=None).percent is None
    small = [growth_of(30.0, later, earlier=None, later=None).exceeds_definition for later in (36.0, 36.1)]
    assert small == [False, True]


def test_as_many_true_growths_lie_in_the_interval_as_in_those_of_volumes():
    """Over 30 validation sets, each with 50 pairs of new scans whose bleeds differ in every way."""
    rng, held = np.random.default_rng(0), []
    for _ in range(30):
        classes = fit_volume_classes(*draw(rng, 200))
        before_ml, seen_before = draw(rng, 50)
        after_ml, seen_after = draw(rng, 50)
        pairs = zip(before_ml, seen_before, after_ml, seen_after, strict=True)
        for true_before, before, true_after, after in pairs:
            found = growth_of(
                float(before),
                float(after),
                earlier=interval_ml(float(before), classes),
                later=interval_ml(float(after), classes),
            )
            held.append(found.low_ml - 1e-9 <= true_after - true_before <= found.high_ml + 1e-9)
    assert COVERAGE <= np.mean(held) <= 0.98
