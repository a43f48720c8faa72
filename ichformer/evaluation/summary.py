"""One call from a table of predictions to every headline figure, each with its interval and its number of positives."""

import os
import pathlib
from collections.abc import Collection, Iterator, Sequence

import numpy as np
import pandas as pd

from ichformer import LABELS
from ichformer.cohorts.index import MAX_SITES, group_columns
from ichformer.errors import InputError, one_line
from ichformer.evaluation.level_summary import MAX_GROUP_COLUMNS, summarise_level
from ichformer.evaluation.recalibration import recalibrate
from ichformer.evaluation.results import Estimate, LabelSummary, LevelSummary, Stratum, Summary
from ichformer.evaluation.tables.checks import check_predictions
from ichformer.evaluation.tables.not_scored import NotScored, check_scored, not_scored
from ichformer.evaluation.tables.table import levels, score_columns
from ichformer.evaluation.targets import format_targets, summarise_targets
from ichformer.evaluation.thresholds import Thresholds, only_split, write_json
from ichformer.statistics.bootstrap import check_draws

__all__ = ["Summary", "format_summary", "summarise", "write_summary"]

FEW_POSITIVES = 10
"""Figures that rest on fewer patients with a positive row are marked as unreliable."""

FEW = " †"
"""Beside a figure that rests on positives in fewer than ``FEW_POSITIVES`` patients."""

NOT_ESTIMABLE = "not estimable"
"""What is printed for a figure that cannot be computed."""

UNKNOWN = "(unknown)"
"""What is printed for the site or the group of scans that name none."""


def summarise(
    table: pd.DataFrame,
    *,
    thresholds: Thresholds | None = None,
    validation: pd.DataFrame | None = None,
    fixed_on: Collection[str] | None = None,
    prevalence: float | None = None,
    replicates: int = 2000,
    seed: int = 0,
    labels: tuple[str, ...] = LABELS,
    remarks: Sequence[str] = (),
) -> Summary:
    """Judge the predictions of one split.

    Every interval is made for patients, not rows: the AUROC's is DeLong's on the logit scale with rows clustered by
    patient (with one row a patient this is DeLong's own); those of shares are Wilson's with the design effect of the
    clusters; those of likelihood ratios, and of PPV and NPV at a prevalence, follow from these by MOVER; those of
    losses are Student's on the log scale, with the jackknife over patients; those of slope and intercept of the
    calibration are from the sandwich estimator; all others (partial AUROC, average precision, F1, MCC, macro means) are
    from a BCa bootstrap over patients. Where the table has weights, every figure and every interval is weighted.

    A row without a score is left out of every figure of the labels that it has no score for; how many there are, how
    many of them are positive, and why, stands in the warnings and in ``not_scored``.

    Args:
      table: predictions as ``read_predictions`` gives them; the scan level is the maximum over slices where there are
        no scan rows.
      thresholds: frozen before, from other patients. Without them no sensitivity is reported: a threshold chosen on
        the data that it judges flatters.
      validation: predictions for other patients, on which the ways to mend the calibration are fitted.
      fixed_on: the patients on whom the thresholds were fixed, where that is known: figures of those patients flatter.
      prevalence: share of positives, above 0 and below 1, at which PPV and NPV are stated too.
      replicates: resamples of the bootstrap.
      seed: of the resamples.
      labels: the labels to judge.
      remarks: what else a reader of the figures has to know; they become warnings.

    Raises:
      InputError: a table is faulty, has no score at all or holds several splits, ``validation`` has a patient of
        ``table``, or the prevalence is none.
    """
    if prevalence is not None and not 0 < prevalence < 1:
        raise InputError(f"found {prevalence}", where="prevalence", mend="give a share above 0 and below 1")
    check_draws(replicates=replicates, seed=seed)
    check_predictions(table, labels=labels)
    split = only_split(table)
    check_scored(table, labels=labels)
    missing = not_scored(table, labels=labels)
    calibration = recalibrate(validation, table, labels=labels)
    found = tuple(
        summarise_level(level, labels, thresholds, prevalence=prevalence, replicates=replicates, seed=seed)
        for level in levels(table, labels=labels)
    )
    return Summary(
        split=split,
        thresholds_from=None if thresholds is None else thresholds.split,
        prevalence=prevalence,
        replicates=replicates,
        seed=seed,
        levels=found,
        not_scored=missing,
        calibration=calibration,
        warnings=(
            *map(str, missing),
            *remarks,
            *_without_figures(table),
            *_threshold_warnings(table, split, thresholds, fixed_on),
            *_weak_thresholds(found, thresholds),
            *_doubtful_scores(found, table),
            *_warnings(found, missing),
        ),
        targets=summarise_targets(table, labels=labels, replicates=replicates, seed=seed),
    )


