"""From the table of predicted scans to the order in which people should look at them; no scan is left out."""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args
from urllib.parse import quote

import pandas as pd

from ichformer.cohorts.csv_text import line_of, read_numbers
from ichformer.errors import InputError, one_line
from ichformer.reporting.scan.outputs import REPORT_NAME
from ichformer.reporting.scan.scores_table import ANOTHER_CHOSEN, SOURCE_COLUMNS

State = Literal["raised", "not_scored", "scored", "set_aside"]
"""In the order of the list: a score reaches its threshold; there is no score, so a person has to look; no score reaches
its threshold; files without slices, and series beside one that was chosen in the same study."""

NEEDED = ("number", "key", "folder", "not_scored", "error")
"""Columns of the table, beside a score for at least one label."""

_NO_SLICES = ("colour", "link_loop", "localizer", "no_picture", "not_hu", "secondary_capture")
"""Codes of ``ct.io.found.SET_ASIDE_CODES`` for files in which no scan can be hidden."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One scan of the list.

    Attributes:
      rank: its place, from 1.
      state: why it stands there.
      number: of the series, as ``ichformer predict`` counts; "" for files that hold no slices.
      key: 20 digits that stand for the series.
      raised: the labels whose score reaches its threshold.
      score: that of "any", or in a table without it the highest; None where there is none.
      label: the label that it is the score of; "" where there is none.
      ml: volume of this label; None where the model does not measure it.
      reason: why there is no score, beginning with a code; "" where there is one.
      remarks: what speaks against the scores.
      page: the report, relative to the folder of the predictions, as a link has it; "" where there is none.
      source: path, study, series and files, as far as the table has them.
    """

    rank: int
    state: State
    number: str
    key: str
    raised: tuple[str, ...]
    score: float | None
    label: str
    ml: float | None
    reason: str
    remarks: str
    page: str
    source: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Worklist:
    """Every scan of a table, the most urgent first.

    Attributes:
      entries: in their order.
      has_thresholds: whether any score has a frozen threshold; without one nothing can be raised.
      not_listed: predictions in the folder that the table has no row of, as it was written by another call.
    """

    entries: tuple[Entry, ...]
    has_thresholds: bool
    not_listed: int = 0

    @property
    def counts(self) -> dict[State, int]:
        """How many entries there are of each state, in the order of the list."""
        found = Counter(entry.state for entry in self.entries)
        return {state: found[state] for state in get_args(State)}

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"counts": self.counts, **asdict(self)}


def order_scans(
    table: pd.DataFrame, *, where: object, with_page: Collection[str] = (), predicted: Collection[str] = ()
) -> Worklist:
    """Order the rows of a table of predictions.

    First come scans of which a score reaches its frozen threshold, by their score. Then come those without a score,
    because nothing is known about them: broken ones and those without a brain before those that were not chosen. Then
    come the others by their score. Files without slices are last, and so are series that were not chosen where another
    series of their study was: that one stands in the list by itself.

    Args:
      table: every field as text, with the columns that ``ichformer predict --csv`` writes (``scores_table``).
      where: its file, for messages.
      with_page: names of the folders that hold a report.
      predicted: names of the folders that hold a prediction.

    Raises:
      InputError: a column is missing, a score is no number from 0 to 1, a volume is none, or a column of 0 and 1 holds
        something else.
    """
    labels = [str(name).removeprefix("score_") for name in table if str(name).startswith("score_")]
    if missing := [name for name in NEEDED if name not in table] or [] if labels else ["score_any"]:
        raise InputError(
            f"has no column {missing[0]}", where=where, fix="name the table that ichformer predict --csv wrote"
        )
    scores = {label: _numbers(table, f"score_{label}", where, high=1.0) for label in labels}
    volumes = {label: _numbers(table, f"ml_{label}", where) for label in labels if f"ml_{label}" in table}
    positive = {
        label: _numbers(table, f"positive_{label}", where, high=1.0, only_ends=True)
        for label in labels
        if f"positive_{label}" in table
    }
    found: list[tuple[tuple[float, ...], dict[str, Any]]] = []
    for row, values in enumerate(table.to_dict("records")):
        known = {label: scores[label][row] for label in labels if not math.isnan(scores[label][row])}
        label = "any" if "any" in known else max(known, key=lambda one: known[one], default="")
        raised = tuple(label for label in positive if positive[label][row] == 1)
        reason = "" if known else values["error"] or values["not_scored"] or "unknown: the table gives no reason"
        state = _state(raised, known, values)
        milliliters = volumes[label][row] if label in volumes else math.nan
        is_later = state == "not_scored" and reason.startswith("not_chosen")
        urgency = (get_args(State).index(state), is_later, -known.get(label, 0.0), row)
        entry = {
            "state": state,
            "number": values["number"],
            "key": values["key"],
            "raised": raised,
            "score": known.get(label),
            "label": label,
            "ml": None if math.isnan(milliliters) else milliliters,
            "reason": reason,
            "remarks": values.get("remarks", ""),
            "page": f"{quote(values['folder'])}/{REPORT_NAME}" if values["folder"] in with_page else "",
            "source": {name: values[name] for name in SOURCE_COLUMNS if name in values},
        }
        found.append((urgency, entry))
    found.sort(key=lambda one: one[0])
    return Worklist(
        entries=tuple(Entry(rank=rank, **entry) for rank, (_, entry) in enumerate(found, start=1)),
        has_thresholds=any(not math.isnan(value) for values in positive.values() for value in values),
        not_listed=len(set(predicted) - set(table["folder"])),
    )


def _state(raised: Sequence[str], known: Mapping[str, float], values: Mapping[str, str]) -> State:
    if raised:
        return "raised"
    if known:
        return "scored"
    said = values["not_scored"]
    code = said.partition(":")[0]
    is_aside = said.endswith(ANOTHER_CHOSEN) or (not values["number"] and code in _NO_SLICES)
    return "set_aside" if is_aside and not values["error"] else "not_scored"


def _numbers(
    table: pd.DataFrame, name: str, where: object, *, high: float = math.inf, only_ends: bool = False
) -> list[float]:
    """A column as numbers, NaN where a field is empty."""
    texts = table[name].str.strip()
    numbers = read_numbers(texts)
    wrong = (texts != "") & ~((numbers >= 0) & (numbers <= high))
    if only_ends:
        wrong |= (texts != "") & (numbers != 0) & (numbers != high)
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        kind = (
            "0 or 1" if only_ends else f"a number from 0 to {high:g}" if math.isfinite(high) else "a number, 0 or more"
        )
        raise InputError(
            f"{one_line(name)} is {one_line(repr(texts.iloc[row]), max_chars=80)}, not {kind}",
            where=f"{where}{line_of(table, row)}",
            fix="predict the scans again",
        )
    return numbers.tolist()
