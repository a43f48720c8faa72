"""Stores: index, facts of each scan, shards, and records inside sound shards; and what a phantom cohort is."""

import hashlib
import json
import shutil
import struct
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter

from experiments.fuzzing.kind import COHORT_SCANS, Kind, Source
from experiments.fuzzing.mutations import ANY, JSON, by_name, choose, special_or_any, strange_value
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.preparation.facts import FACTS_NAME, complete_facts
from ichformer.pipeline.preparation.prepare import prepare_index
from ichformer.pipeline.store.index_file import INDEX_NAME
from ichformer.pipeline.store.records import Store, read_shard
from ichformer.testing import tiny_cohort

_PREFIX = struct.Struct("<4sHII")
_COHORT = "phantom.json"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


def record_header(rng: np.random.Generator, data: bytearray) -> bytes:
    """A record whose header says something else, with the right checksum."""
    magic, version, length, _ = _PREFIX.unpack_from(data)
    values: Mapping[str, object] = json.loads(data[_PREFIX.size : _PREFIX.size + length])
    text = json.dumps(strange_value(rng, values)).encode()
    return _PREFIX.pack(magic, version, len(text), zlib.crc32(text)) + text + data[_PREFIX.size + length :]


def record_frame(rng: np.random.Generator, data: bytearray) -> bytes:
    """A record whose frames are broken."""
    start = _PREFIX.size + _PREFIX.unpack_from(data)[2]
    _, change = choose(rng, ANY)
    return bytes(data[:start]) + bytes(change(rng, data[start:]))


def frame_bomb(rng: np.random.Generator, data: bytearray) -> bytes:
    """A frame of Zstandard that says it holds gigabytes, or holds them without a word (RFC 8878, section 3.1.1)."""
    start = data.find(_ZSTD_MAGIC, _PREFIX.size)
    if start < 0:
        return bytes(data)
    # One block of one byte again and again, 128 KiB of it in four bytes.
    block = (1 << 1 | (1 << 17) << 3).to_bytes(3, "little") + b"\0"
    n_blocks = int(rng.choice((1, 1 << 13, 1 << 16)))
    header = (
        b"\xc0" + bytes([0x58]) + struct.pack("<Q", n_blocks << 17) if rng.random() < 0.5 else b"\0" + bytes([0x58])
    )
    return bytes(data[:start]) + _ZSTD_MAGIC + header + block * n_blocks + b"\x01\0\0"


RECORD = by_name((record_header, record_frame, frame_bomb))


def write_bases(folder: Path, source: Source) -> None:
    """One store of a few scans, with the facts that a training writes; and what a phantom cohort says of itself."""
    with ThreadPoolExecutor(1) as executor:
        prepare_index(source.index, folder / "tiny", config=PrepareConfig(size=32), executor=executor, progress=False)
    complete_facts(Store.open(folder / "tiny"))
    (folder / "cohort").mkdir()
    shutil.copyfile(source.cohort / _COHORT, folder / "cohort" / _COHORT)


def break_store(rng: np.random.Generator, store: Path) -> str:
    """The index, the facts, a shard, or a record inside a sound shard that the index agrees with."""
    index, what = store / INDEX_NAME, rng.random()
    cohort = store / _COHORT
    if what < 0.4 or cohort.exists():
        file = cohort if cohort.exists() else index if what < 0.3 else store / FACTS_NAME
        # Each line of the facts is JSON of its own; the first is broken.
        head, *rest = file.read_bytes().splitlines(keepends=True) if file.name == FACTS_NAME else [file.read_bytes()]
        name, mutation = special_or_any(rng, JSON)
        file.write_bytes(b"".join([bytes(mutation(rng, bytearray(head))), *rest]))
        return f"{file.stem} {name}"
    values = json.loads(index.read_bytes())
    entry = values["series"][int(rng.integers(len(values["series"])))]
    shard = store / "shards" / entry["shard"]
    if what < 0.55:
        name, mutation = choose(rng, ANY)
        shard.write_bytes(mutation(rng, bytearray(shard.read_bytes())))
        name = "shard " + name
    else:
        name, mutation = special_or_any(rng, RECORD, 0.8)
        record = bytes(mutation(rng, bytearray(read_shard(shard))))
        shard.unlink()
        writer = ArrayRecordWriter(str(shard), "group_size:1,uncompressed")
        writer.write(record)
        writer.close()
        entry["sha256"] = hashlib.sha256(record).hexdigest()
        name = "record " + name
    entry["bytes"] = shard.stat().st_size
    index.write_text(json.dumps(values))
    return name


def read_store(folder: Path) -> None:
    """Every record of a store, whole and by slices, and the facts; a phantom cohort as what may be gone on with."""
    if (folder / _COHORT).exists():
        tiny_cohort(folder, scans=COHORT_SCANS, prevalence=1.0)
        return
    store = Store.open(folder)
    for row in range(len(store.index)):
        scan = store.read(row)
        store.read(row, slices=[len(scan.volume.hu) - 1])
    store.rows(str(store.index["split"].iloc[0]))
    complete_facts(store)


KIND = Kind(name="store", share=0.15, write=write_bases, damage=break_store, read=read_store)
