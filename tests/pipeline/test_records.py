"""Records and the store: lossless, readable by slice, and nothing but InputError for whatever is damaged."""

import contextlib
import json
import random
import subprocess
import sys
import zlib
from pathlib import Path

import grain
import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ichformer.cohorts.index import read_index
from ichformer.cohorts.splits import split_by_patient
from ichformer.ct.audit import Audit
from ichformer.ct.geometry.orientation import slice_normal
from ichformer.ct.geometry.regrid import slice_origins_mm
from ichformer.ct.io.scans import read_volume
from ichformer.ct.volume import Volume
from ichformer.errors import InputError
from ichformer.pipeline.store.header import RECORD_VERSION
from ichformer.pipeline.store.records import PreparedScan, Store, decode_record, encode_record
from ichformer.testing import tiny_cohort
from tests.stores import prepare_here, shard_paths


def make_scan(hu: np.ndarray, *, mask: np.ndarray | None = None, steps_mm: tuple[float, ...] = ()) -> PreparedScan:
    n_slices = hu.shape[0]
    affine = np.array([[0.1, 0, 0.7, -80.3], [0.2, 0.9, 0, 12.7], [5.1, -0.1, 0, 1 / 3], [0, 0, 0, 1]])
    audit = Audit(description="HEAD «5 mm»", thickness_mm=5.0, tilt_deg=-11.3, steps_mm=steps_mm, missing_slices=1)
    labels = np.array([0, 1, np.nan, 0.25, 0, 1], np.float32)
    return PreparedScan(
        volume=Volume(
            hu=hu,
            spacing_mm=(float(affine[:3, 0] @ slice_normal(affine)), 0.9, 0.7),
            affine=affine,
            source=tuple(f"ID_{i:09x}" for i in range(n_slices)),
            audit=audit.with_note("tilt", "from the positions"),
        ),
        slice_labels=np.tile(labels, (n_slices, 1)),
        scan_labels=labels[::-1].copy(),
        mask=mask,
    )


def assert_same(a: PreparedScan, b: PreparedScan) -> None:
    np.testing.assert_array_equal(a.volume.hu, b.volume.hu)
    np.testing.assert_array_equal(a.volume.affine, b.volume.affine)
    assert a.volume.spacing_mm == b.volume.spacing_mm
    assert a.volume.source == b.volume.source
    assert a.volume.audit == b.volume.audit
    np.testing.assert_array_equal(a.slice_labels, b.slice_labels)
    np.testing.assert_array_equal(a.scan_labels, b.scan_labels)
    assert (a.mask is None) == (b.mask is None)
    if a.mask is not None:
        np.testing.assert_array_equal(a.mask, b.mask)


SHAPES = st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9))


@given(st.data(), SHAPES, st.booleans())
def test_any_scan_comes_back(data, shape, has_mask):
    mask = data.draw(hnp.arrays(np.uint8, shape)) if has_mask else None
    scan = make_scan(data.draw(hnp.arrays(np.int16, shape)), mask=mask)
    record = encode_record(scan)
    assert_same(decode_record(record), scan)
    assert encode_record(scan) == record


@given(st.data(), SHAPES, st.booleans(), st.booleans())
def test_slices_alone_are_the_slices_of_the_whole_and_stay_where_they_are(data, shape, has_mask, is_uneven):
    n_slices = shape[0]
    hu = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    steps_mm = tuple(5.007 if i % 2 else 1.5 for i in range(n_slices - 1)) if is_uneven else ()
    scan = make_scan(hu, mask=hu.astype(np.uint8) if has_mask else None, steps_mm=steps_mm)
    taken = sorted(data.draw(st.sets(st.integers(0, n_slices - 1), min_size=1)))
    part = decode_record(encode_record(scan), slices=taken)
    np.testing.assert_array_equal(part.volume.hu, hu[taken])
    assert part.volume.source == tuple(scan.volume.source[i] for i in taken)
    np.testing.assert_array_equal(part.slice_labels, scan.slice_labels[taken])
    if has_mask:
        np.testing.assert_array_equal(part.mask, scan.mask[taken])
    np.testing.assert_allclose(slice_origins_mm(part.volume), slice_origins_mm(scan.volume)[taken], atol=1e-9)


