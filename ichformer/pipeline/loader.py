"""Reads batches from a store, with Grain: batch k is a function of (seed, k) and of nothing else."""

import functools
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import grain
import numpy as np

from ichformer.errors import InputError
from ichformer.pipeline.augmentation.augment import Augmentation
from ichformer.pipeline.augmentation.mixup import mix_batch
from ichformer.pipeline.augmentation.sample import Change
from ichformer.pipeline.batch import Batch, stack_examples
from ichformer.pipeline.buckets import in_buckets, padded_length
from ichformer.pipeline.examples import TrainingExample, whole_example
from ichformer.pipeline.known_labels import whole_rows
from ichformer.pipeline.store.mixture import rows_by_store
from ichformer.pipeline.store.records import Store
from ichformer.process.workers import check_workers, start_worker


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
    change: Change | None = None,
    num_workers: int = 0,
    start: int = 0,
    host: int = 0,
    hosts: int = 1,
    lesions: bool = False,
    weights: Sequence[float] = (),
) -> grain.DatasetIterator:
    """Returns endless batches for training, shuffled anew in every epoch.

    From a mixture of stores scans are taken in turn, in the proportion of ``weights``. Each store has epochs of its
    own.

    A scan gives a random run of its slices. Where labels or targets are known of whole scans only, it is seen whole or
    evenly thinned instead (``known_labels.whole_rows``), so that its labels stay true.

    Args:
      store: prepared scans.
      split: which of them.
      seed: of order and augmentation.
      batch_size: scans a step over all hosts; each host gets its share.
      num_slices: slices a scan.
      augmentation: what is changed at random.
      change: a further random change, after those of ``augmentation``.
      num_workers: processes that read and augment; the batches are the same for any number.
      start: the first batch that is wanted.
      host: this host.
      hosts: of so many.
      lesions: whether batches have ``Batch.lesions``.
      weights: of the stores that ``store`` is a mixture of; the number of their scans by default.

    Returns:
      An iterator over ``Batch`` of NumPy arrays whose position Orbax can save and restore.
    """
    parts = rows_by_store(store, split)
    if batch_size % hosts:
        raise InputError(
            f"{batch_size} scans cannot be shared by {hosts} hosts", where="batch_size", fix=f"a multiple of {hosts}"
        )
    if augmentation.mixup and batch_size // hosts % 2:
        raise InputError(
            f"mixing takes scans in pairs, a host has {batch_size // hosts}",
            where="batch_size",
            fix=f"a multiple of {2 * hosts}",
        )

    example = TrainingExample(
        store=store,
        num_slices=num_slices,
        augmentation=augmentation,
        change=change,
        whole=whole_rows(store, split),
        lesions=lesions,
    )
    orders = [
        grain.MapDataset.source(_Rows(rows)).seed(seed + number).shuffle().repeat() for number, rows in enumerate(parts)
    ]
    dataset = orders[0] if len(orders) == 1 else grain.MapDataset.mix(orders, weights or [len(rows) for rows in parts])
    dataset = dataset.random_map(example)[host::hosts].batch(batch_size // hosts)
    if augmentation.mixup:
        dataset = dataset.random_map(_Mixup(concentration=augmentation.mixup))
    dataset = dataset[start:]
    # One thread's worth of reading ahead is enough: a scan is large and a step is slow.
    iterable = dataset.to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=4))
    if num_workers:
        from absl import flags

        check_workers()
        # Grain's workers read absl's flags, which nobody parses outside absl's own programs.
        flags.FLAGS.mark_as_parsed()
        processes = grain.MultiprocessingOptions(num_workers=num_workers, per_worker_buffer_size=2)
        iterable = iterable.mp_prefetch(processes, worker_init_fn=_start_worker)
    return iter(iterable)


def _start_worker(number: int, count: int) -> None:  # noqa: ARG001 - Grain says which of how many it is
    start_worker()


def evaluation_batches(
    store: Store,
    *,
    rows: np.ndarray,
    batch_size: int,
    num_slices: int = 0,
    host: int = 0,
    hosts: int = 1,
    lesions: bool = False,
) -> Iterator[Batch]:
    """Yields every scan of ``rows`` once, whole and unchanged; scans of weight 0 fill up the first batch.

    Scans of like length come together, padded to ``buckets.padded_length``. With ``num_slices`` all come in order,
    padded or thinned to so many. While a batch is used, the next ones are read in threads.
    """
    lengths = [(int(row), num_slices or padded_length(store.n_slices[row])) for row in rows]
    plans = []
    for bucket in in_buckets(lengths, size=batch_size * hosts):
        # Every host gives as many batches as the others: what they compute together needs all of them.
        own = bucket.rows[host::hosts]
        plans.append(_BatchPlan(rows=own or bucket.rows[:1], weight=float(bool(own)), num_slices=bucket.num_slices))
    dataset = grain.MapDataset.source(plans).map(_WholeBatch(store=store, batch_size=batch_size, lesions=lesions))
    return iter(dataset.to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=2)))


@dataclass(frozen=True, kw_only=True)
class _BatchPlan:
    """The scans of a batch, the weight of each, and how many slices each is padded to."""

    rows: list[int]
    weight: float
    num_slices: int


@dataclass(frozen=True, kw_only=True)
class _WholeBatch(grain.transforms.Map):
    """Reads the scans of a batch whole, and fills the batch up with its last scan at weight 0."""

    store: Store = field(repr=False)
    batch_size: int
    lesions: bool

    def map(self, element: _BatchPlan) -> Batch:
        weight = np.float32(element.weight)
        read = functools.partial(whole_example, self.store, num_slices=element.num_slices, lesions=self.lesions)
        examples = [read(row)._replace(weight=weight) for row in element.rows]
        examples += [examples[-1]._replace(weight=np.float32(0))] * (self.batch_size - len(examples))
        return stack_examples(examples)


@dataclass(frozen=True, kw_only=True)
class _Mixup(grain.transforms.RandomMap):
    """Mixes a batch with itself, all its scans in one proportion; every host draws the same."""

    concentration: float

    def random_map(self, element: Batch, rng: np.random.Generator) -> Batch:
        return mix_batch(element, float(rng.beta(self.concentration, self.concentration)))
