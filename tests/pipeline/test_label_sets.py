"""Stores whose scans have labels and targets of their own: written, read, counted and given as batches."""

import itertools
import json
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest

from ichformer import LABELS
from ichformer.cohorts.index import make_index
from ichformer.ct.geometry.spacing import labels_of_slabs
from ichformer.errors import InputError
from ichformer.evaluation.robustness import corrupted
from ichformer.labels import LabelSet
from ichformer.pipeline.augmentation.augment import Augmentation
from ichformer.pipeline.augmentation.cutout import cut_out
from ichformer.pipeline.augmentation.mixup import mix_batch
from ichformer.pipeline.augmentation.sample import Sample
from ichformer.pipeline.augmentation.slabs import thicken
from ichformer.pipeline.known_labels import TargetCounts, format_known_labels, known_labels, whole_rows
from ichformer.pipeline.loader import evaluation_batches, training_batches
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.preparation.facts import FACTS_NAME
from ichformer.pipeline.preparation.recipe import prepare_scan
from ichformer.pipeline.store.card import write_card
from ichformer.pipeline.store.index_file import read_store_index
from ichformer.pipeline.store.records import Store, decode_record, encode_record
from ichformer.pipeline.store.resplit import resplit
from ichformer.privacy.scrub import scrub
from tests.scan_labels import Given, store_of
from tests.stores import prepare_here