def test_slices_alone_need_only_their_own_frames():
    scan = make_scan(np.random.default_rng(0).integers(-1024, 3000, (3, 16, 16), np.int16))
    record = bytearray(encode_record(scan))
    record[-20] ^= 1  # in the last slice
    np.testing.assert_array_equal(decode_record(bytes(record), slices=[0, 1]).volume.hu, scan.volume.hu[:2])
    with pytest.raises(InputError, match="cannot be decompressed"):
        decode_record(bytes(record))


@pytest.mark.parametrize("slices", [[], [1, 0], [0, 0], [3], [-1]])
def test_slices_that_are_not_there(slices):
    record = encode_record(make_scan(np.zeros((3, 4, 4), np.int16)))
    with pytest.raises(ValueError, match="ascending"):
        decode_record(record, slices=slices)


def test_a_real_head_is_less_than_a_third(real_data):
    volume = read_volume(real_data / "dcm_qa_ct" / "GE")
    unknown = np.full((28, 6), np.nan, np.float32)
    record = encode_record(PreparedScan(volume=volume, slice_labels=unknown, scan_labels=unknown[0]))
    assert_same(decode_record(record), PreparedScan(volume=volume, slice_labels=unknown, scan_labels=unknown[0]))
    assert len(record) < volume.hu.nbytes / 3


def test_no_damage_goes_unnoticed():
    scan = make_scan(
        np.random.default_rng(0).integers(-1024, 99, (3, 8, 8), np.int16), mask=np.ones((3, 8, 8), np.uint8)
    )
    record, chance = encode_record(scan), random.Random(0)
    for _ in range(600):
        damaged = bytearray(record)
        for _ in range(chance.choice([1, 1, 4])):
            damaged[chance.randrange(len(damaged))] ^= chance.randrange(1, 256)
        if chance.random() < 0.2:
            del damaged[chance.randrange(len(damaged)) :]
        if bytes(damaged) != record:
            with pytest.raises(InputError, match="prepare"):
                decode_record(bytes(damaged))


def with_header(record: bytes, **changes: object) -> bytes:
    """The record with other values in its header, and a checksum that fits them, as an attacker would write it."""
    length = int.from_bytes(record[6:10], "little")
    text = json.dumps(json.loads(record[14 : 14 + length]) | changes).encode()
    return (
        record[:6]
        + len(text).to_bytes(4, "little")
        + zlib.crc32(text).to_bytes(4, "little")
        + text
        + record[14 + length :]
    )


HOSTILE = [
    None,
    -1,
    0,
    1,
    10**400,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "x",
    [],
    [None],
    [1],
    [[]],
    {},
    {"a": 1},
    True,
]
FIELDS = [
    "shape",
    "spacing_mm",
    "affine",
    "source",
    "audit",
    "slice_labels",
    "scan_labels",
    "codec",
    "frames",
    "mask_frames",
]


@pytest.mark.parametrize("field", FIELDS)
def test_hostile_headers(field):
    record = encode_record(make_scan(np.zeros((2, 4, 4), np.int16)))
    assert_same(decode_record(with_header(record)), decode_record(record))
    values = json.loads(record[14 : 14 + int.from_bytes(record[6:10], "little")])[field]
    hostile = list(HOSTILE)
    if isinstance(values, list):
        hostile += [[bad, *values[1:]] for bad in HOSTILE] + [[*values, values[0] if values else 5]]
    if isinstance(values, dict):
        hostile += [values | {name: bad} for name in values for bad in HOSTILE] + [values | {"more": 1}]
    refused = 0
    for bad in hostile:
        try:
            decode_record(with_header(record, **{field: bad}))
        except InputError:
            refused += 1
    assert refused > len(hostile) // 3


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [2, 1 << 20, 1 << 20]},
        {"shape": [3, 16384, 16384]},
        {"frames": [1 << 30, 1 << 30]},
        {"frames": [True, 10]},
        {"audit": {}},
        {"codec": "gzip"},
    ],
)
def test_sizes_are_refused_before_memory_is_taken(changes, monkeypatch):
    record = with_header(encode_record(make_scan(np.zeros((2, 4, 4), np.int16))), **changes)
    empty = np.empty

    def small(shape: tuple[int, ...], *rest: object) -> np.ndarray:
        assert np.prod(shape) < 1e6
        return empty(shape, *rest)

    monkeypatch.setattr(np, "empty", small)
    with pytest.raises(InputError):
        decode_record(record)


