"""Batch k is a function of the seed and of k, however many processes and hosts read it; evaluation sees all once."""

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ichformer.cohorts.registry import COHORTS
from ichformer.ct.volume import AIR_HU
from ichformer.errors import InputError
from ichformer.pipeline.augment import Augmentation, augment
from ichformer.pipeline.batch import SLICE_MULTIPLE, Batch
from ichformer.pipeline.loader import evaluation_batches, training_batches
from ichformer.pipeline.prepare import PrepareConfig, prepare
from ichformer.pipeline.records import Store
from ichformer.testing import tiny_cohort

NONE = Augmentation(flip=0, rotate_deg=0, scale=0, shift=0, noise_hu=0, offset_hu=0)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("loader")
    index = COHORTS["phantom"](tiny_cohort(folder / "cohort", scans=8), cache=folder / "cache")
    return prepare(index.assign(split="train"), folder / "store", config=PrepareConfig(size=32), workers=1)


def first_batches(store: Store, count: int, **settings: Any) -> list[Batch]:
    settings = {"seed": 0, "batch_size": 4, "num_slices": 4, "augmentation": Augmentation(), **settings}
    batches = training_batches(store, split="train", **settings)
    try:
        return list(itertools.islice(batches, count))
    finally:
        batches.close()


def assert_same(found: Iterable[Batch], wanted: Iterable[Batch]) -> None:
    for a, b in zip(found, wanted, strict=True):
        for name in Batch._fields:
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def test_the_number_of_workers_changes_nothing(store):
    assert_same(first_batches(store, 5, num_workers=2), first_batches(store, 5))


def test_two_hosts_share_the_batch_of_one(store):
    parts = [first_batches(store, 4, host=host, hosts=2) for host in range(2)]
    joined = [
        Batch(*(np.stack(pair, 1).reshape(-1, *pair[0].shape[1:]) for pair in zip(a, b, strict=True)))
        for a, b in zip(*parts, strict=True)
    ]
    assert_same(joined, first_batches(store, 4))


def test_a_start_skips_so_many_batches(store):
    assert_same(first_batches(store, 3, start=3), first_batches(store, 6)[3:])


def test_another_seed_gives_other_batches(store):
    a, b = first_batches(store, 1), first_batches(store, 1, seed=1)
    assert not np.array_equal(a[0].hu, b[0].hu)


def test_an_epoch_holds_each_scan_once_and_the_next_one_is_shuffled_anew(store):
    rows = np.concatenate([batch.row for batch in first_batches(store, 6)]).reshape(3, 8)
    np.testing.assert_array_equal(np.sort(rows), np.tile(np.arange(8), (3, 1)))
    assert len({tuple(epoch) for epoch in rows.tolist()}) > 1


def test_a_scan_of_a_batch_is_a_run_of_its_slices_with_their_labels(store):
    for batch in first_batches(store, 2, augmentation=NONE):
        assert batch.slice_mask.all()
        for i, row in enumerate(batch.row):
            scan = store.read(int(row))
            firsts = [k for k in range(len(scan.volume.hu) - 3) if (scan.volume.hu[k : k + 4] == batch.hu[i]).all()]
            assert firsts
            labels = [scan.slice_labels[k : k + 4] for k in firsts]
            assert any(np.array_equal(batch.slice_labels[i], each, equal_nan=True) for each in labels)


def test_a_short_scan_is_padded_with_air_that_the_mask_names(store):
    (batch,) = first_batches(store, 1, num_slices=24, augmentation=NONE)
    for i, row in enumerate(batch.row):
        count = len(store.read(int(row)).volume.hu)
        np.testing.assert_array_equal(batch.slice_mask[i], np.arange(24) < count)
        assert (batch.hu[i, count:] == AIR_HU).all()
        assert np.isnan(batch.slice_labels[i, count:]).all()


def test_a_batch_that_hosts_cannot_share_is_refused(store):
    with pytest.raises(InputError, match="3 hosts"):
        first_batches(store, 1, hosts=3)


@pytest.mark.parametrize("hosts", [1, 2])
def test_evaluation_gives_each_scan_once_and_whole(store, hosts):
    rows = np.array([6, 0, 1, 4, 7])
    seen = []
    for host in range(hosts):
        for batch in evaluation_batches(store, rows=rows, batch_size=3, host=host, hosts=hosts):
            assert batch.hu.shape[0] == 3
            assert batch.hu.shape[1] % SLICE_MULTIPLE == 0
            for i in np.flatnonzero(batch.weight):
                scan = store.read(int(batch.row[i]))
                np.testing.assert_array_equal(batch.hu[i, batch.slice_mask[i]], scan.volume.hu)
                np.testing.assert_array_equal(batch.scan_labels[i], scan.scan_labels)
                seen.append(int(batch.row[i]))
    assert sorted(seen) == sorted(rows)


def test_the_last_batch_is_filled_up_with_weight_0(store):
    (batch,) = evaluation_batches(store, rows=np.array([2]), batch_size=4)
    np.testing.assert_array_equal(batch.weight, [1, 0, 0, 0])


@given(
    hnp.arrays(np.int16, st.tuples(*[st.integers(1, 7)] * 3), elements=st.integers(AIR_HU, 32767)),
    st.integers(0, 2**32 - 1),
)
def test_no_augmentation_is_the_identity(hu, seed):
    np.testing.assert_array_equal(augment(hu, NONE, np.random.default_rng(seed)), hu)


@given(hnp.arrays(np.int16, (2, 5, 4), elements=st.integers(AIR_HU, 3000)))
def test_a_certain_flip_mirrors_left_and_right(hu):
    flip = Augmentation(flip=1, rotate_deg=0, scale=0, shift=0, noise_hu=0, offset_hu=0)
    np.testing.assert_array_equal(augment(hu, flip, np.random.default_rng(0)), hu[:, :, ::-1])