def write_summary(summary: Summary, path: str | os.PathLike[str]) -> pathlib.Path:
    """Write the summary as JSON, whole or not at all."""
    return write_json(summary.to_json(), path)


def _without_figures(table: pd.DataFrame) -> Iterator[str]:
    """Of very many sites and columns of subgroups some have no figures of their own."""
    if (n_sites := table.loc[table["site"] != "", "site"].nunique()) > MAX_SITES:
        yield (
            f"{n_sites} sites: the {MAX_SITES} with the most rows have figures of their own and are pooled, the others "
            "are shown as one and are not pooled"
        )
    if (n_columns := len(group_columns(table))) > MAX_GROUP_COLUMNS:
        yield f"{n_columns} columns of subgroups: the first {MAX_GROUP_COLUMNS} have figures"


def _threshold_warnings(
    table: pd.DataFrame, split: str, thresholds: Thresholds | None, fixed_on: Collection[str] | None
) -> Iterator[str]:
    if thresholds is None:
        return
    if fixed_on is None and split == thresholds.split:
        yield (
            f"thresholds were fixed on a split of the same name ({split or 'unnamed'}): if on these patients, their "
            "figures flatter"
        )
    judged = set(table["patient"])
    if shared := judged & set(fixed_on or ()):
        yield f"thresholds were fixed on {len(shared)} of the {len(judged)} judged patients: their figures flatter"


def _weak_thresholds(found: tuple[LevelSummary, ...], thresholds: Thresholds | None) -> Iterator[str]:
    """What could not be fixed, and what was fixed on few positives."""
    if thresholds is None:
        return
    on = f"on split {thresholds.split or '(unnamed)'}"
    for level in found:
        if not level.labels[0].operating_points:
            yield f"{level.level} level: no threshold was fixed for it {on}, so no sensitivity"
        for label in level.labels:
            if rules := [point.rule for point in label.operating_points if point.threshold is None]:
                yield f"{level.level} {label.label}: no threshold {on} for {', '.join(rules)}, so not estimable there"
        fixed = [of_label[0] for label in level.labels if (of_label := thresholds.of(level.level, label.label))]
        if few := [one.label for one in fixed if 0 < one.n_positive < FEW_POSITIVES]:
            yield (
                f"{level.level} level: thresholds of {', '.join(few)} rest on fewer than {FEW_POSITIVES} positive "
                f"{level.level}s {on}: unreliable"
            )


def _doubtful_scores(found: tuple[LevelSummary, ...], table: pd.DataFrame) -> Iterator[str]:
    """Scores that are probabilities by their values and still cannot be what was meant."""
    for level in found:
        for label in level.labels:
            interval = label.auroc.interval
            if interval is not None and interval.high < 0.5:
                yield (
                    f"{level.level} {label.label}: the scores rank the wrong way (AUROC {interval.low:.3f} to "
                    f"{interval.high:.3f}): are they scores of the positive class, and of this label?"
                )
    for name in score_columns(tuple(label.label for label in found[0].labels) if found else ()):
        values = np.unique(table[name].dropna().to_numpy(np.float64))
        if len(table) > 1 and len(values) == 1:
            yield f"{name}: all scores are {values[0]:g}, so they tell nothing apart"
        elif len(values) == 2 and set(values) == {0.0, 1.0}:
            yield f"{name}: all scores are 0 or 1: they are decisions, so AUROC and calibration say little"


