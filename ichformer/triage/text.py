"""A simulation of triage as aligned text for people."""

from ichformer.evaluation.summary import NOT_ESTIMABLE
from ichformer.statistics.intervals import Estimate
from ichformer.triage.results import MEASURES, Figure, TriageSimulation

_GROUP_NAMES = {
    "all": "all studies",
    "positive": "positive",
    "positive_flagged": "positive, flagged",
    "positive_missed": "positive, missed",
    "negative": "negative",
}
_STATISTIC_NAMES = {"mean": "mean", "median": "median", "percentile_95": "95th percentile"}
_HEADER = ("without triage", "with triage", "difference")


def format_simulation(found: TriageSimulation) -> str:
    """The room in two lines, then a table for each measure, in minutes, with 95 % intervals in brackets."""
    room = found.room
    rightly = "" if found.flagged_positive_share is None else f", {found.flagged_positive_share:.1%} of these rightly"
    spread = f"lognormal, variation {room.variation:g}" if room.variation is not None else room.reading_times
    readers = f"{room.readers} reader{'s' * (room.readers > 1)}, {room.reading_minutes:g} min a study ({spread})"
    lines = [
        f"{room.studies_per_hour:g} studies an hour, {readers}: utilisation {found.utilisation:.3g}",
        f"{room.prevalence:.1%} are positive; {found.flagged_share:.1%} are flagged{rightly}",
        f"{found.replications} replications of {found.days} days; {found.days_left_out} days at each end left out",
    ]
    for measure, about in MEASURES.items():
        figures = [figure for figure in found.figures if figure.measure == measure]
        if figures:
            lines += ["", f"{measure}: {about}, in minutes", *_table(figures)]
    lines += ["", "In brackets are 95 % intervals over replications."]
    if any(figure.formula_with_triage is not None for figure in found.figures):
        lines[-1] += " After = is the exact mean in the long run (Cobham 1954)."
    return "\n".join(lines)


def _table(figures: list[Figure]) -> list[str]:
    rows = [("", "", *_HEADER)]
    shown = ""
    for figure in figures:
        name = "" if figure.group == shown else f"{_GROUP_NAMES[figure.group]} ({figure.studies:,})"
        shown = figure.group
        rows.append(
            (
                name,
                _STATISTIC_NAMES[figure.statistic],
                _minutes(figure.without_triage, figure.formula_without_triage),
                _minutes(figure.with_triage, figure.formula_with_triage),
                _minutes(figure.difference, None),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]


def _minutes(estimate: Estimate, formula: float | None) -> str:
    if estimate.value is None or estimate.interval is None:
        return NOT_ESTIMABLE
    exact = "" if formula is None else f" = {formula:.1f}"
    return f"{estimate.value:.1f} ({estimate.interval.low:.1f} to {estimate.interval.high:.1f}){exact}"
