"""The figures of a summary as frozen structures; None is "not estimable"."""

from dataclasses import asdict, dataclass
from typing import Any

from ichformer.evaluation.intervals import Interval
from ichformer.evaluation.table import LevelName


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure and its 95 % interval; None is "not estimable"."""

    value: float | None
    interval: Interval | None


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """Sensitivity and specificity at a threshold that was frozen before."""

    rule: str
    threshold: float | None
    sensitivity: Estimate
    specificity: Estimate
    ppv: float | None
    npv: float | None


@dataclass(frozen=True, kw_only=True)
class LabelSummary:
    """The figures of one label: ``n`` known rows, of which ``n_positive`` of ``n_positive_patients`` are positive."""

    label: str
    n: int
    n_positive: int
    n_positive_patients: int
    auroc: Estimate
    average_precision: Estimate
    log_loss: Estimate
    brier: float | None
    operating_points: tuple[OperatingPoint, ...]


@dataclass(frozen=True, kw_only=True)
class LevelSummary:
    """The figures of one level. Macro figures are not estimable where one label's is not."""

    level: LevelName
    n: int
    n_patients: int
    derived: bool
    labels: tuple[LabelSummary, ...]
    weighted_log_loss: Estimate
    macro_auroc: Estimate
    macro_average_precision: Estimate


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What ``summarise`` found.

    Attributes:
      split: the split that was judged, "" where the table names none.
      thresholds_from: the split that fixed the thresholds; None where none were given.
      replicates: resamples of patients behind each bootstrap interval.
      seed: of the resamples.
      levels: slices, where there are any, and scans.
      warnings: what a reader of the figures has to know.
    """

    split: str
    thresholds_from: str | None
    replicates: int
    seed: int
    levels: tuple[LevelSummary, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; None is "not estimable"."""
        return asdict(self)
