"""Labels that are known of whole scans only stay true for what the loader gives, and are counted as it gives them."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from ichformer import LABELS
from ichformer.cohorts.adapters import cq500
from ichformer.pipeline.augmentation.augment import Augmentation
from ichformer.pipeline.augmentation.slabs import plan_whole
from ichformer.pipeline.batch import Batch
from ichformer.pipeline.known_labels import LabelCounts, format_known_labels, known_labels, whole_rows
from ichformer.pipeline.loader import training_batches
from ichformer.pipeline.store.card import write_card
from ichformer.pipeline.store.records import Store
from tests.cohorts.cq500 import SLICES, write_cq500
from tests.scan_labels import STEP_MM, Given, slices_in, store_of
from tests.stores import prepare_here

NONE = Augmentation(flip=0, rotate_deg=0, scale=0, shift=0, noise_hu=0, offset_hu=0)
ALL = Augmentation(drop_slices=0.5, reverse_slices=0.5, cutout=0.25, thicken_mm=10.0)
POSITIVE, NEGATIVE = {"any": 1.0, "subdural": 1.0}, {"any": 0.0, "subdural": 0.0}


@pytest.fixture(scope="module")
def by_scan(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Four scans of which only the scan's labels are known: shorter and longer than 24 slices."""
    lengths = (12, 30, 60, 25)
    given = [Given(slices=n, scan=POSITIVE if i % 2 else NEGATIVE) for i, n in enumerate(lengths)]
    return store_of(tmp_path_factory.mktemp("by_scan"), given)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two origins: one with labels of all slices; one as CQ500 without boxes, slices known in its negative scan alone.

    The last scan of the first origin has a known positive slice among unknown ones.
    """
    some = [0.0] * 9 + [1.0]
    given = [
        Given(slices=10, scan={"any": 1.0}, by_slice={"any": some}, origin="labelled"),
        Given(slices=10, scan={"any": 0.0}, by_slice={"any": [0.0] * 10}, origin="labelled"),
        Given(slices=10, scan={"any": 1.0}, by_slice={"any": [np.nan] * 9 + [1.0]}, origin="labelled"),
        Given(slices=10, scan={"any": 1.0}, by_slice={"any": [np.nan] * 10}, origin="scans"),
        Given(slices=10, scan={"any": 0.0}, by_slice={"any": [0.0] * 10}, origin="scans"),
        Given(slices=10, scan={"any": 1.0}, origin="scans", split="val"),
    ]
    return store_of(tmp_path_factory.mktemp("mixed"), given)


def batches_of(store: Store, count: int, *, num_slices: int, augmentation: Augmentation = NONE) -> list[Batch]:
    batches = training_batches(
        store, split="train", seed=0, batch_size=4, num_slices=num_slices, augmentation=augmentation
    )
    try:
        return list(itertools.islice(batches, count))
    finally:
        batches.close()


def test_evenly_spaced_slices_of_the_whole_scan_with_its_labels_and_spacing(by_scan):
    seen: dict[int, set[tuple[int, ...]]] = {}
    for batch in batches_of(by_scan, 12, num_slices=24):
        np.testing.assert_array_equal(batch.scan_labels, by_scan.index[list(LABELS)].to_numpy(np.float32)[batch.row])
        assert np.isnan(batch.slice_labels).all()
        for row, taken, spacing_mm in zip(batch.row, slices_in(batch), batch.spacing_mm, strict=True):
            n = by_scan.n_slices[row]
            assert len(taken) == min(n, 24)
            step = n / len(taken)
            assert set(np.diff(taken)) <= {int(step), int(np.ceil(step))}
            assert taken[0] < step
            assert taken[-1] >= n - 1 - step
            assert spacing_mm[0] == pytest.approx(step * STEP_MM)
            seen.setdefault(n, set()).add(tuple(taken))
    assert {n: set().union(*taken) for n, taken in seen.items()} == {n: set(range(n)) for n in (12, 30, 60, 25)}
    assert len(seen[12]) == 1
    assert all(len(seen[n]) > 1 for n in (30, 60, 25))


def test_no_random_change_takes_a_positive_label_away_or_makes_it_false(by_scan):
    """Neither dropped slices nor holes nor slabs: the scan's label is that of the scan, in whatever is left of it."""
    for batch in batches_of(by_scan, 4, num_slices=24, augmentation=replace(ALL, flip=0, noise_hu=0, offset_hu=0)):
        np.testing.assert_array_equal(batch.scan_labels, by_scan.index[list(LABELS)].to_numpy(np.float32)[batch.row])


def test_nothing_is_dropped_or_cut_out(by_scan):
    changes = replace(NONE, drop_slices=0.9, cutout=0.25)
    plain = batches_of(by_scan, 2, num_slices=60)
    for batch, unchanged in zip(batches_of(by_scan, 2, num_slices=60, augmentation=changes), plain, strict=True):
        assert slices_in(batch) == [list(range(by_scan.n_slices[row])) for row in batch.row]
        np.testing.assert_array_equal(batch.hu, unchanged.hu)


def test_slabs_of_thinned_stacks_lie_as_far_apart_as_they_say(by_scan):
    seen = set()
    for batch in batches_of(by_scan, 10, num_slices=8, augmentation=replace(NONE, thicken_mm=2 * STEP_MM)):
        for row, mask, hu, spacing_mm in zip(batch.row, batch.slice_mask, batch.hu, batch.spacing_mm, strict=True):
            at = (hu[mask, 16, 16].astype(int) - 10) / 2  # of a slab of two, between its slices
            steps = np.diff(at)
            assert np.ptp(steps) <= 2  # slabs of two
            assert np.mean(steps) * STEP_MM == pytest.approx(spacing_mm[0], abs=2 * STEP_MM / len(steps))
            seen.add((by_scan.n_slices[row], round(float(spacing_mm[0]) / STEP_MM, 3)))
    assert {(12, 1.5), (12, 2), (30, 3.75), (60, 7.5)} <= seen