def _warnings(found: tuple[LevelSummary, ...], missing: Sequence[NotScored]) -> Iterator[str]:
    for level in found:
        unscored = {one.label for one in missing if one.level == level.level}
        if level.n_effective < 0.999 * level.n:
            yield (
                f"{level.level} level: rows have weights; the {level.n} rows tell as much as {level.n_effective:.0f} "
                "that count the same. Counts are of rows"
            )
        if level.derived:
            yield "no scan rows: a scan's label and score are the maximum over its slices"
        for label in level.labels:
            if label.n == 0 and label.label not in unscored:
                yield f"{level.level} {label.label}: no row has a known label"
            elif label.n and label.n_positive in (0, label.n):
                yield f"{level.level} {label.label}: one class only, so no AUROC"
        patients = {
            label.label: label.n_positive_patients
            for label in level.labels
            if 0 < label.n_positive < label.n and label.n_positive_patients < FEW_POSITIVES
        }
        if patients:
            yield (
                f"{level.level} level, unreliable, as fewer than {FEW_POSITIVES} patients are positive: "
                + ", ".join(f"{label} ({count})" for label, count in patients.items())
            )
        parts_by = {name: _few(parts) for name, parts in {"site": level.sites, **level.subgroups}.items()}
        if any(few for few, _ in parts_by.values()):
            yield (
                f"{level.level} level, unreliable, as fewer than {FEW_POSITIVES} patients are positive there: AUROCs "
                + ", ".join(f"by {name} ({few} of {n})" for name, (few, n) in parts_by.items() if few)
            )
        for pooled in level.pooled_sites:
            if pooled.left_out:
                yield (
                    f"{level.level} {pooled.label}: left out of the pooled AUROC, as it is not estimable there or "
                    f"without spread: {', '.join(pooled.left_out)}"
                )


def _few(parts: tuple[Stratum, ...]) -> tuple[int, int]:
    """How many AUROCs of sites or subgroups rest on few positives, and of how many."""
    found = [label for part in parts for label in part.labels if label.auroc.value is not None]
    return sum(label.n_positive_patients < FEW_POSITIVES for label in found), len(found)


def format_summary(summary: Summary) -> str:
    """An aligned table a level, with the number of positives beside every figure; intervals are 95 %, for patients.

    Of several frozen thresholds the table shows the first rule's; the others are in the JSON file.
    """
    split = f" on split {one_line(summary.split)}" if summary.split else ""
    blocks = [_format_level(level, split) for level in summary.levels]
    blocks += [format_targets(summary.targets)] * bool(summary.targets)
    notes = [f"95 % intervals for patients; bootstrap of {summary.replicates} replicates, seed {summary.seed}"]
    if summary.thresholds_from is not None:
        notes.append(f"thresholds frozen on split {one_line(summary.thresholds_from) or '(unnamed)'}")
    warnings = [f"  ! {one_line(warning, max_chars=600)}" for warning in summary.warnings]
    return "\n\n".join([*blocks, "\n".join([f"  {note}" for note in notes] + warnings)])


def _format_level(level: LevelSummary, split: str) -> str:
    points = level.labels[0].operating_points
    rule = points[0].rule if points else None
    header = ["label", "positive", "AUROC", "average precision"]
    if rule is not None:
        header += ["sensitivity", "specificity"]
    rows = [_cells(label) for label in level.labels]
    macro = ["macro mean", "", figure(level.macro_auroc), figure(level.macro_average_precision)]
    macro += [""] * (len(header) - len(macro))
    title = f"{level.level} level{split}: {level.n} {level.level}s of {level.n_patients} patients"
    at = "" if rule is None else f", sensitivity and specificity at {one_line(rule)}"
    loss = f"weighted log loss {figure(level.weighted_log_loss, digits=4)}"
    return "\n".join([title + at, *aligned([header, *rows, macro]), f"  {loss}"])


def _cells(label: LabelSummary) -> list[str]:
    cells = [
        one_line(label.label),
        f"{label.n_positive}/{label.n}",
        figure(label.auroc),
        figure(label.average_precision),
    ]
    for point in label.operating_points[:1]:
        cells += [figure(point.sensitivity), figure(point.specificity)]
    return cells


def figure(estimate: Estimate, *, digits: int = 3, signed: bool = False) -> str:
    """A figure with its interval as it is printed."""
    if estimate.value is None:
        return NOT_ESTIMABLE
    form = f"+.{digits}f" if signed else f".{digits}f"
    if estimate.interval is None:
        return f"{estimate.value:{form}} (no interval)"
    to = " to " if signed or estimate.interval.low < 0 else "-"
    return f"{estimate.value:{form}} ({estimate.interval.low:{form}}{to}{estimate.interval.high:{form}})"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table whose first row is its header and whose last its mean."""
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
