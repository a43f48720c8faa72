"""The table of a batch of predictions: a row for each series, scored or not, as CSV and as a DataFrame have it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ichformer.errors import one_line
from ichformer.evaluation.tables.table import predicted_column, score_columns
from ichformer.files.csv_fields import csv_bytes, write_csv
from ichformer.files.writing import append_bytes
from ichformer.labels import LabelSet

SOURCE_COLUMNS = ("path", "study", "series", "files")
"""What may tell whose scan it is; only where it is asked for."""

ANOTHER_CHOSEN = "another series of the study was chosen"
"""How the reason ends of a series that was not chosen, where its study has one that was."""

Row = Mapping[str, Any]


def table_columns(label_set: LabelSet, *, with_uids: bool) -> tuple[str, ...]:
    """The columns in their order.

    ``number`` is the place of the series among those found, ``key`` a hash that names nobody, ``folder`` that of its
    report. Each label has its score, its frozen threshold, 1 or 0 for a score at or below it, and the volume of the
    bleed in ml, for models that measure it. ``familiarity`` is the percentile of ``evaluation.ood``. ``not_scored`` and
    ``error`` say why there are no scores: the series may not be scored, or it could not be read. ``seconds`` is the
    time for reading and scoring.
    """
    names = label_set.names
    return (
        *("number", "key", "folder"),
        *score_columns(names),
        *map(predicted_column, label_set.targets),
        *(f"threshold_{label}" for label in names),
        *(f"positive_{label}" for label in names),
        *(f"ml_{label}" for label in names),
        *("familiarity", "remarks", "not_scored", "error", "seconds"),
        *(SOURCE_COLUMNS if with_uids else ()),
    )


def predicted_row(number: int, folder: str, values: Mapping[str, Any], seconds: float | None) -> Row:
    """The row of a series that was predicted.

    Args:
      number: of the series.
      folder: name of its folder.
      values: of its ``prediction.json``.
      seconds: how long it took; None where it was predicted earlier.
    """
    scores, targets = values["scan"], values.get("targets", {})
    thresholds, familiarity, reason = values["thresholds"]["scan"], values["familiarity"], values["reason"]
    return {
        "number": number,
        "key": values["key"],
        "folder": folder,
        **dict(zip(score_columns(tuple(scores)), scores.values(), strict=True)),
        **{predicted_column(target): value for target, value in targets.items()},
        **{f"threshold_{label}": value for label, value in thresholds.items()},
        **{f"positive_{label}": int(value) for label, value in values["positive"].items()},
        **{f"ml_{label}": value for label, value in values.get("ml", {}).items()},
        "familiarity": None if familiarity is None else familiarity["percentile"],
        "remarks": " ".join(values["remarks"]),
        "not_scored": "" if reason is None else f"{reason['code']}: {reason['text']}",
        "seconds": None if seconds is None else round(seconds, 3),
        **values.get("source", {}),
    }


def row_without_scores(
    number: int | None, key: str, *, not_scored: str = "", error: str = "", source: Mapping[str, str]
) -> Row:
    """The row of a series that was left out on purpose (``not_scored``) or that failed (``error``).

    Args:
      number: of the series; None for files that are no series of slices, such as localizers.
      key: see ``table_columns``.
      not_scored: the reason, which begins with its code.
      error: what went wrong, likewise.
      source: its values of ``SOURCE_COLUMNS``, where they are asked for.
    """
    said = {"not_scored": one_line(not_scored, max_chars=1000), "error": one_line(error, max_chars=1200)}
    return {"number": number, "key": key, **said, **source}


class GrowingTable:
    """The table while it grows, in a file beside its own: every row is there as soon as it is known.

    Rows stand in the order in which they came. At the end, the table takes their place.
    """

    def __init__(self, file: Path, names: Sequence[str], rows: Sequence[Row]):
        """Begin with some rows; what an interrupted call left is replaced."""
        self._file, self._names = file, names
        self._part = file.with_name(f"{file.name}.part")
        file.parent.mkdir(parents=True, exist_ok=True)
        write_csv(as_columns(rows, names), self._part)

    def add(self, row: Row) -> None:
        """Append a row: all of it, or nothing where the disk is full."""
        _, _, line = csv_bytes(as_columns([row], self._names)).partition(b"\n")  # the first line has the names
        append_bytes(line, self._part)

    def finish(self, columns: Mapping[str, Sequence[object]]) -> None:
        """Write the whole table."""
        write_csv(columns, self._file)
        self._part.unlink()


def as_columns(rows: Sequence[Row], names: Sequence[str]) -> dict[str, list[object]]:
    """The table by columns; a field that a row lacks is None."""
    return {name: [row.get(name) for row in rows] for name in names}
