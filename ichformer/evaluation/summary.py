"""Every figure of a table of predictions with its interval, the warnings that go with them, and both as text."""

from collections.abc import Collection, Sequence

from ichformer.errors import InputError, one_line
from ichformer.evaluation.lesions.text import format_lesions
from ichformer.evaluation.level_summary import summarise_level
from ichformer.evaluation.recalibration import recalibrate
from ichformer.evaluation.results import LabelSummary, LevelSummary, Summary
from ichformer.evaluation.summary_warnings import summary_warnings
from ichformer.evaluation.tables.not_scored import check_scored, not_scored, said_of
from ichformer.evaluation.tables.table import CheckedTable, levels, only_split
from ichformer.evaluation.targets import format_targets, summarise_targets
from ichformer.evaluation.thresholds import Thresholds
from ichformer.settings import fit
from ichformer.statistics.bootstrap import check_draws
from ichformer.statistics.intervals import Estimate

__all__ = ["Summary", "format_summary", "summarise"]

FEW = " †"
"""Beside a figure that rests on positives in fewer than ``FEW_POSITIVES`` patients."""

NOT_ESTIMABLE = "not estimable"
"""What is printed for a figure that cannot be computed."""

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
            *summary_warnings(table, found, missing, thresholds=thresholds, fixed_on=fixed_on),
        ),
        targets=summarise_targets(table, replicates=replicates, seed=seed),
    )


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
