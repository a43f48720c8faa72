"""Every figure of a table of predictions with its interval, the warnings that go with them, and both as text."""

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from ichformer.cohorts.index import MAX_SITES, group_columns
from ichformer.errors import InputError, one_line
from ichformer.evaluation.lesions.text import format_lesions
from ichformer.evaluation.level_summary import MAX_GROUP_COLUMNS, summarise_level
from ichformer.evaluation.recalibration import recalibrate
from ichformer.evaluation.results import LabelSummary, LevelSummary, Stratum, Summary
from ichformer.evaluation.tables.not_scored import NotScored, check_scored, not_scored, said_of, said_together
from ichformer.evaluation.tables.table import CheckedTable, levels, only_split, score_columns
from ichformer.evaluation.targets import format_targets, summarise_targets
from ichformer.evaluation.thresholds import Thresholds
from ichformer.settings import fit
from ichformer.statistics.bootstrap import check_draws
from ichformer.statistics.intervals import Estimate

__all__ = ["Summary", "format_summary", "summarise"]

FEW_POSITIVES = 10
"""Figures that rest on fewer patients with a positive row than this are marked as unreliable."""

FEW = " †"
"""Beside a figure that rests on positives in fewer than ``FEW_POSITIVES`` patients."""

NOT_ESTIMABLE = "not estimable"
"""What is printed for a figure that cannot be computed."""

ONE_CLASS = "all rows are of one class, so there is no AUROC."

UNKNOWN = "(unknown)"
"""What is printed for the site or the group of scans that name none."""


def summarise(
    table: CheckedTable,
    *,
    thresholds: Thresholds | None = None,
    validation: CheckedTable | None = None,
    fixed_on: Collection[str] | None = None,
    prevalence: float | None = None,
    replicates: int = 2000,
    seed: int = 0,
    remarks: Sequence[str] = (),
) -> Summary:
    """Compute every figure of the predictions of one split.

    Every interval is made for patients, not rows: the AUROC's is DeLong's on the logit scale with rows clustered by
    patient (with one row a patient this is DeLong's own); those of shares are Wilson's with the design effect of the
    clusters; those of likelihood ratios, and of PPV and NPV at a prevalence, follow from these by MOVER; those of
    losses are Student's on the log scale, with the jackknife over patients; those of slope and intercept of the
    calibration are from the sandwich estimator; all others (partial AUROC, average precision, F1, MCC, macro means) are
    from a BCa bootstrap over patients. Where the table has weights, every figure and every interval is weighted.

    A row without a score is left out of every figure of the labels that it has no score for. Its number, how many such
    rows are positive, and the reason are in the warnings and in ``not_scored``.

    Args:
      table: the predictions. The scan level is the maximum over slices where there are no scan rows.
      thresholds: chosen before, on other patients. Without them no sensitivity is reported: a threshold that is chosen
        on the data to evaluate makes the figures too good.
      validation: predictions for other patients, on which recalibrations are fitted.
      fixed_on: the patients on whom the thresholds were chosen, where that is known. Figures of those patients are too
        good, and a warning says so.
      prevalence: share of positives, above 0 and below 1, at which PPV and NPV are stated too.
      replicates: resamples of the bootstrap.
      seed: of the resamples.
      remarks: what else a reader of the figures has to know; they become warnings.

    Raises:
      InputError: the table has no score at all or holds several splits, ``validation`` has a patient of ``table``, or
        the prevalence is none.
    """
    fix = "give a share above 0 and below 1"
    prevalence = fit(float | None, prevalence, where="prevalence", fix=fix)
    if prevalence is not None and not 0 < prevalence < 1:
        raise InputError(f"found {prevalence}", where="prevalence", fix=fix)
    check_draws(replicates=replicates, seed=seed)
    split, labels = only_split(table), table.labels
    check_scored(table)
    missing = not_scored(table)
    calibration = recalibrate(validation, table)
    found = tuple(
        summarise_level(level, labels, thresholds, prevalence=prevalence, replicates=replicates, seed=seed)
        for level in levels(table)
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
            *said_of(missing),
            *remarks,
            *_without_figures(table),
            *_threshold_warnings(table, split, thresholds, fixed_on),
            *_weak_thresholds(found, thresholds),
            *_doubtful_scores(found, table),
            *_warnings(found, missing),
        ),
        targets=summarise_targets(table, replicates=replicates, seed=seed),
    )


def _without_figures(table: CheckedTable) -> Iterator[str]:
    """Warnings of sites and columns of subgroups that are too many to have figures of their own."""
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
        rules = {of.label: [p.rule for p in of.operating_points if p.threshold is None] for of in level.labels}
        without = ((label, f"no threshold {on} obeys {', '.join(of)}.") for label, of in rules.items() if of)
        yield from (f"{name}, {said}" for said in said_together(without))
        fixed = [of_label[0] for label in level.labels if (of_label := thresholds.of(level.level, label.label))]
        if few := [one.label for one in fixed if 0 < one.n_positive < FEW_POSITIVES]:
            yield (
                f"{name}: the thresholds of {', '.join(few)} are unreliable, as they rest on fewer than "
                f"{FEW_POSITIVES} positive {level.level}s {on}."
            )


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
        if left_out := [(pooled.label, pooled.left_out) for pooled in level.pooled_sites if pooled.left_out]:
            yield (
                f"{name}: pooled AUROCs leave out sites where the AUROC is not estimable or has no spread: "
                + "; ".join(said_together((label, f"without {', '.join(sites)}") for label, sites in left_out))
                + "."
            )


def _few(parts: tuple[Stratum, ...]) -> tuple[int, int]:
    """How many AUROCs of sites or subgroups rest on few positives, and how many AUROCs there are."""
    found = [label for part in parts for label in part.labels if label.auroc.value is not None]
    return sum(label.n_positive_patients < FEW_POSITIVES for label in found), len(found)


def format_summary(summary: Summary) -> str:
    """Format a summary as aligned tables, one for each level, with the number of positives beside every figure.

    Sensitivity and specificity are those at the thresholds of the first rule. The JSON file has those of the others.
    """
    split = f" on split {one_line(summary.split)}" if summary.split else ""
    blocks = [_format_level(level, split) for level in summary.levels]
    blocks += [format_targets(summary.targets)] * bool(summary.targets)
    blocks += [format_lesions(summary.lesions)] * bool(summary.lesions)
    notes = [bootstrap_note(summary.replicates, summary.seed)]
    if summary.thresholds_from is not None:
        notes.append(f"Thresholds were chosen on split {one_line(summary.thresholds_from) or '(unnamed)'}.")
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


def bootstrap_note(replicates: int, seed: int) -> str:
    """The sentence about intervals under a printed table."""
    return f"Intervals are 95 % intervals over patients. The bootstrap drew {replicates} resamples, seed {seed}."


def figure(estimate: Estimate, *, digits: int = 3, signed: bool = False) -> str:
    """A figure with its interval, as it is printed."""
    if estimate.value is None:
        return NOT_ESTIMABLE
    form = f"+.{digits}f" if signed else f".{digits}f"
    if estimate.interval is None:
        return f"{estimate.value:{form}} (no interval)"
    to = " to " if signed or estimate.interval.low < 0 else "-"
    return f"{estimate.value:{form}} ({estimate.interval.low:{form}}{to}{estimate.interval.high:{form}})"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table whose first row is the header and whose last row is a mean."""
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
