"""Statistics of the labels of a split: log odds of labels, mean and spread of targets."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from ichformer.pipeline.known_labels import KnownLabels
from ichformer.pipeline.store.records import Store


@dataclass(frozen=True, kw_only=True)
class LabelStatistics:
    """Of the scans of a split, or of their slices.

    Attributes:
      log_odds: of each label of the set: log(positives / negatives); 0 where either is missing.
      means: of each target, in its own unit; 0 where nothing is known.
      spreads: standard deviation of each target; 1 where its known values are all the same.
    """

    log_odds: tuple[float, ...] = ()
    means: tuple[float, ...] = ()
    spreads: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The statistics of slices and of scans, and the targets of which two different values are known there."""

    slice: LabelStatistics
    scan: LabelStatistics
    slice_targets: tuple[str, ...]
    scan_targets: tuple[str, ...]


def measure_labels(store: Store, split: str, known: KnownLabels) -> Measured:
    """Log odds of labels, mean and spread of targets, over the slices and the scans of a split.

    Args:
      store: prepared scans.
      split: the split to train on.
      known: the counts of its labels.
    """
    names, targets = store.label_set.names, store.label_set.targets
    of_scans, of_slices = _target_values(store, split)
    counts = [known.counts[name] for name in names]
    return Measured(
        slice=_statistics([_log_odds(c.positive_slices, c.negative_slices) for c in counts], of_slices),
        scan=_statistics([_log_odds(c.positive_scans, c.negative_scans) for c in counts], of_scans),
        slice_targets=_varied(targets, of_slices),
        scan_targets=_varied(targets, of_scans),
    )


def _target_values(
    store: Store, split: str
) -> tuple[Float64[np.ndarray, "scans targets"], Float64[np.ndarray, "slices targets"]]:
    """The values of the targets in every scan and in every slice of a split, NaN where unknown."""
    rows, label_set = store.rows(split), store.label_set
    of_scans = store.index[list(label_set.targets)].to_numpy(np.float64)[rows]
    if not label_set.targets:
        return of_scans, of_scans[:0]
    of_slices = [store.header(row).slice_labels[:, len(label_set.names) :] for row in rows.tolist()]
    return of_scans, np.concatenate(of_slices).astype(np.float64)


def _statistics(log_odds: list[float], values: Float64[np.ndarray, "n targets"]) -> LabelStatistics:
    known = [column[~np.isnan(column)] for column in values.T]
    return LabelStatistics(
        log_odds=tuple(log_odds),
        means=tuple(float(column.mean()) if column.size else 0.0 for column in known),
        spreads=tuple(float(column.std()) if np.unique(column).size > 1 else 1.0 for column in known),
    )


def _varied(targets: tuple[str, ...], values: Float64[np.ndarray, "n targets"]) -> tuple[str, ...]:
    known = (np.unique(column[~np.isnan(column)]) for column in values.T)
    return tuple(name for name, found in zip(targets, known, strict=True) if found.size > 1)


def _log_odds(positive: int, negative: int) -> float:
    return math.log(positive / negative) if positive and negative else 0.0
