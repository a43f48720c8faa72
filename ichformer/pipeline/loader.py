"""From the store to batches, with Grain: batch k is a function of (seed, k) and of nothing else."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import grain
import numpy as np

from ichformer.ct.volume import AIR_HU
from ichformer.errors import InputError
from ichformer.pipeline.augment import Augmentation, augment
from ichformer.pipeline.batch import SLICE_MULTIPLE, Batch
from ichformer.pipeline.records import PreparedScan, Store


class _Rows:
    """Some rows of a store, for Grain's random access."""

    def __init__(self, rows: np.ndarray):
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> int:
        return int(self._rows[index])

    def __repr__(self) -> str:
        # Grain writes this into the iterator's state and compares it on restore: content, not an address in memory.
        return f"_Rows({len(self._rows)} rows, crc32 {zlib.crc32(np.asarray(self._rows, np.int64).tobytes())})"


def training_batches(
    store: Store,
    *,
    split: str,
    seed: int,
    batch_size: int,
    num_slices: int,
    augmentation: Augmentation,
    num_workers: int = 0,
    start: int = 0,
    host: int = 0,
    hosts: int = 1,
) -> grain.DatasetIterator:
    """Endless batches for training, shuffled anew in every epoch.

    Args:
      store: prepared scans.
      split: which of them.
      seed: of order and augmentation.
      batch_size: scans a step over all hosts; each host gets its share.
      num_slices: slices a scan.
      augmentation: what is changed at random.
      num_workers: processes that read and augment; the batches are the same for any number.
      start: the first batch that is wanted.
      host: this host.
      hosts: of so many.

    Returns:
      An iterator over ``Batch`` of NumPy arrays whose position Orbax can save and restore.
    """
    rows = store.rows(split)
    if batch_size % hosts:
        raise InputError(
            f"{batch_size} scans cannot be shared by {hosts} hosts", where="batch_size", mend=f"a multiple of {hosts}"
        )

    example = _TrainingExample(store=store, num_slices=num_slices, augmentation=augmentation)
    dataset = grain.MapDataset.source(_Rows(rows)).seed(seed).shuffle().repeat().random_map(example)
    dataset = dataset[host::hosts].batch(batch_size // hosts)[start:]
    # One thread's worth of reading ahead is enough: a scan is large and a step is slow.
    options = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)
    iterable = dataset.to_iter_dataset(options)
    if num_workers:
        from absl import flags

        # Grain's workers read absl's flags, which nobody parses outside absl's own programs.
        flags.FLAGS.mark_as_parsed()
        iterable = iterable.mp_prefetch(grain.MultiprocessingOptions(num_workers=num_workers, per_worker_buffer_size=2))
    return iter(iterable)


def evaluation_batches(
    store: Store, *, rows: np.ndarray, batch_size: int, host: int = 0, hosts: int = 1
) -> Iterator[Batch]:
    """Every scan of ``rows`` once, whole and unchanged; the last batch is filled up with scans of weight 0.

    Scans of like length come together, padded to a multiple of ``SLICE_MULTIPLE`` slices.
    """
    counts = store.index["n_slices"].to_numpy()
    padded = {int(row): -(-int(counts[row]) // SLICE_MULTIPLE) * SLICE_MULTIPLE for row in rows}
    for num_slices in sorted(set(padded.values())):
        same = [row for row in padded if padded[row] == num_slices][host::hosts]
        for first in range(0, len(same), batch_size):
            examples = [_example(row, store.read(row), num_slices) for row in same[first : first + batch_size]]
            filler = examples[-1]._replace(weight=np.float32(0))
            examples += [filler] * (batch_size - len(examples))
            yield Batch(*(np.stack(arrays) for arrays in zip(*examples, strict=True)))


@dataclass(frozen=True, kw_only=True)
class _TrainingExample(grain.transforms.RandomMap):
    """A random run of a scan's slices, augmented. A class: Grain pickles it and keeps its repr in states."""

    store: Store = field(repr=False)
    num_slices: int
    augmentation: Augmentation

    def random_map(self, element: int, rng: np.random.Generator) -> Batch:
        n_slices = int(self.store.index["n_slices"].iloc[element])
        first = int(rng.integers(0, max(n_slices - self.num_slices, 0) + 1))
        run = np.arange(first, min(first + self.num_slices, n_slices))
        example = _example(element, self.store.read(element, slices=run), self.num_slices, part=len(run) < n_slices)
        return example._replace(hu=augment(example.hu, self.augmentation, rng))


def _example(row: int, scan: PreparedScan, num_slices: int, *, part: bool = False) -> Batch:
    """One scan without a batch axis, padded with air to ``num_slices``.

    Where ``scan`` is only a part of itself, its label holds as far as its slices say so: a scan that bleeds elsewhere
    is not positive for this run.
    """
    hu, slice_labels, scan_labels = scan.volume.hu, scan.slice_labels, scan.scan_labels
    if part:
        scan_labels = _labels_of_run(scan_labels, slice_labels)
    padding = num_slices - hu.shape[0]
    return Batch(
        hu=np.pad(hu, ((0, padding), (0, 0), (0, 0)), constant_values=AIR_HU),
        slice_mask=np.arange(num_slices) < hu.shape[0],
        spacing_mm=np.asarray(scan.volume.spacing_mm, np.float32),
        slice_labels=np.pad(slice_labels, ((0, padding), (0, 0)), constant_values=np.nan).astype(np.float32),
        scan_labels=scan_labels.astype(np.float32),
        weight=np.float32(1),
        row=np.int32(row),
    )


def _labels_of_run(scan_labels: np.ndarray, slice_labels: np.ndarray) -> np.ndarray:
    """The scan labels of a run of slices, unknown where a slice is unknown and none positive in a positive scan."""
    known = ~np.isnan(slice_labels)
    positive = (slice_labels == 1).any(0)
    labels: Any = np.where(positive, 1.0, np.where(known.all(0), 0.0, np.nan))
    return np.where(scan_labels == 0, 0.0, labels)
