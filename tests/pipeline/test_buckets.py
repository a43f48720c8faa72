"""Whole scans of very different lengths are padded little, in few shapes, and each comes once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichformer.pipeline.buckets import in_buckets, padded_length


@given(st.integers(1, 5000))
def test_a_length_grows_by_an_eighth_at_most_and_stays_where_it_is_one(n_slices):
    padded = padded_length(n_slices)
    assert n_slices <= padded <= max(n_slices * 9 / 8, n_slices + 1)
    assert padded_length(padded) == padded
    assert padded_length(n_slices + 1) >= padded


def test_there_are_eight_lengths_from_one_power_of_two_to_the_next():
    for low in (16, 32, 64, 128, 256):
        assert len({padded_length(n) for n in range(low + 1, 2 * low + 1)}) == 8


@pytest.mark.parametrize("seed", range(5))
def test_less_than_five_percent_of_what_is_computed_is_padding(seed):
    """Also what fills up a batch is counted; with a multiple of 8 slices for every length it would be 16 %."""
    rng = np.random.default_rng(seed)
    n_slices = rng.integers(20, 61, 240)
    buckets = in_buckets([(row, padded_length(int(n))) for row, n in enumerate(n_slices)], size=8)
    computed = sum(8 * bucket.num_slices for bucket in buckets)
    assert 1 - n_slices.sum() / computed < 0.05
    assert len({bucket.num_slices for bucket in buckets}) <= 14


@given(st.lists(st.integers(1, 12), max_size=40), st.integers(1, 9))
def test_each_scan_is_in_one_bucket_that_is_long_enough_and_only_the_first_is_incomplete(lengths, size):
    buckets = in_buckets(list(enumerate(lengths)), size=size)
    assert sorted(row for bucket in buckets for row in bucket.rows) == list(range(len(lengths)))
    for before, bucket in zip([None, *buckets], buckets, strict=False):
        assert max(lengths[row] for row in bucket.rows) == bucket.num_slices
        if before is not None:
            assert len(bucket.rows) == size
            assert max(lengths[row] for row in before.rows) <= min(lengths[row] for row in bucket.rows)
    assert all(len(bucket.rows) <= size for bucket in buckets[:1])
