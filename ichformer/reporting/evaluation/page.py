"""An evaluation as one HTML file that opens anywhere, fetches nothing and runs no script."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from ichformer.errors import one_line
from ichformer.evaluation.lesions.matching import HIT_SHARE
from ichformer.evaluation.lesions.overlap import TOLERANCE_MM
from ichformer.evaluation.level_summary import MAX_FALSE_POSITIVE_RATE
from ichformer.evaluation.recalibration import LabelCalibration
from ichformer.evaluation.results import LevelSummary, PooledAuroc, Stratum, Summary
from ichformer.evaluation.summary import figure
from ichformer.evaluation.summary_warnings import FEW_POSITIVES
from ichformer.evaluation.tables.table import Level, LevelName
from ichformer.lesions.components import LEAST_ML
from ichformer.reporting.evaluation import page_tables as tables
from ichformer.reporting.evaluation.lesion_plots import lesion_plots
from ichformer.reporting.evaluation.plots import Plot, level_plots
from ichformer.reporting.styled_page import render_styled

_HERE = Path(__file__).parent
_FEW = f"† marks figures that are unreliable, as fewer than {FEW_POSITIVES} patients are positive."
_LESIONS = (
    "Lesion maps are compared with masks at thresholds frozen on validation. A true lesion is found where predicted "
    f"lesions cover at least {HIT_SHARE:.0%} of it. A predicted lesion is a false positive where less than "
    f"{HIT_SHARE:.0%} of it lies in true lesions. Predicted lesions below {LEAST_ML:g} ml are left out. Dice and "
    f"surface Dice (within {TOLERANCE_MM:g} mm) are means over scans with a true lesion, 0 where nothing is predicted. "
    "HD95 and ASSD are means over scans with both. Volumes are compared in scans with a true or a predicted lesion: "
    "bias and limits of agreement (Bland and Altman 1999), and ICC(2,1). FROC curves end at the frozen threshold."
)
_POOLED = (
    "Sites are pooled as log odds of the AUROC, each with the standard error that follows from its interval. The model "
    "has random effects (REML) and Hartung and Knapp's interval. I² is computed from tau²."
)


@dataclass(frozen=True, kw_only=True)
class _Section:
    """What the page shows of one level, from top to bottom."""

    title: str
    note: str
    headline: tables.Table
    points: Sequence[tables.Table] = ()
    plots: Sequence[Plot] = ()
    calibration: tables.Table | None = None
    forests: Sequence[tables.Forest] = ()
    strata: Sequence[tables.Table] = ()


def render_page(
    summary: Summary,
    levels: Sequence[Level],
    *,
    title: str,
    facts: Mapping[str, str],
    lesions: pd.DataFrame | None = None,
) -> str:
    """Render the page of an evaluation as HTML.

    Every text from outside (labels, sites, groups, facts) is made printable and escaped. No patient is named. A content
    security policy forbids the page to load or to run anything.

    Args:
      summary: all figures.
      levels: the rows behind them, for the curves, in the summary's order.
      title: of the page.
      facts: what is known about the model and its data, by name.
      lesions: the table of lesions behind ``summary.lesions``, for their plots.
    """
    return _render(
        title=title,
        subtitle=f"split {one_line(summary.split)}" if summary.split else "",
        warnings=[one_line(warning, max_chars=600) for warning in summary.warnings],
        facts={one_line(name): one_line(value, max_chars=600) for name, value in facts.items() if value},
        levels=[
            _section(level, found, summary, [c for c in summary.calibration if c.level == found.level])
            for level, found in zip(levels, summary.levels, strict=True)
        ],
        targets=tables.target_tables(summary.targets),
        lesions=tables.lesion_tables(summary.lesions),
        lesion_plots=lesion_plots(lesions, summary.lesions) if lesions is not None and summary.lesions else [],
        notes=_notes(summary),
    )


def render_sites_page(
    parts: Sequence[tuple[LevelName, Sequence[Stratum], Sequence[PooledAuroc]]], *, title: str
) -> str:
    """Render the page of a training that left out each site in turn: the sites and the pooled AUROC of each level."""
    sections = [
        _Section(
            title=f"{level.capitalize()}s",
            note="Each site is evaluated with a run that was trained without it.",
            headline=tables.strata_table("By site", sites, opened=True),
            forests=tables.forests(sites, pooled),
        )
        for level, sites, pooled in parts
    ]
    notes = [
        _POOLED,
        _FEW,
        "Sensitivity and specificity are at the thresholds of the first rule, which are those of each run.",
    ]
    empty: dict[str, Any] = dict.fromkeys(("facts", "warnings", "targets", "lesions", "lesion_plots"), ())
    return _render(title=title, subtitle="", levels=sections, notes=notes, **empty)


def _render(*, title: str, **shown: Any) -> str:
    return render_styled(_HERE / "page.html.j2", styles=[_HERE / "page.css"], title=title, **shown)


def _section(level: Level, found: LevelSummary, summary: Summary, calibration: Sequence[LabelCalibration]) -> _Section:
    has_any = any(label.label == "any" for label in found.labels)  # which counts twice in RSNA 2019
    level, found = _of_known_labels(level, found)
    calibration = [one for one in calibration if any(label.label == one.label for label in found.labels)]
    first = {label.label: label.operating_points[0].threshold for label in found.labels if label.operating_points}
    strata = [tables.strata_table("By site", found.sites)] if found.sites else []
    strata += [tables.strata_table(f"By {one_line(name)}", parts) for name, parts in found.subgroups.items()]
    rows = f"{found.n} {found.level}s of {found.n_patients} patients"
    rows += ", made as the maximum over slices" if found.derived else ""
    loss = "Weighted log loss (RSNA 2019)" if has_any else "Mean log loss of the labels"
    return _Section(
        title=f"{found.level.capitalize()}s",
        note=f"{rows}. {loss} {figure(found.weighted_log_loss, digits=4)}.",
        headline=tables.headline(found),
        points=tables.point_tables(found, summary.prevalence),
        plots=level_plots(level, [label.label for label in found.labels], calibration, first),
        calibration=tables.calibration_table(calibration),
        forests=tables.forests(found.sites, found.pooled_sites),
        strata=strata,
    )


def _of_known_labels(level: Level, found: LevelSummary) -> tuple[Level, LevelSummary]:
    """Both without the labels that no row knows, of which a warning tells: they would fill the page with nothing."""
    known = [i for i, label in enumerate(found.labels) if label.n] or list(range(len(found.labels)))

    def strata(parts: Sequence[Stratum]) -> tuple[Stratum, ...]:
        return tuple(replace(part, labels=tuple(part.labels[i] for i in known)) for part in parts)

    labels = tuple(found.labels[i] for i in known)
    names = {label.label for label in labels}
    shown = replace(
        found,
        labels=labels,
        sites=strata(found.sites),
        subgroups={name: strata(parts) for name, parts in found.subgroups.items()},
        pooled_sites=tuple(pooled for pooled in found.pooled_sites if pooled.label in names),
    )
    return replace(level, labels=level.labels[:, known], scores=level.scores[:, known]), shown


def _notes(summary: Summary) -> list[str]:
    intervals = (
        "Intervals are 95 % intervals over patients. Those of the AUROC are DeLong's on the logit scale, with rows "
        "clustered by patient. Those of shares are Wilson's with a design effect. Those of likelihood ratios, and of "
        "PPV and NPV at a prevalence, follow from these by MOVER. Those of losses are from the jackknife on the log "
        "scale. Those of slope and intercept of the calibration are from the sandwich estimator. All others are from a "
        "BCa bootstrap. Intervals are not corrected for the number of labels."
    )
    areas = (
        f"The partial AUROC is taken up to a false positive rate of {MAX_FALSE_POSITIVE_RATE:g}. It is 0.5 for chance "
        "and 1 for perfect scores. Micro figures take every pair of a row and a label as a row."
    )
    risk = (
        "Risk and coverage: the model leaves the rows whose scores lie nearest to its threshold to a reader. Distances "
        "are in log odds. The threshold is 0.5 where there is none."
    )
    notes = [
        intervals,
        f"The bootstrap drew {summary.replicates} resamples of patients, seed {summary.seed}.",
        areas,
        _FEW,
        risk,
        "Calibration is drawn over bins with equal numbers of rows. The bars are intervals over patients.",
        _POOLED,
    ]
    if summary.thresholds_from is None:
        notes.append(
            "No thresholds were given, so no sensitivity is reported. A threshold that is chosen on the data to "
            "evaluate makes it too good."
        )
    else:
        notes.append(f"Thresholds were chosen on split {one_line(summary.thresholds_from) or '(unnamed)'}.")
    if summary.targets:
        notes.append(
            "Errors of targets are absolute, in the unit of each. The bias is the mean of predicted less true values. "
            "The limits of agreement are 1.96 standard deviations on either side of it (Bland and Altman 1986). Lin's "
            "CCC is the concordance correlation. Their intervals are from a BCa bootstrap."
        )
    if summary.lesions:
        notes.append(_LESIONS)
    if not any(label.after for label in summary.calibration):
        notes.append("No predictions for validation were given, so there is no calibration after recalibration.")
    return notes
