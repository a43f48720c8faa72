"""The list of scans as one HTML file that opens anywhere and fetches nothing, and as a CSV file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ichformer.errors import one_line
from ichformer.files.csv_fields import csv_bytes
from ichformer.reporting.scan.page import LABEL_NAMES
from ichformer.reporting.scan.scores_table import SOURCE_COLUMNS
from ichformer.reporting.styled_page import render_styled
from ichformer.reporting.worklist.order import Entry, State, Worklist

STATE_NAMES: dict[State, str] = {
    "raised": "Raised",
    "not_scored": "Not scored",
    "scored": "Not raised",
    "set_aside": "Set aside",
}
"""How the page writes a state."""

_HERE = Path(__file__).parent


def render_worklist(worklist: Worklist) -> str:
    """The list as HTML, with its style and script inside; a content security policy allows nothing else.

    Every text from outside is made printable and escaped. Without scripts the whole list is there, and only the filter
    and the keys are not.
    """
    is_of_any = all(entry.label in ("any", "") for entry in worklist.entries)
    return render_styled(
        _HERE / "worklist.html.j2",
        styles=[_HERE.parent / "evaluation" / "page.css", _HERE / "worklist.css"],
        scripts=[_HERE / "worklist.js"],
        title="Worklist",
        rows=[_row(entry, is_of_any=is_of_any) for entry in worklist.entries],
        counts=worklist.counts,
        names=STATE_NAMES,
        has_thresholds=worklist.has_thresholds,
        not_listed=worklist.not_listed,
        has_ml=any(entry.ml is not None for entry in worklist.entries),
        score_name="score of any" if is_of_any else "highest score",
    )


def worklist_csv(entries: Sequence[Entry]) -> bytes:
    """The list as a CSV file: a row for each scan, and the columns of ``SOURCE_COLUMNS`` that the table had."""
    columns: dict[str, list[object]] = {
        "rank": [entry.rank for entry in entries],
        "state": [entry.state for entry in entries],
        "number": [entry.number for entry in entries],
        "key": [entry.key for entry in entries],
        "raised": [" ".join(entry.raised) for entry in entries],
        "score": [entry.score for entry in entries],
        "label": [entry.label for entry in entries],
        "ml": [entry.ml for entry in entries],
        "not_scored": [entry.reason for entry in entries],
        "remarks": [entry.remarks for entry in entries],
        "page": [entry.page for entry in entries],
    }
    for name in SOURCE_COLUMNS:
        if any(name in entry.source for entry in entries):
            columns[name] = [entry.source.get(name, "") for entry in entries]
    return csv_bytes(columns)


def _row(entry: Entry, *, is_of_any: bool) -> dict[str, Any]:
    score = "" if entry.score is None else f"{entry.score:.3f}"
    order = [*(label for label in LABEL_NAMES if label in entry.raised), *entry.raised]
    raised = [one_line(LABEL_NAMES.get(label, label)) for label in dict.fromkeys(order)]
    return {
        "rank": entry.rank,
        "state": entry.state,
        "name": STATE_NAMES[entry.state],
        "raised": ", ".join(raised),
        "score": score if is_of_any or not score else f"{score} {one_line(LABEL_NAMES.get(entry.label, entry.label))}",
        "ml": "" if entry.ml is None else f"{entry.ml:.1f}",
        "reason": one_line(entry.reason, max_chars=600),
        "remarks": one_line(entry.remarks, max_chars=600),
        "number": one_line(entry.number),
        "key": one_line(entry.key),
        "path": one_line(entry.source.get("path", ""), max_chars=400),
        "page": entry.page,
    }
