"""The figures of a summary as frozen structures; None is "not estimable"."""

from dataclasses import asdict, dataclass
from typing import Any

from ichformer.errors import one_line
from ichformer.evaluation.lesions.results import LesionFigures
from ichformer.evaluation.recalibration import LabelCalibration
from ichformer.evaluation.tables.not_scored import NotScored
from ichformer.evaluation.tables.table import LevelName
from ichformer.statistics.intervals import Estimate, Interval


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """The figures at a threshold that was chosen before.

    Attributes:
      rule: by which it was chosen.
      threshold: None where there is none, and for all labels together, as each has its own.
      sensitivity, specificity, ppv, npv: shares of rows, with intervals for patients.
      f1, mcc: as in ``metrics.Confusion``, with bootstrap intervals.
      positive_likelihood_ratio, negative_likelihood_ratio: without an interval where one of its ends may be infinite.
      ppv_at_prevalence, npv_at_prevalence: at the summary's ``prevalence``, ``NOTHING`` where none was named.
    """

    rule: str
    threshold: float | None
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate
    f1: Estimate
    mcc: Estimate
    positive_likelihood_ratio: Estimate
    negative_likelihood_ratio: Estimate
    ppv_at_prevalence: Estimate
    npv_at_prevalence: Estimate


@dataclass(frozen=True, kw_only=True)
class MeanPoint:
    """Means over the labels of an ``OperatingPoint``'s figures; not estimable where one label's is not."""

    rule: str
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate
    f1: Estimate
    mcc: Estimate


@dataclass(frozen=True, kw_only=True)
class LabelSummary:
    """The figures of one label on ``n`` rows with a known label, ``n_positive`` of them positive.

    These are of ``n_positive_patients`` patients.

    ``partial_auroc`` is up to a false positive rate of ``level_summary.MAX_FALSE_POSITIVE_RATE``.
    """

    label: str
    n: int
    n_positive: int
    n_positive_patients: int
    auroc: Estimate
    partial_auroc: Estimate
    average_precision: Estimate
    log_loss: Estimate
    brier: Estimate
    operating_points: tuple[OperatingPoint, ...]


@dataclass(frozen=True, kw_only=True)
class StratumLabel:
    """The figures of one label at one site or in one subgroup; sensitivity and specificity at the first rule."""

    label: str
    n: int
    n_positive: int
    n_positive_patients: int
    auroc: Estimate
    sensitivity: Estimate
    specificity: Estimate


@dataclass(frozen=True, kw_only=True)
class Stratum:
    """One site or subgroup; the name is "" for rows that name none."""

    name: str
    n: int
    n_patients: int
    labels: tuple[StratumLabel, ...]


@dataclass(frozen=True, kw_only=True)
class PooledAuroc:
    """The AUROC of one label pooled over the sites with random effects; see ``pooling.Pooled``.

    Attributes:
      label: which label.
      sites: how many sites were pooled.
      left_out: sites whose AUROC or its variance is not estimable.
      value: mean over sites; None with fewer than two.
      interval: of the mean.
      prediction: of the AUROC at a new site.
      i2: share of the variation that lies between sites.
      tau2: variance between sites, of log odds.
      q_p_value: of Cochran's Q.
      weights: of the sites that were pooled, by name.
    """

    label: str
    sites: int
    left_out: tuple[str, ...]
    value: float | None
    interval: Interval | None
    prediction: Interval | None
    i2: float | None
    tau2: float | None
    q_p_value: float | None
    weights: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class LevelSummary:
    """The figures of one level. Macro figures are not estimable where one label's is not.

    ``micro`` takes every pair of a row and a label as a row. ``sites`` and ``subgroups`` (by the name of their column)
    are empty where the table names none. A subgroup that holds every row is left out. Counts are of rows, whatever
    their weights; ``n_effective`` is the number of rows of equal weight that would say as much.
    """

    level: LevelName
    n: int
    n_effective: float
    n_patients: int
    derived: bool
    labels: tuple[LabelSummary, ...]
    micro: LabelSummary
    weighted_log_loss: Estimate
    macro_auroc: Estimate
    macro_average_precision: Estimate
    macro_partial_auroc: Estimate
    macro_log_loss: Estimate
    macro_brier: Estimate
    macro_points: tuple[MeanPoint, ...]
    sites: tuple[Stratum, ...]
    pooled_sites: tuple[PooledAuroc, ...]
    subgroups: dict[str, tuple[Stratum, ...]]


@dataclass(frozen=True, kw_only=True)
class TargetSummary:
    """The figures of one regression target at one level; see ``statistics.regression.agreement_statistic``.

    Attributes:
      level: slice or scan.
      target: its name, with its unit.
      n: rows with a true and a predicted value.
      n_patients: of these rows.
      mean_absolute_error, median_absolute_error: in the target's unit.
      bias: mean of predicted less true values.
      lower_limit, upper_limit: Bland and Altman's limits of agreement.
      pearson: correlation.
      concordance: Lin's concordance correlation.
    """

    level: LevelName
    target: str
    n: int
    n_patients: int
    mean_absolute_error: Estimate
    median_absolute_error: Estimate
    bias: Estimate
    lower_limit: Estimate
    upper_limit: Estimate
    pearson: Estimate
    concordance: Estimate


def rounded(value: float | None, form: str = ".3f") -> str:
    """A figure for a line of text, without its interval."""
    return "not estimable" if value is None else format(value, form)


@dataclass(frozen=True, kw_only=True, repr=False)
class Summary:
    """Every figure of an evaluation, and the warnings that go with them.

    Attributes:
      split: the split that was evaluated, "" where the table names none.
      thresholds_from: the split on which the thresholds were chosen; None where none were given.
      prevalence: at which PPV and NPV are restated; None where none was named.
      replicates: resamples of patients behind each bootstrap interval.
      seed: of the resamples.
      levels: slices, where there are any with scores, and scans.
      not_scored: rows that have no score and are in no figure, with the reasons.
      calibration: of each level and label, before and after recalibration on validation.
      warnings: what a reader of the figures has to know, in sentences.
      targets: of each level and regression target; empty where the table has none.
      lesions: of each label of a lesion map; empty where there is no lesion map, or no mask to compare it with.
    """

    split: str
    thresholds_from: str | None
    prevalence: float | None
    replicates: int
    seed: int
    levels: tuple[LevelSummary, ...]
    not_scored: tuple[NotScored, ...]
    calibration: tuple[LabelCalibration, ...]
    warnings: tuple[str, ...]
    targets: tuple[TargetSummary, ...] = ()
    lesions: tuple[LesionFigures, ...] = ()

    def __repr__(self) -> str:
        """Two lines: what was evaluated, and the AUROCs of the last level, which is that of scans."""
        rows = " and ".join(f"{level.n} {level.level}s" for level in self.levels)
        patients = f" of {self.levels[-1].n_patients} patients" * bool(self.levels)
        split = f" of the split {one_line(self.split)}" * bool(self.split)
        labels = self.levels[-1].labels if self.levels else ()
        aurocs = [f"{one_line(each.label)} {rounded(each.auroc.value)}" for each in labels]
        figures = f"{self.levels[-1].level} AUROC {', '.join(aurocs)}" if aurocs else f"{len(self.targets)} targets"
        return f"Summary: {rows or 'no scores'}{patients}{split}\n         {figures}; {len(self.warnings)} warnings"

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; None is "not estimable"."""
        return asdict(self)