def test_a_frame_that_unpacks_to_gigabytes_is_refused():
    record = encode_record(make_scan(np.zeros((1, 4, 4), np.int16)))
    bomb = zstandard.ZstdCompressor().compress(bytes(50_000_000))
    start = 14 + int.from_bytes(record[6:10], "little")
    with pytest.raises(InputError, match="another size"):
        decode_record(with_header(record[:start] + bomb, frames=[len(bomb)]))


def test_a_record_of_an_earlier_version_is_refused_and_says_what_to_do():
    record = bytearray(encode_record(make_scan(np.zeros((1, 4, 4), np.int16))))
    record[4:6] = (RECORD_VERSION - 1).to_bytes(2, "little")
    with pytest.raises(InputError, match="prepare anew"):
        decode_record(bytes(record))


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_bytes_that_are_no_record(data):
    with pytest.raises(InputError):
        decode_record(data)


def test_deep_json():
    text = b"[" * 100_000
    version = RECORD_VERSION.to_bytes(2, "little")
    record = b"ICHR" + version + len(text).to_bytes(4, "little") + zlib.crc32(text).to_bytes(4, "little") + text
    with pytest.raises(InputError, match="nested more than 32 levels deep; the store is damaged"):
        decode_record(record)


@pytest.fixture
def store(tmp_path):
    index = split_by_patient(read_index(tiny_cohort(tmp_path / "cohort", scans=6) / "studies.csv"), seed=1)
    return prepare_here(index, tmp_path / "store")


def test_store_has_a_stable_order_and_reads_what_the_index_says(store):
    assert store.index["series"].tolist() == sorted(store.index["series"])
    rows = np.concatenate([store.rows(split) for split in sorted(set(store.index["split"]))])
    assert sorted(rows) == list(range(6))
    for row, entry in store.index.iterrows():
        scan = store.read(row)
        assert scan.volume.hu.shape == (entry["n_slices"], entry["height"], entry["width"])
        assert entry[["epidural", "subdural", "any"]].tolist() == scan.scan_labels[[0, 4, 5]].tolist()
    part = store.read(2, slices=[1, 2])
    np.testing.assert_array_equal(part.volume.hu, store.read(2).volume.hu[1:3])
    with pytest.raises(InputError, match="it has: "):
        store.rows("tets")


def test_grain_reads_the_shards(store):
    records = grain.sources.ArrayRecordDataSource(shard_paths(store, [3, 0, 5]))
    assert len(records) == 3
    for k, row in enumerate([3, 0, 5]):
        assert_same(decode_record(records[k]), store.read(row))


def test_damaged_and_missing_shards(store):
    path = Path(shard_paths(store, [0])[0])
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[len(damaged) // 16] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(InputError, match="run prepare again"):
        Store.open(store.path).read(0)
    path.write_bytes(Path(shard_paths(store, [1])[0]).read_bytes())
    with pytest.raises(InputError, match="not the one that the index describes"):
        Store.open(store.path).read(0)
    for change in (lambda: path.write_bytes(whole[:-1]), path.unlink):
        change()
        with pytest.raises(InputError, match="missing or not of"):
            Store.open(store.path)


def test_damaged_index(store):
    path, chance = store.path / "index.json", random.Random(0)
    whole = path.read_bytes()
    values = json.loads(whole)
    for series in ([], None, 5, {"a": 1}, ["x"], [values["series"][0] | {"shard": "../../etc/passwd"}], [{}]):
        path.write_text(json.dumps(values | {"series": series}))
        with pytest.raises(InputError):
            Store.open(store.path)
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged)
        with contextlib.suppress(InputError):
            Store.open(store.path)
    path.unlink()
    with pytest.raises(InputError, match="run prepare first"):
        Store.open(store.path)


@pytest.mark.slow
def test_neither_jax_nor_grain_is_imported():
    code = (
        "import sys, ichformer.pipeline.store.records, ichformer.pipeline.preparation.prepare;"
        "import ichformer.cohorts.registry;"
        "assert not {'jax', 'grain', 'absl', 'flax'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
