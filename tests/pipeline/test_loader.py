"""Batch k is a function of the seed and of k, however many processes and hosts read it; evaluation sees all once."""

import itertools
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ichformer.cohorts.registry import COHORTS
from ichformer.ct.volume import AIR_HU
from ichformer.errors import InputError
from ichformer.pipeline.augmentation.augment import Augmentation
from ichformer.pipeline.augmentation.mixup import mix_batch
from ichformer.pipeline.batch import Batch
from ichformer.pipeline.buckets import in_buckets, padded_length
from ichformer.pipeline.examples import TrainingExample
from ichformer.pipeline.loader import evaluation_batches, training_batches
from ichformer.pipeline.store.records import Store
from ichformer.testing import tiny_cohort
from tests.stores import prepare_here

NONE = Augmentation(flip=0, rotate_deg=0, scale=0, shift=0, noise_hu=0, offset_hu=0)
ALL = Augmentation(gain=0.05, kernel=0.5, thicken_mm=30.0, drop_slices=0.1, reverse_slices=0.5, cutout=0.25, mixup=0.5)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("loader")
    index = COHORTS["phantom"](tiny_cohort(folder / "cohort", scans=8), cache=folder / "cache")
    return prepare_here(index.assign(split="train"), folder / "store")


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


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(store):
    alone = first_batches(store, 5, augmentation=ALL)
    for num_workers, start in ((2, 0), (3, 2)):  # nor does it where a run goes on
        found = first_batches(store, 5 - start, num_workers=num_workers, start=start, augmentation=ALL)
        assert_same(found, alone[start:])


@pytest.mark.slow
@pytest.mark.parametrize("augmentation", [Augmentation(), ALL])
@pytest.mark.parametrize("hosts", [2, 4])
def test_hosts_share_the_batch_of_one(store, hosts, augmentation):
    options = {"batch_size": 8, "augmentation": augmentation, "lesions": True}
    parts = [first_batches(store, 4, host=host, hosts=hosts, **options) for host in range(hosts)]
    joined = [
        Batch(*(np.stack(shares, 1).reshape(-1, *shares[0].shape[1:]) for shares in zip(*each, strict=True)))
        for each in zip(*parts, strict=True)
    ]
    assert_same(joined, first_batches(store, 4, **options))


@pytest.mark.slow
def test_a_start_skips_so_many_batches(store):
    for augmentation in (Augmentation(), ALL):
        wanted = first_batches(store, 6, augmentation=augmentation)[3:]
        assert_same(first_batches(store, 3, start=3, augmentation=augmentation), wanted)


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


def test_a_run_is_positive_for_what_its_own_slices_show(store):
    differs = 0
    for batch in first_batches(store, 10, num_slices=1):
        np.testing.assert_array_equal(batch.scan_labels, batch.slice_labels.max(1))
        whole = np.stack([store.read(int(row)).scan_labels for row in batch.row])
        differs += (batch.scan_labels != whole).any(1).sum()
    assert differs


def test_a_scan_that_fits_keeps_its_label_where_slices_have_none(store):
    row = int(np.flatnonzero(store.index["any"] == 1)[0])
    scan = store.read(row)
    scan = replace(scan, slice_labels=np.full_like(scan.slice_labels, np.nan))
    for num_slices, is_kept in ((len(scan.volume.hu) + 5, True), (len(scan.volume.hu) - 1, False)):
        example = TrainingExample(store=store, num_slices=num_slices, augmentation=NONE)
        plan = example.plan(row, np.random.default_rng(0))
        part = replace(
            scan,
            volume=store.read(row, slices=plan.taken).volume,
            slice_labels=scan.slice_labels[plan.taken],
            mask=scan.mask[plan.taken],
        )
        batch = example.build(row, part, plan, np.random.default_rng(0))
        wanted = scan.scan_labels if is_kept else np.where(scan.scan_labels == 1, np.nan, 0)
        np.testing.assert_array_equal(batch.scan_labels, wanted)


