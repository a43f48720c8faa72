"""What a reader of a summary is warned of: levels without labels, weak thresholds, doubtful scores, few patients."""

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from ichformer.cohorts.index import MAX_SITES, group_columns
from ichformer.evaluation.level_summary import MAX_GROUP_COLUMNS
from ichformer.evaluation.results import LevelSummary, Stratum
from ichformer.evaluation.tables.not_scored import NotScored, said_together
from ichformer.evaluation.tables.table import CheckedTable, levels_without_labels, only_split, score_columns
from ichformer.evaluation.thresholds import Threshold, Thresholds

FEW_POSITIVES = 10
"""Figures that rest on fewer patients with a positive row than this are marked as unreliable."""

ONE_CLASS = "all rows are of one class, so there is no AUROC."


def summary_warnings(
    table: CheckedTable,
    found: tuple[LevelSummary, ...],
    missing: Sequence[NotScored],
    *,
    thresholds: Thresholds | None,
    fixed_on: Collection[str] | None,
) -> Iterator[str]:
    """Yield the warnings of a summary, as whole sentences.

    Args:
      table: the predictions.
      found: their figures.
      missing: their rows without a score.
      thresholds: that the figures were made with.
      fixed_on: the patients on whom the thresholds were chosen, where that is known.
    """
    yield from _without_figures(table)
    yield from _threshold_warnings(table, only_split(table), thresholds, fixed_on)
    yield from _weak_thresholds(found, thresholds)
    yield from _doubtful_scores(found, table)
    yield from _warnings(found, missing)


def _without_figures(table: CheckedTable) -> Iterator[str]:
    """Warnings of a level without labels, and of sites and subgroups that are too many to have figures of their own."""
    for name in levels_without_labels(table):
        yield f"{name.capitalize()} level: no figures, as no {name} has a known label."
    if (n_sites := table.rows.loc[table.rows["site"] != "", "site"].nunique()) > MAX_SITES:
        yield (
            f"The table has {n_sites} sites. The {MAX_SITES} with the most rows have figures of their own and are "
            "pooled. The others are shown as one site and are not pooled."
        )
    if (n_columns := len(group_columns(table.rows))) > MAX_GROUP_COLUMNS:
        yield f"The table has {n_columns} columns of subgroups. The first {MAX_GROUP_COLUMNS} of them have figures."


def _threshold_warnings(
    table: CheckedTable, split: str, thresholds: Thresholds | None, fixed_on: Collection[str] | None
) -> Iterator[str]:
    if thresholds is None:
        return
    if fixed_on is None and split == thresholds.split:
        yield (
            f"The thresholds were chosen on a split of the same name ({split or 'unnamed'}). If it had the same "
            "patients, the figures at the thresholds are too good."
        )
    if shared := table.patients & set(fixed_on or ()):
        yield (
            f"The thresholds were chosen on {len(shared)} of the {len(table.patients)} evaluated patients, so the "
            "figures at the thresholds are too good."
        )


def _weak_thresholds(found: tuple[LevelSummary, ...], thresholds: Thresholds | None) -> Iterator[str]:
    """Warnings of thresholds that could not be chosen, or that rest on few positives."""
    if thresholds is None:
        return
    on = f"on split {thresholds.split or '(unnamed)'}"
    for level in found:
        name = f"{level.level.capitalize()} level"
        if not level.labels[0].operating_points:
            yield f"{name}: no threshold was chosen for it {on}, so there is no sensitivity."
        chosen = {of.label: thresholds.of(level.level, of.label) for of in level.labels if of.n}
        without = ((label, said) for label, ones in chosen.items() if (said := _why_none(ones, on)))
        yield from (f"{name}, {said}" for said in said_together(without))
        if few := [label for label, ones in chosen.items() if ones and 0 < ones[0].n_positive < FEW_POSITIVES]:
            yield (
                f"{name}: the thresholds of {', '.join(few)} are unreliable, as they rest on fewer than "
                f"{FEW_POSITIVES} positive {level.level}s {on}."
            )


