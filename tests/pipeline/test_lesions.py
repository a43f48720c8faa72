"""Labels of voxels: from the masks of each cohort to batches."""

import numpy as np
import pytest

from ichformer.cohorts.mask_labels import UNKNOWN, label_mask
from ichformer.pipeline.augmentation.augment import Augmentation
from ichformer.pipeline.augmentation.cutout import cut_out
from ichformer.pipeline.augmentation.mixup import mix_batch
from ichformer.pipeline.augmentation.sample import Sample
from ichformer.pipeline.batch import Batch
from ichformer.pipeline.lesions import known_lesions, labels_with_lesions
from ichformer.pipeline.loader import evaluation_batches, training_batches
from ichformer.pipeline.store.records import PreparedScan, Store

NONE = Augmentation(flip=0, rotate_deg=0, scale=0, shift=0, noise_hu=0, offset_hu=0)
MANY = Augmentation(thicken_mm=30.0, drop_slices=0.1, reverse_slices=0.5, cutout=0.25, mixup=0.5)


@pytest.fixture(scope="module")
def store(tiny_store) -> Store:
    return Store.open(tiny_store)


def first(store: Store, **settings) -> Batch:
    batches = training_batches(store, split="train", seed=0, batch_size=4, num_slices=4, **settings)
    try:
        return next(batches)
    finally:
        batches.close()


def test_values_of_each_cohort_mean_labels():
    values = np.array([0, 1, 5, 6, 255], np.uint8)
    for cohort in ("phantom", "bhsd"):
        assert label_mask(values, cohort).tolist() == [0, 1, 5, 254, 254]
    for cohort in ("ctich", "instance", "ours"):
        assert label_mask(values, cohort).tolist() == [0, 254, 254, 254, 254]


@pytest.mark.parametrize("augmentation", [NONE, MANY])
def test_lesions_come_beside_the_same_batch(store, augmentation):
    plain, asked = (first(store, augmentation=augmentation, lesions=lesions) for lesions in (False, True))
    assert plain.lesions is None
    for name in Batch._fields[:-1]:
        np.testing.assert_array_equal(getattr(plain, name), getattr(asked, name), err_msg=name)
    assert (asked.lesions.shape, asked.lesions.dtype) == (asked.hu.shape, np.uint8)


def test_a_batch_has_the_masks_of_its_slices(store):
    batch = first(store, augmentation=NONE, lesions=True)
    whole = next(evaluation_batches(store, rows=store.rows("train")[:1], batch_size=1, lesions=True))
    scan = store.read(int(whole.row[0]))
    np.testing.assert_array_equal(whole.lesions[0, : len(scan.mask)], scan.mask)
    for hu, lesions, row in zip(batch.hu, batch.lesions, batch.row, strict=True):
        scan = store.read(int(row))
        runs = (slice(k, k + 4) for k in range(len(scan.volume.hu) - 3))
        assert any((scan.volume.hu[run] == hu).all() and (scan.mask[run] == lesions).all() for run in runs)


def test_without_a_mask_only_slices_without_a_bleed_are_known(store):
    scan = store.read(int(store.rows("train")[0]))
    labels = np.full_like(scan.slice_labels, np.nan)
    labels[1] = 0
    unmasked = PreparedScan(volume=scan.volume, slice_labels=labels, scan_labels=labels[0])
    found = known_lesions(unmasked, "rsna2019")
    assert (found[1] == 0).all()
    assert (np.delete(found, 1, 0) == UNKNOWN).all()
    healthy = PreparedScan(volume=scan.volume, slice_labels=labels, scan_labels=labels[1])
    assert not known_lesions(healthy, "rsna2019").any()


def test_labels_are_those_that_masks_tell(store):
    rows = store.rows("train")
    shown = [name for name in store.label_set.names if (store.index[name].iloc[rows] == 1).any()]
    assert labels_with_lesions(store, "train") == tuple(shown)
    index = store.index.assign(cohort="ctich")
    assert labels_with_lesions(Store(path=store.path, config={}, index=index), "train") == ("any",)
    index = index.assign(has_mask=False)
    assert labels_with_lesions(Store(path=store.path, config={}, index=index), "train") == ()


def test_a_mixed_voxel_is_unknown_where_the_two_differ():
    values = {name: np.zeros((2, 1), np.float32) for name in ("spacing_mm", "slice_labels", "scan_labels", "weight")}
    lesions = np.array([[0, 1], [0, 2]], np.uint8).reshape(2, 1, 1, 2)
    batch = Batch(
        hu=np.zeros((2, 1, 1, 2), np.int16),
        slice_mask=np.ones((2, 1), bool),
        row=np.arange(2, dtype=np.int32),
        lesions=lesions,
        **values | {"slice_labels": np.zeros((2, 1, 6), np.float32)},
    )
    assert mix_batch(batch, 0.5).lesions.ravel().tolist() == [0, UNKNOWN] * 2
    np.testing.assert_array_equal(mix_batch(batch, 1.0).lesions, lesions)


def test_a_hole_over_what_is_not_known_leaves_labels_as_they_are():
    labels = np.ones((1, 6), np.float32)
    sample = Sample(
        hu=np.zeros((1, 4, 4), np.int16),
        spacing_mm=(5.0, 1.0, 1.0),
        slice_labels=labels,
        mask=np.full((1, 4, 4), UNKNOWN, np.uint8),
    )
    whole = slice(0, 4), slice(0, 4)
    np.testing.assert_array_equal(cut_out(sample, whole).slice_labels, labels)
