"""What `ichformer predict` prints: first what was scored, then what was not, then what could not be read."""

from collections import Counter
from typing import Any

from ichformer import LABELS
from ichformer.errors import one_line
from ichformer.files.writing import path_text, shown
from ichformer.reporting.scan.reading import Familiarity
from ichformer.reporting.scan.results import PredictionResult, SeriesPrediction

_USUAL = ("colour", "dicomdir", "localizer", "not_hu", "secondary_capture")
"""Files that come with every study and hold no slices are only counted."""

_NAMED_FILES = 3
"""Files that are named for each reason; the others are counted."""


def result_values(result: PredictionResult) -> dict[str, Any]:
    """Plain values for ``--json``: each series with its ``prediction.json``, and everything that was not predicted."""
    return {
        "series": [
            {
                "number": one.number,
                "folder": path_text(one.folder),
                "report": None if one.report is None else path_text(one.report),
                "is_new": one.is_new,
                **one.values,
            }
            for one in result.series
        ],
        "left_out": [{"number": one.number, "code": one.code, "reason": one.text} for one in result.left_out],
        "set_aside": [
            {"path": one_line(file.path, max_chars=400), "code": file.code, "reason": file.text}
            for file in result.set_aside
        ],
        "csv": None if result.csv is None else path_text(result.csv),
    }


def format_prediction(result: PredictionResult) -> str:
    """The same for people; with a table, the series that were predicted are counted and not listed."""
    lines = [line for one in result.series for line in _lines(one)] if result.csv is None else [_counted(result)]
    lines += [f"series {one.number} not scored: {one_line(one.text, max_chars=600)}" for one in result.left_out]
    if any(one.code == "not_chosen" for one in result.left_out):
        lines.append("  --series NUMBER scores one of these, --all-series all of them")
    by_reason: dict[str, list[str]] = {}
    for file in result.set_aside:
        if file.code not in _USUAL:
            by_reason.setdefault(one_line(file, max_chars=300), []).append(one_line(file.path, max_chars=200))
    if usual := Counter(file.code for file in result.set_aside if file.code in _USUAL):
        said = ", ".join(f"{count} {code}" for code, count in sorted(usual.items()))
        lines.append(f"files that hold no slices of a scan: {said}")
    if by_reason:
        count = sum(map(len, by_reason.values()))
        lines.append(f"{count} file{'s were' if count > 1 else ' was'} not read:")
    for reason, paths in by_reason.items():
        lines.append(f"  {len(paths)} x {reason}")
        lines += [f"    {path}" for path in paths[:_NAMED_FILES]]
        if len(paths) > _NAMED_FILES:
            lines.append(f"    and {len(paths) - _NAMED_FILES} more")
    return "\n".join([*lines, "Research use only. Not for diagnosis."])


def _counted(result: PredictionResult) -> str:
    assert result.csv is not None
    earlier = sum(not one.is_new for one in result.series)
    predicted = f"{len(result.series)} predicted" + (f" ({earlier} of them earlier)" if earlier else "")
    not_chosen = len(result.left_out) - len(result.lost)
    counts = f"{shown(result.csv)}: {predicted}, {not_chosen} not chosen, {len(result.lost)} failed"
    if not result.series or "source" in result.series[0].values:
        return counts
    return f"{counts}\n  rows are named by a key; --with-uids adds the path and the UIDs of each scan"


def _lines(one: SeriesPrediction) -> list[str]:
    values = one.values
    scores, description = values["scan"], one_line(values["audit"]["description"], max_chars=60)
    name = f"series {one.number}" + (f" ({description})" if description else "")
    # "any" comes first; a label set of its own is printed in its own order.
    labels = LABELS[::-1] if tuple(scores) == LABELS else tuple(scores)
    given = [f"{label} {scores[label]:.2f}" for label in labels if scores[label] is not None]
    targets = values.get("targets", {})
    given += [f"{target} {value:.1f}" for target, value in targets.items() if value is not None]
    if values["scored"]:
        lines = [f"{name}: {', '.join(given) or 'not scored'}"]
    else:
        lines = [f"{name}: NOT SCORED. {values['reason']['text']}"]
    lines += [f"  {remark}" for remark in values["remarks"]]
    familiarity = None if values["familiarity"] is None else Familiarity(**values["familiarity"])
    if familiarity is not None and familiarity.is_unusual:
        lines.append(f"  {familiarity}")
    return [*lines, f"  {shown(one.report or one.numbers)}"]