def _why_none(chosen: Sequence[Threshold], on: str) -> str:
    """Why a label has no threshold by some of the rules; "" where it has all."""
    missing = [one for one in chosen if one.value is None]
    if not missing:
        return ""
    level, n, n_positive = missing[0].level, missing[0].n, missing[0].n_positive
    if 0 < n_positive < n:
        return f"no threshold {on} reaches {', '.join(one.rule for one in missing)}."
    kind = "positive" if n_positive == 0 else "negative"
    return f"no threshold, as no {level} {on} is {kind}. Put more patients into that split, or take another seed."


def _doubtful_scores(found: tuple[LevelSummary, ...], table: CheckedTable) -> Iterator[str]:
    """Warnings of scores that are probabilities by their values and still cannot be what was meant."""
    for level in found:
        for label in level.labels:
            interval = label.auroc.interval
            if interval is not None and interval.high < 0.5:
                yield (
                    f"{level.level.capitalize()} level, {label.label}: the scores rank the wrong way (AUROC "
                    f"{interval.low:.3f} to {interval.high:.3f}). Are they scores of the positive class, and of this "
                    "label?"
                )
    for name in score_columns(table.labels):
        values = np.unique(table.rows[name].dropna().to_numpy(np.float64))
        if len(table.rows) > 1 and len(values) == 1:
            yield f"{name}: all scores are {values[0]:g}, so they separate nothing."
        elif len(values) == 2 and set(values) == {0.0, 1.0}:
            yield f"{name}: all scores are 0 or 1. They are decisions, so AUROC and calibration say little."


def _warnings(found: tuple[LevelSummary, ...], missing: Sequence[NotScored]) -> Iterator[str]:
    for level in found:
        name = f"{level.level.capitalize()} level"
        unscored = {one.label for one in missing if one.level == level.level}
        if level.n_effective < 0.999 * level.n:
            yield (
                f"{name}: rows have weights. The {level.n} rows say as much as {level.n_effective:.0f} rows of equal "
                "weight. Counts are of rows."
            )
        if level.derived:
            yield "The table has no scan rows. A scan's label and score are the maximum over its slices."
        unknown = ((of.label, "no row has a known label.") for of in level.labels if not of.n)
        one_class = ((of.label, ONE_CLASS) for of in level.labels if of.n and of.n_positive in (0, of.n))
        scored = (pair for pair in unknown if pair[0] not in unscored)
        yield from (f"{name}, {said}" for said in said_together([*scored, *one_class]))
        patients = {
            label.label: label.n_positive_patients
            for label in level.labels
            if 0 < label.n_positive < label.n and label.n_positive_patients < FEW_POSITIVES
        }
        if patients:
            yield (
                f"{name}: figures are unreliable for labels with fewer than {FEW_POSITIVES} positive patients: "
                + ", ".join(f"{label} ({count})" for label, count in patients.items())
                + "."
            )
        parts_by = {by: _few(parts) for by, parts in {"site": level.sites, **level.subgroups}.items()}
        if any(few for few, _ in parts_by.values()):
            yield (
                f"{name}: AUROCs of sites or subgroups with fewer than {FEW_POSITIVES} positive patients are "
                "unreliable: " + ", ".join(f"by {by} {few} of {n}" for by, (few, n) in parts_by.items() if few) + "."
            )
        known = {of.label for of in level.labels if of.n}
        if left_out := [(of.label, of.left_out) for of in level.pooled_sites if of.left_out and of.label in known]:
            yield (
                f"{name}: pooled AUROCs leave out sites where the AUROC is not estimable or has no spread: "
                + "; ".join(said_together((label, f"without {', '.join(sites)}") for label, sites in left_out))
                + "."
            )


def _few(parts: tuple[Stratum, ...]) -> tuple[int, int]:
    """How many AUROCs of sites or subgroups rest on few positives, and how many AUROCs there are."""
    found = [label for part in parts for label in part.labels if label.auroc.value is not None]
    return sum(label.n_positive_patients < FEW_POSITIVES for label in found), len(found)