@pytest.mark.parametrize("n_slices", [1, 2, 23, 24, 25, 47, 48, 49, 200])
@pytest.mark.parametrize("num_slices", [1, 2, 24])
def test_as_many_slices_as_fit_each_with_the_same_chance(n_slices, num_slices):
    options = {"num_slices": num_slices, "spacing_z_mm": 5.0, "thicken_mm": 0.0, "reverse": 0.0}

    class Draws(np.random.Generator):
        """Draws from as many as there are slices are each of them in turn."""

        def integers(self, low: int, high: int) -> int:
            return next(starts) if high == n_slices > 1 else low

    starts = iter(range(n_slices))
    plans = [plan_whole(n_slices, Draws(np.random.PCG64()), **options) for _ in range(n_slices)]
    length = min(n_slices, num_slices)
    assert all(plan.is_whole and len(plan.taken) == length for plan in plans)
    assert all(plan.spacing_z_mm == pytest.approx(5.0 * n_slices / length) for plan in plans)
    assert all(np.ptp(np.diff(plan.taken)) <= 1 for plan in plans if length > 1)
    times = np.bincount(np.concatenate([plan.taken for plan in plans]), minlength=n_slices)
    assert times.tolist() == [length] * n_slices


def test_a_lone_slice_says_how_far_apart_such_slices_lie(by_scan):
    for batch in batches_of(by_scan, 2, num_slices=1):
        np.testing.assert_allclose(batch.spacing_mm[:, 0], STEP_MM * np.asarray(by_scan.n_slices)[batch.row])


def test_all_scans_of_an_origin_are_seen_alike(mixed):
    """Else the distance of slices would tell positive scans, which are thinned, from negative ones, which are not."""
    assert whole_rows(mixed, "train") == {3, 4}
    assert whole_rows(mixed, "val") == {5}
    spacings_mm = {}
    for batch in batches_of(mixed, 5, num_slices=5):
        for row, spacing_mm, scan, slices in zip(
            batch.row, batch.spacing_mm[:, 0], batch.scan_labels[:, -1], batch.slice_labels[:, :, -1], strict=True
        ):
            spacings_mm.setdefault(int(row), set()).add(float(spacing_mm))
            if row in (3, 4):
                assert scan == mixed.index["any"][row]
            else:  # a run of slices is positive for what its own slices show
                unknown = np.isnan(slices).any()
                assert scan == 1 if (slices == 1).any() else (np.isnan(scan) if unknown else scan == 0)
    assert spacings_mm == {0: {5.0}, 1: {5.0}, 2: {5.0}, 3: {10.0}, 4: {10.0}}


def test_counts_are_those_of_what_the_loader_gives(by_scan, mixed):
    known = known_labels(by_scan, "train", num_slices=24)
    for label in ("subdural", "any"):
        assert known.counts[label] == LabelCounts(
            positive_scans=2, negative_scans=2, positive_slices=0, negative_slices=0
        )
    assert not known.counts["epidural"].is_known
    assert (known.n_scans, known.whole_scans, known.thinned_scans, known.most_slices) == (4, 4, 3, 60)
    known = known_labels(mixed, "train", num_slices=5)
    assert known.counts["any"] == LabelCounts(positive_scans=3, negative_scans=2, positive_slices=2, negative_slices=29)
    assert (known.n_scans, known.whole_scans, known.thinned_scans, known.most_slices) == (5, 2, 2, 10)


def test_counts_are_the_same_where_preparation_noted_them(mixed, monkeypatch):
    read = known_labels(mixed, "train", num_slices=5)
    write_card(mixed)
    opened = Store.open(mixed.path)
    monkeypatch.setattr(Store, "header", lambda *_: pytest.fail("a record was opened"))
    assert known_labels(opened, "train", num_slices=5) == read


def test_the_table_for_the_terminal(by_scan):
    text = format_known_labels(known_labels(by_scan, "train", num_slices=24))
    assert [line.split() for line in text.splitlines() if "subdural" in line] == [["subdural", "2", "2", "0", "0"]]
    assert "The labels of all scans are known of the whole scan only." in text
    assert "3 of them have more than --data.num-slices slices, up to 60, and give that many, evenly spaced." in text


@pytest.mark.slow
def test_cq500_without_boxes_keeps_its_positives(tmp_path):
    """Its negative scans have negative slices; of its positive ones nobody knows which slices bleed."""
    write_cq500(tmp_path / "cq500")
    index = cq500.load(tmp_path / "cq500", cache=tmp_path / "cache").assign(split="train")
    store = prepare_here(index, tmp_path / "store")
    assert whole_rows(store, "train") == {0, 1, 2}
    known = known_labels(store, "train", num_slices=SLICES // 2)
    assert known.counts["subdural"] == LabelCounts(
        positive_scans=1, negative_scans=1, positive_slices=0, negative_slices=SLICES
    )
    seen = set()
    for batch in batches_of(store, 6, num_slices=SLICES // 2):
        np.testing.assert_array_equal(batch.scan_labels, store.index[list(LABELS)].to_numpy(np.float32)[batch.row])
        np.testing.assert_allclose(batch.spacing_mm[:, 0], 10.0, rtol=1e-5)
        seen |= set(batch.scan_labels[:, -1].tolist())
    assert {0.0, 1.0} <= seen
