"""From a folder of predictions to the list of its scans, the most urgent first."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ichformer.cohorts.tables import read_table
from ichformer.errors import InputError
from ichformer.files.sets import write_set
from ichformer.files.writing import path_text, shown
from ichformer.reporting.scan.outputs import NUMBERS_NAME, REPORT_NAME
from ichformer.reporting.worklist.order import NEEDED, Worklist, order_scans
from ichformer.reporting.worklist.page import STATE_NAMES, render_worklist, worklist_csv

SCORES_NAME = "scores.csv"
"""Where the table is looked for by default, in the folder of the predictions."""

PAGE_NAME, CSV_NAME = "worklist.html", "worklist.csv"


@dataclass(frozen=True, kw_only=True)
class WrittenWorklist:
    """A list that was written: its page, its table, and what both hold."""

    page: Path
    csv: Path
    worklist: Worklist

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"page": path_text(self.page), "csv": path_text(self.csv), **self.worklist.to_json()}


def write_worklist(out: Path, *, csv: Path | None = None) -> WrittenWorklist:
    """Write ``worklist.html`` and ``worklist.csv`` into the folder of the predictions, both or none.

    Args:
      out: the folder that ``ichformer predict --out`` wrote.
      csv: its table; ``scores.csv`` in the folder by default.

    Raises:
      InputError: there is no such folder or table, the table is not one of ``predict``, or nothing can be written.
    """
    if not out.is_dir():
        raise InputError("is no folder", where=out, fix="name the folder of ichformer predict --out")
    table = out / SCORES_NAME if csv is None else csv
    if csv is None and not table.exists():
        raise InputError(
            "is not there",
            where=table,
            fix="predict again with --csv and --skip-existing, or name the table with --csv",
        )
    with_page, predicted = (
        {file.parent.name for file in out.glob(f"*/{name}")} for name in (REPORT_NAME, NUMBERS_NAME)
    )
    rows = read_table(table, columns=NEEDED)
    worklist = order_scans(rows, where=table, with_page=with_page, predicted=predicted)
    page = render_worklist(worklist).encode(errors="backslashreplace")
    write_set({CSV_NAME: worklist_csv(worklist.entries), PAGE_NAME: page}, out, what="worklist")
    return WrittenWorklist(page=out / PAGE_NAME, csv=out / CSV_NAME, worklist=worklist)


def format_worklist(written: WrittenWorklist) -> str:
    """How many scans there are of each state, and where the page is."""
    counts = written.worklist.counts
    lines = [", ".join(f"{count} {STATE_NAMES[state].lower()}" for state, count in counts.items())]
    if counts["not_scored"]:
        lines.append("Nothing is known about scans that are not scored: a person has to look at each of them.")
    if count := written.worklist.not_listed:
        lines.append(f"{count} in the folder not listed: the table has no row of it. Predict all scans in one call.")
    if not written.worklist.has_thresholds:
        lines.append("No threshold was frozen for this model, so nothing is raised.")
    return "\n".join([*lines, shown(written.page), "Research use only. Not for diagnosis."])
