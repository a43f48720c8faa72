"""One scan as an example: a random run of its slices for training, or the whole scan as it is for evaluation."""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import grain
import numpy as np
from jaxtyping import UInt8

from ichformer.ct.volume import AIR_HU
from ichformer.pipeline.augmentation.augment import Augmentation, augment
from ichformer.pipeline.augmentation.sample import Change, Sample, apply_change
from ichformer.pipeline.augmentation.slabs import SlicePlan, arrange, evenly_thinned, plan_slices, plan_whole
from ichformer.pipeline.batch import Batch
from ichformer.pipeline.lesions import known_lesions, lesions_after
from ichformer.pipeline.store.records import PreparedScan, Store


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


def whole_example(store: Store, row: int, *, num_slices: int, lesions: bool) -> Batch:
    """Returns one scan without a batch axis, unchanged, and padded or evenly thinned to ``num_slices``.

    Args:
      store: prepared scans.
      row: the scan's row in the store's index.
      num_slices: slices of the example.
      lesions: whether it has ``Batch.lesions``.
    """
    scan = store.read(row, slices=evenly_thinned(store.n_slices[row], num_slices))
    mask = known_lesions(scan, store.cohorts[row]) if lesions else None
    sample = _pad(_as_sample(scan, mask), num_slices)
    return _example(row, sample, scan.scan_labels, sample.mask, n_slices=len(scan.volume.hu))


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
