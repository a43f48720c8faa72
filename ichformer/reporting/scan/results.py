"""What became of every series of a path that was predicted, as frozen structures."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ichformer.ct.io.found import SetAside
from ichformer.reporting.scan.page import Familiarity

LEFT_OUT_CODES: dict[str, str] = {
    "failed": "a fault of ichformer ended the prediction; the text says which",
    "no_memory": "the memory did not suffice for the series",
    "not_chosen": "another series of the study was chosen, or none of them is a plain head CT",
    "unreadable": "the series could not be read; the text says why and what to do",
}
"""Stable code of every reason for leaving a series out -> what it means."""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A series without a report: its number among those found (from 1), a code of ``LEFT_OUT_CODES`` and the reason."""

    number: int
    code: str
    text: str

    def __post_init__(self) -> None:
        if self.code not in LEFT_OUT_CODES:
            raise ValueError(f"{self.code!r} is not documented in LEFT_OUT_CODES")


@dataclass(frozen=True, kw_only=True)
class SeriesPrediction:
    """What was written about one series.

    Attributes:
      number: its place in what ``find_scans`` finds, from 1.
      report: the page.
      numbers: the JSON file beside it.
      values: what stands in ``numbers``.
      familiarity: None where the run does not know what its training looked like.
    """

    number: int
    report: Path
    numbers: Path
    values: dict[str, Any]
    familiarity: Familiarity | None


@dataclass(frozen=True, kw_only=True)
class PredictionResult:
    """What became of everything under a path.

    Attributes:
      series: those that got a report, scored or not.
      left_out: those without one, each with the reason.
      set_aside: files that belong to no series, each with the reason: broken ones too.
    """

    series: tuple[SeriesPrediction, ...]
    left_out: tuple[LeftOut, ...]
    set_aside: tuple[SetAside, ...]

    @property
    def lost(self) -> tuple[LeftOut, ...]:
        """The series that were wanted and got no report."""
        return tuple(one for one in self.left_out if one.code != "not_chosen")