OWN = LabelSet(names=("bleed", "fracture"), targets=("area_mm2", "age_years"))
NONE = Augmentation(flip=0, rotate_deg=0, scale=0, shift=0, noise_hu=0, offset_hu=0)
NAN = np.nan


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Scans of 4 slices: two with values of slices, the first origin; one with values of the scan, the second."""
    given = [
        Given(
            slices=4,
            scan={"bleed": 1.0},
            by_slice={"bleed": [0, 1, 0, 0], "fracture": [0, 0, 0, 0], "area_mm2": [0, 2.5, NAN, 0]},
            origin="slices",
        ),
        Given(slices=4, scan={"bleed": 0.0}, by_slice={"bleed": [0.0] * 4, "area_mm2": [7.0] * 4}, origin="slices"),
        Given(slices=4, scan={"bleed": 1.0, "age_years": 64.0}, origin="scans"),
        Given(slices=4, scan={"bleed": 0.0, "age_years": 6.0}, origin="scans"),
        Given(slices=4, scan={"age_years": -1.5}, split="val"),
    ]
    return store_of(tmp_path_factory.mktemp("own"), given, OWN)


def test_a_store_says_which_labels_it_has(store):
    values = json.loads((store.path / "index.json").read_text())
    assert values["schema"] == 3
    assert values["label_set"] == {"names": ["bleed", "fracture"], "targets": ["area_mm2", "age_years"]}
    assert store.label_set == OWN
    assert not set(LABELS) & set(store.index.columns)
    np.testing.assert_array_equal(store.index[list(OWN.columns)].to_numpy()[2], [1, NAN, NAN, 64])
    assert Store.open(store.path).index.equals(store.index)


def test_scans_and_headers_have_its_labels(store):
    for scan in (store.read(0), store.header(0), store.read(0, slices=[0, 1, 2, 3])):
        assert scan.label_set == OWN
        expected = [[0, 0, 0, NAN], [1, 0, 2.5, NAN], [0, 0, NAN, NAN], [0, 0, 0, NAN]]
        np.testing.assert_array_equal(scan.slice_labels, np.array(expected, np.float32))
        np.testing.assert_array_equal(scan.scan_labels, np.array([1, NAN, NAN, NAN], np.float32))
    np.testing.assert_array_equal(store.read(0, slices=[1]).slice_labels[0], [1, 0, 2.5, NAN])


def test_batches_are_as_wide_as_the_label_set(store):
    (batch,) = evaluation_batches(store, rows=np.arange(5), batch_size=5)
    assert batch.slice_labels.shape == (5, 4, 4)
    np.testing.assert_array_equal(batch.scan_labels, store.index[list(OWN.columns)].to_numpy(np.float32))
    np.testing.assert_array_equal(batch.slice_labels[1, :4, 2], [7.0] * 4)


def training(store: Store, num_slices: int, **changes: float) -> list:
    batches = training_batches(
        store, split="train", seed=0, batch_size=4, num_slices=num_slices, augmentation=replace(NONE, **changes)
    )
    try:
        return list(itertools.islice(batches, 3))
    finally:
        batches.close()


def test_a_scan_whose_target_is_known_is_seen_whole(store):
    assert whole_rows(store, "train") == {2, 3}
    for batch in training(store, 2, drop_slices=0.5, cutout=0.25):
        for row, spacing_mm, scan, slices in zip(
            batch.row, batch.spacing_mm[:, 0], batch.scan_labels, batch.slice_labels, strict=True
        ):
            assert np.isnan(scan[2])
            if row in (2, 3):
                assert spacing_mm == 10.0
                assert scan[3] == store.index["age_years"][row]
                assert scan[0] == store.index["bleed"][row]
            else:
                assert np.isnan(scan[3])
                assert np.isnan(slices[:, 3]).all()


def test_only_slices_that_agree_keep_their_target_in_a_slab(store):
    values = set()
    for batch in training(store, 4, thicken_mm=10.0):
        rows, columns = np.nonzero(batch.slice_mask)
        values |= set(batch.slice_labels[rows, columns, 2][~np.isnan(batch.slice_labels[rows, columns, 2])].tolist())
    assert values <= {0.0, 2.5, 7.0}
    labels = np.array([[1, 2, 5], [0, 2, NAN], [NAN, 3, 5], [0, 3, 6]], np.float32)
    sample = Sample(hu=np.zeros((4, 8, 8), np.int16), spacing_mm=(5, 1, 1), slice_labels=labels, num_targets=2)
    np.testing.assert_array_equal(thicken(sample, 2).slice_labels, [[1, 2, NAN], [NAN, 3, NAN]])
    weights = np.array([[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5], [0, 1, 0, 0], [0, 0, 1, 0.1]])
    expected = [[1, 2, NAN], [NAN, 3, NAN], [0, 2, NAN], [NAN, 3, 5]]
    np.testing.assert_array_equal(labels_of_slabs(labels, weights, num_targets=2), expected)
    np.testing.assert_array_equal(labels_of_slabs(-labels, weights, num_targets=2)[:, 1], [-2, -3, -2, -3])


def test_a_hole_over_a_lesion_leaves_no_target(store):
    mask = np.zeros((2, 8, 8), np.uint8)
    mask[0, 2:4, 2:4] = 1
    labels = np.array([[1, 0, 0, 64], [1, 0, 3, 64]], np.float32)
    hu = np.zeros((2, 8, 8), np.int16)
    sample = Sample(hu=hu, spacing_mm=(5, 1, 1), slice_labels=labels, mask=mask, num_targets=2)
    found = cut_out(sample, (slice(2, 4), slice(2, 4))).slice_labels
    np.testing.assert_array_equal(found, [[NAN, 0, NAN, NAN], [1, 0, 3, 64]])


def test_targets_mix_as_the_pictures_do(store):
    (batch,) = evaluation_batches(store, rows=np.array([2, 3]), batch_size=2)
    np.testing.assert_allclose(mix_batch(batch, 0.75).scan_labels[:, 3], [0.75 * 64 + 0.25 * 6, 0.75 * 6 + 0.25 * 64])
    (batch,) = evaluation_batches(store, rows=np.array([0, 2]), batch_size=2)
    assert np.isnan(mix_batch(batch, 0.75).scan_labels[:, 3]).all()


def found_of(target: TargetCounts) -> tuple:
    return target.known_scans, target.known_slices, target.lowest, target.median, target.highest


def test_what_is_known_is_counted(store):
    known = known_labels(store, "train", num_slices=4)
    assert list(known.counts) == ["bleed", "fracture"]
    assert (known.counts["bleed"].positive_slices, known.counts["bleed"].negative_slices) == (1, 7)
    assert found_of(known.targets["area_mm2"]) == (0, 7, 0.0, 7.0, 7.0)
    assert found_of(known.targets["age_years"]) == (2, 0, 6.0, 35.0, 64.0)
    nothing = known_labels(store, "val", num_slices=4).targets["area_mm2"]
    assert found_of(nothing) == (0, 0, None, None, None)
    area, age = known.targets["area_mm2"], known.targets["age_years"]
    values = np.array([0, 2.5, 0, 7, 7, 7, 7])
    assert (area.slice_mean, area.slice_spread) == pytest.approx((values.mean(), values.std()))
    assert (area.scan_mean, area.scan_spread) == (0, 0)
    assert (age.scan_mean, age.scan_spread) == (35, 29)
    age_of_val = known_labels(store, "val", num_slices=4).targets["age_years"]
    assert (age_of_val.scan_mean, age_of_val.scan_spread) == (-1.5, 0)
    assert not nothing.is_known
    json.dumps(known.to_json(), allow_nan=False)
    lines = [line.split() for line in format_known_labels(known).splitlines()]
    assert ["age_years", "2", "0", "6", "35", "64"] in lines
    (store.path / FACTS_NAME).unlink()
    assert known_labels(Store.open(store.path), "train", num_slices=4) == known


def test_the_card_counts_them(store):
    card = write_card(store).read_text().splitlines()
    assert "| bleed | 2 / 2 / 0 | 0 / 0 / 1 |" in card
    assert "| age_years | train | scans | 2 | 6 | 6 | 6 | 64 | 64 |" in card
    assert "| area_mm2 | train | slices | 7 | 0 | 0 | 7 | 7 | 7 |" in card
    assert "| age_years | val | scans | 1 | -1.5 | -1.5 | -1.5 | -1.5 | -1.5 |" in card


def test_copies_and_corrupted_scans_keep_them(store, tmp_path):
    copy = resplit(store, store.index["split"].replace("val", "test"), tmp_path / "other")
    assert copy.label_set == OWN
    np.testing.assert_array_equal(corrupted(store, ("dose_noise", 1)).read(1).slice_labels[:, 2], [7.0] * 4)


def test_a_scrubbed_copy_keeps_them(store, tmp_path):
    scrub(store.path, tmp_path / "copy")
    copied = Store.open(tmp_path / "copy")
    assert copied.label_set == OWN
    for name in OWN.columns:
        assert sorted(copied.index[name].dropna()) == sorted(store.index[name].dropna())
    found = [copied.read(row) for row in range(5)]
    areas = sorted(value for scan in found for value in scan.slice_labels[:, 2] if not np.isnan(value))
    assert areas == [0.0, 0.0, 2.5, 7.0, 7.0, 7.0, 7.0]


def test_the_recipe_resamples_labels_and_targets(store):
    labels = np.array([[0, 0, 1, 50], [1, 0, 1, 50], [0, 0, 3, 50], [0, 0, 4, 50]], np.float32)
    config = PrepareConfig(size=32, slice_spacing_mm=2.5)
    found = prepare_scan(replace(store.read(0), slice_labels=labels), config).slice_labels
    np.testing.assert_array_equal(found[:, 2], [1, 1, 1, NAN, 3, NAN, 4])
    np.testing.assert_array_equal(found[:, 3], [50] * 7)


def test_a_store_goes_on_with_the_same_labels_alone(store, tmp_path):
    row = {"cohort": "folder", "origin": "folder", "patient": "p", "series": "s", "path": str(tmp_path), "split": ""}
    for label_set in (LabelSet(names=("bleed",)), LabelSet()):
        index = make_index([row], label_set=label_set)
        with pytest.raises(
            InputError, match=r"with other settings: names is .*bleed.* there and .*name another folder"
        ):
            prepare_here(index, store.path, label_set=label_set, with_uids=True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 2}, "missing required field epidural"),
        ({"label_set": None}, "label_set: Expected object, got null"),
        ({"label_set": {"names": ["bleed", "bleed"]}}, "names bleed twice"),
        ({"label_set": {"names": ["series"]}}, "series is the name of another column"),
        ({"label_set": {"names": ["feature_0000"]}}, "feature_0000 is the name of another column"),
        ({"label_set": {"names": ["x" * 10_000]}}, "cannot name a label"),
        ({"label_set": {"names": [f"l{i}" for i in range(5000)]}}, "names 5,000 columns"),
        ({"label_set": {"names": ["bleed", "other"], "targets": []}}, "missing required field other"),
        ({"label_set": {}}, "schema 3 with the six labels"),
    ],
)
def test_hostile_label_sets(store, tmp_path, change, said):
    values = json.loads((store.path / "index.json").read_text()) | change
    (tmp_path / "index.json").write_text(json.dumps(values))
    with pytest.raises(InputError) as error:
        read_store_index(tmp_path / "index.json")
    assert said in str(error.value)
    assert str(error.value).isprintable()


@pytest.mark.parametrize(("column", "value"), [("bleed", 2), ("age_years", 1e10), ("age_years", "old"), ("bleed", [])])
def test_hostile_labels_in_an_index(store, tmp_path, column, value):
    values = json.loads((store.path / "index.json").read_text())
    values["series"][0][column] = value
    (tmp_path / "index.json").write_text(json.dumps(values))
    with pytest.raises(InputError, match=rf"series\[0\].{column}: Expected"):
        read_store_index(tmp_path / "index.json")


def with_header(record: bytes, version: int = 5, **changes: object) -> bytes:
    length = struct.unpack_from("<I", record, 6)[0]
    values = json.loads(record[14 : 14 + length]) | changes
    text = json.dumps({name: value for name, value in values.items() if value is not ...}).encode()
    return record[:4] + struct.pack("<HII", version, len(text), zlib.crc32(text)) + text + record[14 + length :]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": 4}, "does not hold what it should"),
        ({"label_set": ...}, "missing required field label_set"),
        ({"label_set": {}}, "unexpected label set"),
        ({"label_set": {"names": ["bleed"]}}, "unexpected number of labels"),
        ({"scan_labels": [1, 0, 1]}, "unexpected number of labels"),
        ({"scan_labels": [1, 2, 1, 1]}, "unexpected label"),
        ({"scan_labels": [1, -0.5, 1, 1]}, "unexpected label"),
        ({"scan_labels": [1, 0, 1, 1e10]}, "does not hold what it should"),
        ({"slice_labels": [[0, 0, 0, 0]] * 3}, "unexpected labels"),
        ({"slice_labels": [[0, 0, 0, 0]] * 3 + [[0] * 5]}, "unexpected number of labels"),
        ({"slice_labels": [[0, 0, 0, 0]] * 3 + [[]]}, "unexpected number of labels"),
        ({"slice_labels": 5}, "does not hold what it should"),
    ],
)
def test_hostile_records(store, changes, said):
    record = store.record(0)
    assert decode_record(with_header(record)).label_set == OWN
    with pytest.raises(InputError) as error:
        decode_record(with_header(record, **changes))
    assert said in str(error.value)


def test_a_record_of_other_labels_than_its_store_is_refused(store, monkeypatch):
    scan = store.read(0)
    other = replace(scan, label_set=LabelSet(names=("bleed", "other"), targets=OWN.targets))
    record = encode_record(other)
    monkeypatch.setattr(Store, "record", lambda *_: record)
    for read in (store.read, store.header):
        with pytest.raises(InputError, match="the shard has other labels than the index"):
            read(0)


def test_shards_depend_on_the_label_set(tmp_path):
    """Labels of another meaning are never taken for the same ones, be their numbers equal."""
    given = [Given(slices=2, scan={"a": 1.0}), Given(slices=2, scan={"b": 1.0})]
    stores = [store_of(tmp_path / name, [one], LabelSet(names=(name,))) for name, one in zip("ab", given, strict=True)]
    shards = [{path.name for path in (one.path / "shards").iterdir()} for one in stores]
    assert not shards[0] & shards[1]