def test_a_short_scan_is_padded_with_air_that_the_mask_names(store):
    (batch,) = first_batches(store, 1, num_slices=24, augmentation=NONE)
    for i, row in enumerate(batch.row):
        count = len(store.read(int(row)).volume.hu)
        np.testing.assert_array_equal(batch.slice_mask[i], np.arange(24) < count)
        assert (batch.hu[i, count:] == AIR_HU).all()
        assert np.isnan(batch.slice_labels[i, count:]).all()
        np.testing.assert_array_equal(batch.scan_labels[i], store.read(int(row)).scan_labels)


def test_a_batch_that_hosts_cannot_share_is_refused(store):
    with pytest.raises(InputError, match="3 hosts"):
        first_batches(store, 1, hosts=3)
    with pytest.raises(InputError, match="a multiple of 8"):
        first_batches(store, 1, hosts=4, augmentation=Augmentation(mixup=1.0))


def test_thicker_slices_are_means_of_neighbours_and_say_so(store):
    batches = first_batches(store, 4, augmentation=replace(NONE, thicken_mm=30.0), num_slices=3)
    spacings_mm = {}
    for batch in batches:
        for i, row in enumerate(batch.row):
            scan = store.read(int(row))
            factor = round(batch.spacing_mm[i, 0] / scan.volume.spacing_mm[0])
            spacings_mm.setdefault(factor, []).append(batch.spacing_mm[i, 0])
            starts = range(len(scan.volume.hu) - 3 * factor + 1)
            runs = [scan.volume.hu[k : k + 3 * factor].reshape(3, factor, 32, 32) for k in starts]
            assert any(np.abs(run.mean(1) - batch.hu[i]).max() <= 0.5 for run in runs)
    assert set(spacings_mm) == {1, 2}
    assert max(map(max, spacings_mm.values())) <= 30.01


def test_dropped_and_reversed_slices_keep_their_labels(store):
    seen = set()
    for batch in first_batches(
        store, 4, augmentation=replace(NONE, drop_slices=0.3, reverse_slices=0.5), num_slices=24
    ):
        for i, row in enumerate(batch.row):
            scan = store.read(int(row))
            count = int(batch.slice_mask[i].sum())
            at = [int(np.flatnonzero((scan.volume.hu == hu).all((1, 2)))[0]) for hu in batch.hu[i, :count]]
            np.testing.assert_array_equal(batch.slice_labels[i, :count], scan.slice_labels[at])
            assert (np.abs(np.diff(at)) >= 1).all()
            assert len(set(np.sign(np.diff(at)))) <= 1
            seen.add((bool(at[0] > at[-1]), count < len(scan.volume.hu)))
            left = scan.slice_labels[at].max(0)
            np.testing.assert_array_equal(
                batch.scan_labels[i], left if count < len(scan.volume.hu) else scan.scan_labels
            )
    assert {(False, True), (True, True)} <= seen


def test_a_hole_is_in_the_batch(store):
    (plain,) = first_batches(store, 1, augmentation=NONE)
    (holed,) = first_batches(store, 1, augmentation=replace(NONE, cutout=0.25))
    changed = plain.hu != holed.hu
    assert changed.any()
    assert (holed.hu[changed] == AIR_HU).all()
    assert changed.any(1).mean() < 1 / 16


def batch_of(count: int, seed: int) -> Batch:
    rng = np.random.default_rng(seed)
    labels = np.float32([0, 1, np.nan])
    return Batch(
        hu=rng.integers(-1024, 3000, (count, 3, 4, 4)).astype(np.int16),
        slice_mask=np.arange(3) < rng.integers(1, 4, (count, 1)),
        spacing_mm=rng.uniform(0.5, 5, (count, 3)).astype(np.float32),
        slice_labels=rng.choice(labels, (count, 3, 6)),
        scan_labels=rng.choice(labels, (count, 6)),
        weight=np.ones(count, np.float32),
        row=np.arange(count, dtype=np.int32),
    )


