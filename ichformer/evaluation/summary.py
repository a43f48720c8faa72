"""One call from a table of predictions to every headline figure, each with its interval and its number of positives."""

import os
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64

from ichformer import LABELS
from ichformer.errors import one_line
from ichformer.evaluation.bootstrap import (
    Resampled,
    Statistic,
    auroc_statistic,
    average_precision_statistic,
    bootstrap,
    mean_statistic,
)
from ichformer.evaluation.delong import auroc_interval
from ichformer.evaluation.figures import Estimate, LabelSummary, LevelSummary, OperatingPoint, Summary
from ichformer.evaluation.intervals import bca, jackknife_log, rate_interval
from ichformer.evaluation.metrics import auroc, brier, confusion, cross_entropy, label_weights
from ichformer.evaluation.table import Level, check_predictions, levels
from ichformer.evaluation.thresholds import Threshold, Thresholds, only_split, write_json

__all__ = ["Summary", "format_summary", "summarise", "write_summary"]

FEW_POSITIVES = 10
"""Figures that rest on fewer patients with a positive row are marked as unreliable."""

NOT_ESTIMABLE = "not estimable"
"""What is printed for a figure that cannot be computed."""


def summarise(
    table: pd.DataFrame,
    *,
    thresholds: Thresholds | None = None,
    replicates: int = 2000,
    seed: int = 0,
    labels: tuple[str, ...] = LABELS,
) -> Summary:
    """Judge the predictions of one split.

    Every interval is made for patients, not rows: the AUROC's is DeLong's on the logit scale with rows clustered by
    patient (with one row a patient this is DeLong's own); sensitivity's and specificity's are Wilson's with the design
    effect of the clusters; those of average precision and macro means are from a BCa bootstrap over patients; those of
    losses are Student's on the log scale, with the jackknife over patients.

    Args:
      table: predictions as ``read_predictions`` gives them; the scan level is the maximum over slices where there are
        no scan rows.
      thresholds: frozen before, from other patients. Without them no sensitivity is reported: a threshold chosen on
        the data that it judges flatters.
      replicates: resamples of the bootstrap.
      seed: of the resamples.
      labels: the labels to judge.

    Raises:
      InputError: the table is faulty or holds several splits.
    """
    check_predictions(table, labels=labels)
    split = only_split(table)
    found = tuple(
        _summarise_level(level, labels, thresholds, replicates=replicates, seed=seed)
        for level in levels(table, labels=labels)
    )
    return Summary(
        split=split,
        thresholds_from=None if thresholds is None else thresholds.split,
        replicates=replicates,
        seed=seed,
        levels=found,
        warnings=tuple(_warnings(found, split, thresholds)),
    )


def write_summary(summary: Summary, path: str | os.PathLike[str]) -> pathlib.Path:
    """Write the summary as JSON, whole or not at all."""
    return write_json(summary.to_json(), path)


def _summarise_level(
    level: Level, labels: tuple[str, ...], thresholds: Thresholds | None, *, replicates: int, seed: int
) -> LevelSummary:
    n_patients = int(level.patients.max()) + 1
    k = len(labels)
    resampled = bootstrap(
        _statistics(level, n_patients), n_patients=n_patients, replicates=replicates, seed=seed, jackknife=True
    )
    each, weights = np.eye(k), label_weights(labels)
    area, precision, loss = (_part(resampled, slice(i * k, (i + 1) * k)) for i in range(3))
    return LevelSummary(
        level=level.name,
        n=level.patients.size,
        n_patients=n_patients,
        derived=level.derived,
        labels=tuple(
            _summarise_label(
                level,
                i,
                label,
                () if thresholds is None else thresholds.of(level.name, label),
                average_precision=_estimate(precision, each[i], n_patients),
                log_loss=_loss(loss, each[i]),
            )
            for i, label in enumerate(labels)
        ),
        weighted_log_loss=_loss(loss, weights),
        macro_auroc=_estimate(area, np.full(k, 1 / k), n_patients),
        macro_average_precision=_estimate(precision, np.full(k, 1 / k), n_patients),
    )


def _statistics(level: Level, n_patients: int) -> list[Statistic]:
    columns = list(zip(level.labels.T, level.scores.T, strict=True))
    return [
        *(auroc_statistic(truth, scores, level.patients) for truth, scores in columns),
        *(average_precision_statistic(truth, scores, level.patients) for truth, scores in columns),
        *(mean_statistic(cross_entropy(*c), level.patients, n_patients=n_patients) for c in columns),
    ]


def _part(resampled: Resampled, chosen: slice) -> Resampled:
    return Resampled(
        values=resampled.values[chosen],
        replicates=resampled.replicates[:, chosen],
        jackknife=resampled.jackknife[:, chosen],
    )


def _estimate(resampled: Resampled, weights: Float64[np.ndarray, " statistics"], n_patients: int) -> Estimate:
    """The weighted sum of statistics with its interval; only those with a weight have to be estimable."""
    used = weights > 0
    value = float(resampled.values[used] @ weights[used])
    if np.isnan(value):
        return Estimate(value=None, interval=None)
    replicates, jackknife = (drawn[:, used] @ weights[used] for drawn in (resampled.replicates, resampled.jackknife))
    return Estimate(value=value, interval=bca(value, replicates, jackknife, n_patients=n_patients))


