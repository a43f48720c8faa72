"""Figures of a training's time, also by a clock that stands or runs backwards."""

import math

import pytest

from ichformer.training.monitoring import clock as module
from ichformer.training.monitoring.clock import Clock


def clock_that_says(monkeypatch, *seconds: float) -> Clock:
    monkeypatch.setattr(module.time, "perf_counter", iter(seconds).__next__)
    return Clock()


def test_shares_of_the_time(monkeypatch):
    clock = clock_that_says(monkeypatch, 0, 1, 3, 4, 5, 8)
    with clock.on("start"):
        pass
    with clock.on("input"):
        pass
    assert clock.mark() == (8, {"goodput": 1 - 3 / 8, "input_bound": 1 / 8})


def test_the_share_of_probing_is_told_where_there_was_any(monkeypatch):
    clock = clock_that_says(monkeypatch, 0, 1, 3, 8, 16)
    with clock.on("probing"):
        pass
    assert clock.mark() == (8, {"goodput": 1 - 2 / 8, "input_bound": 0.0, "probing": 2 / 8})
    assert clock.mark() == (8, {"goodput": 1 - 2 / 16, "input_bound": 0.0, "probing": 2 / 16})


@pytest.mark.parametrize("seconds", [(5, 5, 5, 5), (5, 4, 3, 2), (5, 6, 9, 4), (5, 9, 6, 7)])
def test_a_clock_that_stands_or_runs_backwards(monkeypatch, seconds):
    clock = clock_that_says(monkeypatch, *seconds)
    with clock.on("input"):
        pass
    passed, shares = clock.mark()
    assert passed > 0
    assert math.isfinite(1 / passed)
    assert all(0 <= share <= 1 for share in shares.values())
