"""The tables and forest plots of the page, as plain text in cells."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ichformer.errors import one_line
from ichformer.evaluation.lesions.results import LesionFigures
from ichformer.evaluation.lesions.text import (
    DETECTION_HEADER,
    FROC_HEADER,
    OVERLAP_HEADER,
    VOLUME_HEADER,
    detection_rows,
    froc_rows,
    overlap_rows,
    volume_rows,
)
from ichformer.evaluation.recalibration import AS_GIVEN, LabelCalibration
from ichformer.evaluation.results import (
    LabelSummary,
    LevelSummary,
    MeanPoint,
    OperatingPoint,
    PooledAuroc,
    Stratum,
    StratumLabel,
    TargetSummary,
)
from ichformer.evaluation.summary import FEW, NOT_ESTIMABLE, UNKNOWN, figure
from ichformer.evaluation.summary_warnings import FEW_POSITIVES
from ichformer.evaluation.targets import HEADER as TARGET_HEADER
from ichformer.evaluation.targets import target_rows
from ichformer.statistics.calibration import Calibration
from ichformer.statistics.intervals import Estimate, Interval


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table: its caption, the names of its columns, and rows of cells, of which the first names the row."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    opened: bool = True


@dataclass(frozen=True, kw_only=True)
class ForestRow:
    """One row of a forest plot: a site, the pooled mean or the prediction for a new site.

    Places run from 0 to 100 along the axis; None where they are unknown.
    """

    kind: str
    name: str
    positives: str
    figure: str
    weight: str
    low: float | None
    value: float | None
    high: float | None
    size: float


@dataclass(frozen=True, kw_only=True)
class Forest:
    """The forest plot of one label: the AUROC of each site and the pooled AUROC."""

    label: str
    axis_low: str
    rows: Sequence[ForestRow]
    note: str


def headline(level: LevelSummary) -> Table:
    """The table of the figures that need no threshold."""
    rows = [_headline_cells(label) for label in (*level.labels, level.micro)]
    macro = [
        *("macro mean", "", figure(level.macro_auroc), figure(level.macro_partial_auroc)),
        *(figure(level.macro_average_precision), figure(level.macro_log_loss, digits=4)),
        figure(level.macro_brier, digits=4),
    ]
    return Table(
        caption=f"Figures, {level.level} level",
        header=("label", "positive", "AUROC", "partial AUROC", "average precision", "log loss", "Brier"),
        rows=[*rows[:-1], macro, rows[-1]],
    )


def _headline_cells(label: LabelSummary) -> list[str]:
    few = FEW if label.n_positive_patients < FEW_POSITIVES and label.auroc.value is not None else ""
    return [
        one_line(label.label),
        f"{label.n_positive}/{label.n}",
        figure(label.auroc) + few,
        figure(label.partial_auroc) + few,
        figure(label.average_precision) + few,
        figure(label.log_loss, digits=4),
        figure(label.brier, digits=4),
    ]


def point_tables(level: LevelSummary, prevalence: float | None) -> list[Table]:
    """One table for each rule of thresholds, of which the first is open."""
    header = ["label", "threshold", "sensitivity", "specificity", "PPV", "NPV", "F1", "MCC", "LR+", "LR-"]
    if prevalence is not None:
        header += [f"PPV at {prevalence:g}", f"NPV at {prevalence:g}"]
    tables = []
    for i, mean in enumerate(level.macro_points):
        points = [(one_line(label.label), label.operating_points[i]) for label in level.labels]
        rows = [_point_cells(name, point, prevalence) for name, point in points]
        rows.append([*_mean_cells(mean), *[""] * (len(header) - 8)])
        rows.append(_point_cells("micro", level.micro.operating_points[i], prevalence))
        tables.append(
            Table(caption=f"At thresholds by the rule {one_line(mean.rule)}", header=header, rows=rows, opened=i == 0)
        )
    return tables


def _point_cells(name: str, point: OperatingPoint, prevalence: float | None) -> list[str]:
    cells = [name, "" if point.threshold is None else f"{point.threshold:.4g}"]
    cells += [figure(e) for e in (point.sensitivity, point.specificity, point.ppv, point.npv, point.f1, point.mcc)]
    cells += [figure(e, digits=2) for e in (point.positive_likelihood_ratio, point.negative_likelihood_ratio)]
    if prevalence is not None:
        cells += [figure(e) for e in (point.ppv_at_prevalence, point.npv_at_prevalence)]
    return cells


def _mean_cells(mean: MeanPoint) -> list[str]:
    figures = (mean.sensitivity, mean.specificity, mean.ppv, mean.npv, mean.f1, mean.mcc)
    return ["macro mean", "", *map(figure, figures)]


def calibration_table(found: Sequence[LabelCalibration]) -> Table:
    """The table of the calibration of each label, before and after each recalibration."""
    rows = []
    for label in found:
        for scores, calibration in {AS_GIVEN: label.before, **label.after}.items():
            name = one_line(label.label) if scores == AS_GIVEN else ""
            rows.append([name, scores, *_calibration_cells(calibration)])
    header = ("label", "scores", "slope", "intercept", "ECE, equal mass", "ECE, equal width", "Brier", "log loss")
    return Table(caption="Calibration", header=header, rows=rows)


def _calibration_cells(found: Calibration | None) -> list[str]:
    if found is None:
        return [NOT_ESTIMABLE] * 6
    small = (found.ece_mass, found.ece_width, found.brier, found.log_loss)
    lines = (
        Estimate(value=found.slope, interval=found.slope_interval),
        Estimate(value=found.intercept, interval=found.intercept_interval),
    )
    return [*(figure(line, digits=2) for line in lines), *(_number(value, 4) for value in small)]


def target_tables(found: Sequence[TargetSummary]) -> list[Table]:
    """One table a level with the figures of regression targets."""
    return [
        Table(
            caption=f"Targets, {level} level",
            header=TARGET_HEADER,
            rows=target_rows([one for one in found if one.level == level]),
        )
        for level in dict.fromkeys(one.level for one in found)
    ]


def lesion_tables(found: Sequence[LesionFigures]) -> list[Table]:
    """The tables of lesion maps; none where there are no figures of them."""
    tables = (
        ("Agreement of masks by scan", OVERLAP_HEADER, overlap_rows(found)),
        ("Volumes by scan", VOLUME_HEADER, volume_rows(found)),
        ("Lesions found at the frozen threshold", DETECTION_HEADER, detection_rows(found)),
        ("Sensitivity by false positives", FROC_HEADER, froc_rows(found)),
    )
    return [Table(caption=caption, header=header, rows=rows) for caption, header, rows in tables if found]


def strata_table(caption: str, parts: Sequence[Stratum], *, opened: bool = False) -> Table:
    """The table of sites or subgroups, label by label."""
    has_rates = any(label.sensitivity.value is not None for part in parts for label in part.labels)
    header = ["label", "", "positive", "patients", "AUROC", *["sensitivity", "specificity"] * has_rates]
    rows = []
    for i in range(len(parts[0].labels)):
        for j, part in enumerate(parts):
            label = part.labels[i]
            cells = [one_line(label.label) if j == 0 else "", one_line(part.name) or UNKNOWN]
            cells += [f"{label.n_positive}/{label.n}", str(part.n_patients), _of_stratum(label, label.auroc)]
            if has_rates:
                cells += [_of_stratum(label, label.sensitivity), figure(label.specificity)]
            rows.append(cells)
    return Table(caption=caption, header=header, rows=rows, opened=opened)


def _of_stratum(label: StratumLabel, estimate: Estimate) -> str:
    few = label.n_positive_patients < FEW_POSITIVES and estimate.value is not None
    return figure(estimate) + FEW * few


def forests(sites: Sequence[Stratum], pooled: Sequence[PooledAuroc]) -> list[Forest]:
    """One forest plot for each label, where sites were pooled."""
    return [_forest(of_label, sites, i) for i, of_label in enumerate(pooled)]


def _forest(pooled: PooledAuroc, sites: Sequence[Stratum], column: int) -> Forest:
    labels = {site.name: site.labels[column] for site in sites if site.name}
    ends = [e.interval.low for e in (label.auroc for label in labels.values()) if e.interval is not None]
    if pooled.prediction is not None:
        ends.append(pooled.prediction.low)
    axis_low = min(0.9, int(10 * min(ends, default=0.5)) / 10)

    def place(value: float) -> float:
        return round(100 * (value - axis_low) / (1 - axis_low), 2)

    rows = [
        _forest_row("site", name, _of_stratum(label, label.auroc), label.auroc, place, pooled.weights.get(name), label)
        for name, label in labels.items()
    ]
    note = f"{pooled.sites} sites pooled" if pooled.value is not None else "Fewer than two sites can be pooled"
    if pooled.value is not None and pooled.i2 is not None and pooled.q_p_value is not None:
        mean = Estimate(value=pooled.value, interval=pooled.interval)
        rows.append(_forest_row("pooled", "pooled", figure(mean), mean, place))
        note += f"; I² {100 * pooled.i2:.0f} %, tau² {pooled.tau2:.3f}, Q p = {pooled.q_p_value:.3f}"
    if pooled.prediction is not None:
        new = Estimate(value=pooled.value, interval=pooled.prediction)
        low, high = pooled.prediction.low, pooled.prediction.high
        rows.append(_forest_row("prediction", "a new site", f"{low:.3f}-{high:.3f}", new, place))
    if pooled.left_out:
        note += f"; left out: {', '.join(map(one_line, pooled.left_out))}"
    return Forest(label=one_line(pooled.label), axis_low=f"{axis_low:.1f}", rows=rows, note=f"{note}.")


def _forest_row(
    kind: str,
    name: str,
    figures: str,
    estimate: Estimate,
    place: Callable[[float], float],
    weight: float | None = None,
    label: StratumLabel | None = None,
) -> ForestRow:
    interval: Interval | None = estimate.interval
    return ForestRow(
        kind=kind,
        name=one_line(name),
        positives="" if label is None else f"{label.n_positive}/{label.n}",
        figure=figures,
        weight="" if weight is None else f"{100 * weight:.0f} %",
        low=None if interval is None else max(0.0, place(interval.low)),
        value=None if estimate.value is None else max(0.0, place(estimate.value)),
        high=None if interval is None else max(0.0, place(interval.high)),
        size=1.5 if weight is None else round(1.5 + 3 * weight**0.5, 2),
    )


def _number(value: float | None, digits: int = 3) -> str:
    return NOT_ESTIMABLE if value is None else f"{value:.{digits}f}"