@pytest.mark.parametrize("share", [0.0, 1e-9, 0.1, 0.5, 0.93, 1.0])
@pytest.mark.parametrize(("count", "seed"), [(2, 0), (2, 1), (4, 2), (4, 3), (6, 4)])
def test_mixing_takes_its_share_of_two_scans(count, seed, share):
    batch = batch_of(count, seed)
    mixed = mix_batch(batch, share)
    for i in range(count):
        j = (i + count // 2) % count
        whole = {1: batch.scan_labels[i], 0: batch.scan_labels[j]}
        labels = whole.get(share, share * batch.scan_labels[i] + (1 - share) * batch.scan_labels[j])
        np.testing.assert_allclose(mixed.scan_labels[i], labels, rtol=1e-5)
        for s in range(3):
            own, theirs = batch.slice_mask[[i, j], s] & [share > 0, share < 1]
            part = {(True, True): share, (True, False): 1, (False, True): 0, (False, False): None}[(own, theirs)]
            assert mixed.slice_mask[i, s] == (own or theirs)
            if part is None:
                continue
            hu = part * batch.hu[i, s] + (1 - part) * batch.hu[j, s]
            np.testing.assert_allclose(mixed.hu[i, s], hu, atol=0.51)
            only = {1: batch.slice_labels[i, s], 0: batch.slice_labels[j, s]}
            labels = only.get(part, part * batch.slice_labels[i, s] + (1 - part) * batch.slice_labels[j, s])
            np.testing.assert_allclose(mixed.slice_labels[i, s], labels, rtol=1e-5)
    np.testing.assert_array_equal(mixed.row, batch.row)


def test_mixed_batches_hold_shares_of_the_unmixed(store):
    for plain, mixed in zip(
        first_batches(store, 3, augmentation=NONE),
        first_batches(store, 3, augmentation=replace(NONE, mixup=1.0)),
        strict=True,
    ):
        np.testing.assert_array_equal(plain.row, mixed.row)
        other = np.roll(plain.hu, 2, 0).astype(np.float64) - plain.hu
        share = ((mixed.hu.astype(np.float64) - plain.hu) * other).sum() / (other**2).sum()
        assert 0 < share < 1
        np.testing.assert_allclose(mixed.hu, plain.hu + share * other, atol=1)


@pytest.mark.parametrize("hosts", [1, 2])
def test_evaluation_gives_each_scan_once_and_whole(store, hosts):
    rows = np.array([6, 0, 1, 4, 7])
    seen = []
    for host in range(hosts):
        for batch in evaluation_batches(store, rows=rows, batch_size=3, host=host, hosts=hosts):
            assert batch.hu.shape[0] == 3
            assert batch.hu.shape[1] == padded_length(batch.hu.shape[1])
            for i in np.flatnonzero(batch.weight):
                scan = store.read(int(batch.row[i]))
                np.testing.assert_array_equal(batch.hu[i, batch.slice_mask[i]], scan.volume.hu)
                np.testing.assert_array_equal(batch.scan_labels[i], scan.scan_labels)
                seen.append(int(batch.row[i]))
    assert sorted(seen) == sorted(rows)


def test_an_incomplete_batch_is_filled_up_with_weight_0(store):
    (batch,) = evaluation_batches(store, rows=np.array([2]), batch_size=4)
    np.testing.assert_array_equal(batch.weight, [1, 0, 0, 0])


@pytest.mark.parametrize("num_slices", [4, 24])
def test_batches_of_one_shape_hold_each_scan_in_order_evenly_thinned_or_whole(store, num_slices):
    rows = np.arange(len(store.index))
    batches = list(evaluation_batches(store, rows=rows, batch_size=3, num_slices=num_slices))
    assert {batch.hu.shape[:2] for batch in batches} == {(3, num_slices)}
    assert np.concatenate([batch.row[batch.weight > 0] for batch in batches]).tolist() == rows.tolist()
    for batch in batches:
        for i, row in enumerate(batch.row.tolist()):
            volume = store.read(row).volume
            count = min(len(volume.hu), num_slices)
            (taken,) = np.nonzero((volume.hu[:, None] == batch.hu[i, None, :count]).all((2, 3)).any(1))
            assert batch.slice_mask[i].sum() == len(taken) == count
            assert np.ptp(np.diff(taken)) <= 1
            assert abs(taken[0] - (len(volume.hu) - 1 - taken[-1])) <= 1
            np.testing.assert_array_equal(batch.hu[i, :count], volume.hu[taken])
            whole_mm = volume.spacing_mm[0] * len(volume.hu)
            assert batch.spacing_mm[i, 0] * count == pytest.approx(whole_mm, rel=0.2)


def one_after_the_other(store: Store, rows: Iterable[int], batch_size: int) -> Iterator[Batch]:
    """Evaluation batches as they were read before there was a thread for it."""
    lengths = [(int(row), padded_length(store.n_slices[row])) for row in rows]
    for bucket in in_buckets(lengths, size=batch_size):
        scans = [(row, store.read(row)) for row in bucket.rows]
        weights = [1.0] * len(scans) + [0.0] * (batch_size - len(scans))
        scans += scans[-1:] * (batch_size - len(scans))

        def stacked(values: Iterable[np.ndarray], fill: float, n: int = bucket.num_slices) -> np.ndarray:
            return np.stack([np.concatenate([v, np.full((n - len(v), *v.shape[1:]), fill, v.dtype)]) for v in values])

        yield Batch(
            hu=stacked([scan.volume.hu for _, scan in scans], AIR_HU),
            slice_mask=stacked([np.ones(len(scan.volume.hu), bool) for _, scan in scans], False),
            spacing_mm=np.array([scan.volume.spacing_mm for _, scan in scans], np.float32),
            slice_labels=stacked([scan.slice_labels.astype(np.float32) for _, scan in scans], np.nan),
            scan_labels=np.stack([scan.scan_labels.astype(np.float32) for _, scan in scans]),
            weight=np.array(weights, np.float32),
            row=np.array([row for row, _ in scans], np.int32),
        )


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_batches_that_are_read_ahead_are_those_read_one_after_the_other_to_the_bit(store, batch_size):
    rows = np.array([6, 0, 1, 4, 7, 2])
    found = list(evaluation_batches(store, rows=rows, batch_size=batch_size))
    assert_same(found, one_after_the_other(store, rows, batch_size))
    for name in Batch._fields[:-1]:  # nobody asked for lesions
        assert {getattr(batch, name).dtype for batch in found} == {
            getattr(batch, name).dtype for batch in one_after_the_other(store, rows, batch_size)
        }
    assert list(evaluation_batches(store, rows=rows[:0], batch_size=batch_size)) == []


def test_the_next_batch_is_read_while_one_is_used_and_an_error_comes_in_its_turn(store, monkeypatch):
    rows, read, ahead = np.arange(8), [], threading.Event()
    order = [int(batch.row[0]) for batch in evaluation_batches(store, rows=rows, batch_size=1)]

    def broken(self: Store, row: int, **settings: Any) -> Any:
        read.append(row)
        if len(read) > 1:
            ahead.set()
        if row == order[3]:
            raise InputError("is damaged", where="shard", fix="prepare it again")
        return original(self, row, **settings)

    original = Store.read
    monkeypatch.setattr(Store, "read", broken)
    batches = evaluation_batches(store, rows=rows, batch_size=1)
    seen = [int(next(batches).row[0])]
    assert ahead.wait(600)
    seen += [int(next(batches).row[0]) for _ in range(2)]
    with pytest.raises(InputError, match="shard: is damaged; prepare it again"):
        next(batches)
    assert seen == order[:3]
