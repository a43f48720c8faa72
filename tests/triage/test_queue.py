"""The order in which studies are read, beside a slow simulation that looks through all studies each time."""

import numpy as np
import pytest

from ichformer.triage.queue import reading_starts


def slow_starts(arrival, duration, urgent_from, readers):
    starts, free, now = np.full(arrival.size, np.nan), np.zeros(readers), 0.0
    while (unread := np.isnan(starts)).any():
        now = max(now, free.min(), arrival[unread].min())
        here = np.flatnonzero(unread & (arrival <= now))
        urgent = here[urgent_from[here] <= now]
        chosen = urgent[urgent_from[urgent].argmin()] if urgent.size else here[0]
        starts[chosen] = now
        free[free.argmin()] = now + duration[chosen]
    return starts


@pytest.mark.parametrize("seed", range(12))
def test_it_is_the_order_of_a_slow_simulation(seed):
    rng = np.random.default_rng(seed)
    n, readers = 60, int(rng.integers(1, 4))
    arrival = np.sort(rng.uniform(0, 60, n))
    if seed % 2:  # several at the same moment
        arrival = np.floor(arrival)
    duration = rng.exponential(readers * rng.uniform(0.5, 1.3), n)
    delay = np.where(rng.uniform(size=n) < 0.4, rng.choice([0.0, 3.0]) * rng.uniform(0, 1, n), np.inf)
    urgent_from = arrival + delay
    starts = reading_starts(arrival, duration, urgent_from, readers=readers)
    np.testing.assert_array_equal(starts, slow_starts(arrival, duration, urgent_from, readers))
    assert (starts >= arrival).all()
    at_a_time = [(starts <= start).sum() - (starts + duration <= start).sum() for start in starts]
    assert max(at_a_time) <= readers


def test_no_studies():
    assert reading_starts(np.zeros(0), np.zeros(0), np.zeros(0), readers=2).shape == (0,)
