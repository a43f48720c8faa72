"""Reads batches from a store, with Grain: batch k is a function of (seed, k) and of nothing else."""

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import grain
import numpy as np
from jaxtyping import UInt8

from ichformer.ct.volume import AIR_HU
from ichformer.errors import InputError
from ichformer.pipeline.augmentation.augment import Augmentation, augment
from ichformer.pipeline.augmentation.mixup import mix_batch
from ichformer.pipeline.augmentation.sample import Change, Sample, apply_change
from ichformer.pipeline.augmentation.slabs import SlicePlan, arrange, evenly_thinned, plan_slices, plan_whole
from ichformer.pipeline.batch import SLICE_MULTIPLE, Batch, stack_examples
from ichformer.pipeline.known_labels import whole_rows
from ichformer.pipeline.lesions import known_lesions, lesions_after
from ichformer.pipeline.store.records import PreparedScan, Store
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
) -> grain.DatasetIterator:
    """Returns endless batches for training, shuffled anew in every epoch.

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

    Returns:
      An iterator over ``Batch`` of NumPy arrays whose position Orbax can save and restore.
    """
    rows = store.rows(split)
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
    dataset = grain.MapDataset.source(_Rows(rows)).seed(seed).shuffle().repeat().random_map(example)
    dataset = dataset[host::hosts].batch(batch_size // hosts)
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
    """Yields every scan of ``rows`` once, whole and unchanged; scans of weight 0 fill up the last batch.

    Scans of like length come together, padded to a multiple of ``SLICE_MULTIPLE`` slices. With ``num_slices`` all come
    in order, padded or thinned to so many. While a batch is used, the next ones are read in threads.
    """
    padded = {int(r): num_slices or -(-store.n_slices[r] // SLICE_MULTIPLE) * SLICE_MULTIPLE for r in rows}
    plans = []
    for num_slices in sorted(set(padded.values())):
        same = [row for row in padded if padded[row] == num_slices]
        for first in range(0, len(same), batch_size * hosts):
            # Every host gives as many batches as the others: what they compute together needs all of them.
            own = same[first : first + batch_size * hosts][host::hosts]
            plans.append(_BatchPlan(rows=own or same[:1], weight=float(bool(own)), num_slices=num_slices))
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
        read = (self._example(row, element.num_slices) for row in element.rows)
        examples = [example._replace(weight=weight) for example in read]
        examples += [examples[-1]._replace(weight=np.float32(0))] * (self.batch_size - len(examples))
        return stack_examples(examples)

    def _example(self, row: int, num_slices: int) -> Batch:
        scan = self.store.read(row, slices=evenly_thinned(self.store.n_slices[row], num_slices))
        mask = known_lesions(scan, self.store.cohorts[row]) if self.lesions else None
        sample = _pad(_as_sample(scan, mask), num_slices)
        return _example(row, sample, scan.scan_labels, sample.mask, n_slices=len(scan.volume.hu))


@dataclass(frozen=True, kw_only=True)
class TrainingExample(grain.transforms.RandomMap):
    """A random run of a scan's slices, or the whole scan, augmented.

    A class: Grain pickles it and keeps its repr in states.

    Attributes:
      store: prepared scans.
      num_slices: slices of an example.
      augmentation: what is changed at random.
      change: a further random change, after those of ``augmentation``.
      whole: the rows of scans that are seen whole or evenly thinned. Nothing of them is dropped or cut out, as nobody
        could say whether that was the bleed.
      lesions: whether the example has ``Batch.lesions``.
    """

    store: Store = field(repr=False)
    num_slices: int
    augmentation: Augmentation
    change: Change | None = field(default=None, repr=False)
    whole: frozenset[int] = field(default=frozenset(), repr=False)
    lesions: bool = field(default=False, repr=False)

    def random_map(self, element: int, rng: np.random.Generator) -> Batch:
        """Returns one scan of a batch, without the batch axis; ``element`` is its row in the store's index."""
        plan = self.plan(element, rng)
        return self.build(element, self.store.read(element, slices=plan.taken), plan, rng)

    def plan(self, row: int, rng: np.random.Generator) -> SlicePlan:
        """Chooses which slices are read, and what becomes of them."""
        changes = self.augmentation
        n_slices, is_whole = self.store.n_slices[row], row in self.whole
        options: dict[str, Any] = {
            "num_slices": self.num_slices,
            "spacing_z_mm": self.store.header(row).spacing_mm[0] if is_whole or changes.thicken_mm else math.inf,
            "thicken_mm": changes.thicken_mm,
            "reverse": changes.reverse_slices,
        }
        if is_whole:
            return plan_whole(n_slices, rng, **options)
        return plan_slices(n_slices, rng, drop=changes.drop_slices, **options)

    def build(self, row: int, scan: PreparedScan, plan: SlicePlan, rng: np.random.Generator) -> Batch:
        """Makes the example of the slices that were chosen and read."""
        changes = replace(self.augmentation, cutout=0.0) if plan.is_whole else self.augmentation
        # A mask is moved along only where it travels to the device, or where a hole may hide what it shows.
        hides = changes.cutout > 0 and scan.mask is not None
        mask = known_lesions(scan, self.store.cohorts[row]) if self.lesions or hides else None
        run = arrange(_as_sample(scan, mask), plan)
        changed = augment(_pad(run, self.num_slices), changes, rng)
        if self.change is not None:
            changed = apply_change(self.change, changed, rng)
        slice_labels = changed.slice_labels[: len(run.hu)]
        is_whole = plan.is_whole or len(plan.taken) == self.store.n_slices[row]
        if not is_whole or not np.array_equal(slice_labels, run.slice_labels, equal_nan=True):
            scan_labels = _labels_of_run(scan.scan_labels, slice_labels, num_targets=run.num_targets)
        else:
            scan_labels = scan.scan_labels
        lesions = lesions_after(run, changed) if self.lesions else None
        return _example(row, changed, scan_labels, lesions, n_slices=len(run.hu))


@dataclass(frozen=True, kw_only=True)
class _Mixup(grain.transforms.RandomMap):
    """Mixes a batch with itself, all its scans in one proportion; every host draws the same."""

    concentration: float

    def random_map(self, element: Batch, rng: np.random.Generator) -> Batch:
        return mix_batch(element, float(rng.beta(self.concentration, self.concentration)))


def _as_sample(scan: PreparedScan, mask: UInt8[np.ndarray, "s h w"] | None) -> Sample:
    return Sample(
        hu=scan.volume.hu,
        spacing_mm=scan.volume.spacing_mm,
        slice_labels=scan.slice_labels,
        mask=mask,
        num_targets=len(scan.label_set.targets),
    )


def _pad(sample: Sample, num_slices: int) -> Sample:
    """Adds slices of air with unknown labels, up to ``num_slices``."""
    rest = (0, num_slices - len(sample.hu))
    return replace(
        sample,
        hu=np.pad(sample.hu, (rest, (0, 0), (0, 0)), constant_values=AIR_HU),
        slice_labels=np.pad(sample.slice_labels, (rest, (0, 0)), constant_values=np.nan),
        mask=None if sample.mask is None else np.pad(sample.mask, (rest, (0, 0), (0, 0))),
    )


def _example(
    row: int, sample: Sample, scan_labels: np.ndarray, lesions: UInt8[np.ndarray, "s h w"] | None, *, n_slices: int
) -> Batch:
    """One scan without a batch axis, of which the first ``n_slices`` are no padding."""
    return Batch(
        hu=sample.hu,
        slice_mask=np.arange(len(sample.hu)) < n_slices,
        spacing_mm=np.asarray(sample.spacing_mm, np.float32),
        slice_labels=sample.slice_labels.astype(np.float32),
        scan_labels=scan_labels.astype(np.float32),
        weight=np.float32(1),
        row=np.int32(row),
        lesions=lesions,
    )


def _labels_of_run(scan_labels: np.ndarray, slice_labels: np.ndarray, *, num_targets: int) -> np.ndarray:
    """Returns the scan labels of a run of slices: a scan that bleeds elsewhere is not positive for this run.

    Unknown where a slice is unknown and none positive in a positive scan. Targets of the scan are unknown of a run.
    """
    known = ~np.isnan(slice_labels)
    positive = (slice_labels == 1).any(0)
    labels: Any = np.where(positive, 1.0, np.where(known.all(0), 0.0, np.nan))
    labels = np.where(scan_labels == 0, 0.0, labels)
    labels[len(labels) - num_targets :] = np.nan
    return labels
