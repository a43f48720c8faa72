"""How fast batches are read from a store, and where the time goes."""

import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np

from ichformer.errors import InputError
from ichformer.pipeline.augmentation.augment import Augmentation
from ichformer.pipeline.examples import TrainingExample
from ichformer.pipeline.known_labels import whole_rows
from ichformer.pipeline.loader import training_batches
from ichformer.pipeline.store.records import Store, decode_record

_SAMPLED = 32
"""Scans of which reading, decoding and augmenting are timed apart."""


def bench_loader(
    store: Path | str,
    *,
    split: str = "train",
    batches: int = 20,
    workers: int = 0,
    batch_size: int = 8,
    num_slices: int = 24,
) -> dict[str, Any]:
    """Measure how fast training batches are read with the default ``Augmentation`` and nothing else to do.

    Args:
      store: folder that ``ichformer prepare`` wrote.
      split: the split to draw from.
      batches: how many are timed, after some that fill what is read ahead.
      workers: processes that read and augment.
      batch_size: scans a batch.
      num_slices: slices a scan.

    Returns:
      "series_per_s" and "mb_per_s" (of HU in the batches, 10**6 bytes) by the clock; "decode_share", "read_share" and
      "augment_share" of a core's time for a scan (waiting for the disk is not in it); "decode_gb_per_s" of that core,
      masks with it; and the settings.

    Raises:
      InputError: no such store or split, or a number below its least.
    """
    counts = {"batches": batches, "workers": workers, "batch_size": batch_size, "num_slices": num_slices}
    for name, value in counts.items():
        least = 0 if name == "workers" else 1
        if value < least:
            raise InputError(f"found {value}", where=name, fix=f"give {least} or more")
    opened = Store.open(store)
    stream = training_batches(
        opened,
        split=split,
        seed=0,
        batch_size=batch_size,
        num_slices=num_slices,
        augmentation=Augmentation(),
        num_workers=workers,
    )
    try:
        # Until what the workers made while they were starting is used up.
        list(itertools.islice(stream, 1 + 2 * workers))
        start = time.perf_counter()
        drawn = list(itertools.islice(stream, batches))
        seconds = time.perf_counter() - start
    finally:
        stream.close()
    n_bytes = sum(batch.hu.nbytes for batch in drawn)
    example = TrainingExample(
        store=opened, num_slices=num_slices, augmentation=Augmentation(), whole=whole_rows(opened, split)
    )
    return {
        "series_per_s": batches * batch_size / seconds,
        "mb_per_s": n_bytes / seconds / 1e6,
        **_shares(example, opened.rows(split)),
        **counts,
    }


def _shares(example: TrainingExample, rows: np.ndarray) -> dict[str, float]:
    """Where the time for a scan goes in one process: reading the shard, decoding it, and all that is changed."""
    read_s = decode_s = augment_s = 0.0
    n_bytes = 0
    for k in range(_SAMPLED):
        row, rng = int(rows[k % len(rows)]), np.random.default_rng(k)
        plan = example.plan(row, rng)
        start = time.thread_time()
        record = example.store.record(row)
        read = time.thread_time()
        scan = decode_record(record, slices=plan.taken)
        decoded = time.thread_time()
        example.build(row, scan, plan, rng)
        read_s, decode_s = read_s + read - start, decode_s + decoded - read
        augment_s += time.thread_time() - decoded
        n_bytes += scan.volume.hu.nbytes + (0 if scan.mask is None else scan.mask.nbytes)
    total_s = read_s + decode_s + augment_s
    return {
        "read_share": read_s / total_s,
        "decode_share": decode_s / total_s,
        "augment_share": augment_s / total_s,
        "decode_gb_per_s": n_bytes / decode_s / 1e9,
    }


def format_loader(found: dict[str, Any]) -> str:
    """One paragraph for people."""
    shares = ", ".join(f"{name} {found[f'{name}_share']:.0%}" for name in ("read", "decode", "augment"))
    return (
        f"{found['series_per_s']:.1f} series/s, {found['mb_per_s']:.0f} MB/s of HU, {found['workers']} workers, "
        f"{found['batches']} batches of {found['batch_size']} x {found['num_slices']} slices\n"
        f"a core's time for a scan: {shares}; decoding {found['decode_gb_per_s']:.2f} GB/s"
    )