def _loss(resampled: Resampled, weights: Float64[np.ndarray, " statistics"]) -> Estimate:
    """The weighted sum of losses with its interval; only those with a weight have to be estimable."""
    used = weights > 0
    value = float(resampled.values[used] @ weights[used])
    if np.isnan(value):
        return Estimate(value=None, interval=None)
    return Estimate(value=value, interval=jackknife_log(value, resampled.jackknife[:, used] @ weights[used]))


def _summarise_label(
    level: Level,
    column: int,
    label: str,
    thresholds: tuple[Threshold, ...],
    *,
    average_precision: Estimate,
    log_loss: Estimate,
) -> LabelSummary:
    truth, scores, patients = level.labels[:, column], level.scores[:, column], level.patients
    return LabelSummary(
        label=label,
        n=int(np.sum(~np.isnan(truth))),
        n_positive=int(np.sum(truth == 1)),
        n_positive_patients=np.unique(patients[truth == 1]).size,
        auroc=Estimate(value=auroc(truth, scores), interval=auroc_interval(truth, scores, patients)),
        average_precision=average_precision,
        log_loss=log_loss,
        brier=brier(truth, scores),
        operating_points=tuple(_operating_point(truth, scores, patients, threshold) for threshold in thresholds),
    )


def _operating_point(
    truth: Float64[np.ndarray, " n"],
    scores: Float64[np.ndarray, " n"],
    patients: Int64[np.ndarray, " n"],
    threshold: Threshold,
) -> OperatingPoint:
    if threshold.value is None:
        nothing = Estimate(value=None, interval=None)
        return OperatingPoint(
            rule=threshold.rule, threshold=None, sensitivity=nothing, specificity=nothing, ppv=None, npv=None
        )
    called, positive, negative = scores >= threshold.value, truth == 1, truth == 0
    found = confusion(truth, scores, threshold=threshold.value)
    return OperatingPoint(
        rule=threshold.rule,
        threshold=threshold.value,
        sensitivity=Estimate(value=found.sensitivity, interval=rate_interval(called[positive], patients[positive])),
        specificity=Estimate(value=found.specificity, interval=rate_interval(~called[negative], patients[negative])),
        ppv=found.ppv,
        npv=found.npv,
    )


def _warnings(found: tuple[LevelSummary, ...], split: str, thresholds: Thresholds | None) -> Iterator[str]:
    if thresholds is not None and split == thresholds.split:
        yield f"thresholds were fixed on the split that is judged ({split or 'unnamed'}): their figures flatter"
    for level in found:
        if level.derived:
            yield "no scan rows: a scan's label and score are the maximum over its slices"
        for label in level.labels:
            if label.n == 0:
                yield f"{level.level} {label.label}: no row has a known label"
            elif label.n_positive in (0, label.n):
                yield f"{level.level} {label.label}: one class only, so no AUROC"
            elif label.n_positive_patients < FEW_POSITIVES:
                yield (
                    f"{level.level} {label.label}: positives in {label.n_positive_patients} patients, "
                    f"fewer than {FEW_POSITIVES}: unreliable"
                )


def format_summary(summary: Summary) -> str:
    """An aligned table a level, with the number of positives beside every figure; intervals are 95 %, for patients.

    Of several frozen thresholds the table shows the first rule's; the others are in the JSON file.
    """
    split = f" on split {one_line(summary.split)}" if summary.split else ""
    blocks = [_format_level(level, split) for level in summary.levels]
    notes = [f"95 % intervals for patients; bootstrap of {summary.replicates} replicates, seed {summary.seed}"]
    if summary.thresholds_from is not None:
        notes.append(f"thresholds frozen on split {one_line(summary.thresholds_from) or '(unnamed)'}")
    warnings = [f"  ! {one_line(warning)}" for warning in summary.warnings]
    return "\n\n".join([*blocks, "\n".join([f"  {note}" for note in notes] + warnings)])


def _format_level(level: LevelSummary, split: str) -> str:
    points = level.labels[0].operating_points
    rule = points[0].rule if points else None
    header = ["label", "positive", "AUROC", "average precision"]
    if rule is not None:
        header += ["sensitivity", "specificity"]
    rows = [_cells(label) for label in level.labels]
    macro = ["macro mean", "", _figure(level.macro_auroc), _figure(level.macro_average_precision)]
    macro += [""] * (len(header) - len(macro))
    title = f"{level.level} level{split}: {level.n} {level.level}s of {level.n_patients} patients"
    at = "" if rule is None else f", sensitivity and specificity at {one_line(rule)}"
    loss = f"weighted log loss {_figure(level.weighted_log_loss, digits=4)}"
    return "\n".join([title + at, *_aligned([header, *rows, macro]), f"  {loss}"])


def _cells(label: LabelSummary) -> list[str]:
    cells = [
        one_line(label.label),
        f"{label.n_positive}/{label.n}",
        _figure(label.auroc),
        _figure(label.average_precision),
    ]
    for point in label.operating_points[:1]:
        cells += [_figure(point.sensitivity), _figure(point.specificity)]
    return cells


def _figure(estimate: Estimate, *, digits: int = 3) -> str:
    if estimate.value is None:
        return NOT_ESTIMABLE
    value = f"{estimate.value:.{digits}f}"
    if estimate.interval is None:
        return f"{value} (no interval)"
    return f"{value} ({estimate.interval.low:.{digits}f}-{estimate.interval.high:.{digits}f})"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    ruler = ["-" * width for width in widths]
    lines = [rows[0], ruler, *rows[1:-1], ruler, rows[-1]]
    # Names to the left, "12/345" to the right so that the slashes meet, figures to the left.
    return [
        "  "
        + "  ".join(
            c.rjust(w) if i == 1 else c.ljust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
