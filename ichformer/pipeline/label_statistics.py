"""Statistics of the labels of a split that losses need: log odds of labels, mean and spread of targets."""

import math
from dataclasses import dataclass

from ichformer.pipeline.known_labels import KnownLabels


@dataclass(frozen=True, kw_only=True)
class LabelStatistics:
    """Of the scans of a split, or of their slices.

    Attributes:
      log_odds: of each label of the set: log(positives / negatives); 0 where either is missing.
      means: of each target, in its own unit; 0 where nothing is known.
      spreads: standard deviation of each target; 1 where there are no two different values.
    """

    log_odds: tuple[float, ...] = ()
    means: tuple[float, ...] = ()
    spreads: tuple[float, ...] = ()


def slice_statistics(known: KnownLabels) -> LabelStatistics:
    """Of the slices of a split."""
    return LabelStatistics(
        log_odds=tuple(_log_odds(count.positive_slices, count.negative_slices) for count in known.counts.values()),
        means=tuple(count.slice_mean for count in known.targets.values()),
        spreads=tuple(count.slice_spread or 1.0 for count in known.targets.values()),
    )


def scan_statistics(known: KnownLabels) -> LabelStatistics:
    """Of the scans of a split."""
    return LabelStatistics(
        log_odds=tuple(_log_odds(count.positive_scans, count.negative_scans) for count in known.counts.values()),
        means=tuple(count.scan_mean for count in known.targets.values()),
        spreads=tuple(count.scan_spread or 1.0 for count in known.targets.values()),
    )


def _log_odds(positive: int, negative: int) -> float:
    return math.log(positive / negative) if positive and negative else 0.0
