"""What became of every series that was to be predicted, as frozen structures."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ichformer.ct.io.found import SetAside
from ichformer.files.json_files import read_json
from ichformer.reporting.scan.outputs import NUMBERS_NAME

if TYPE_CHECKING:
    import pandas as pd

LEFT_OUT_CODES: dict[str, str] = {
    "failed": "a fault of ichformer ended the prediction; the text says which",
    "no_memory": "the memory did not suffice for the series",
    "not_chosen": "another series of the study was chosen, or none of them is a plain head CT",
    "unreadable": "the series could not be read, or a path holds none; the text says why and what to do",
}
"""Stable code of every reason for leaving a series out -> what it means."""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A series without a prediction: its number (from 1), a code of ``LEFT_OUT_CODES`` and the reason."""

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
      number: its place among the series that were found, from 1.
      folder: holds its files.
      report: the page; None where it was not asked for.
      is_new: False where it was predicted earlier and skipped.
    """

    number: int
    folder: Path
    report: Path | None
    is_new: bool = True

    @property
    def numbers(self) -> Path:
        """The file ``prediction.json``."""
        return self.folder / NUMBERS_NAME

    @property
    def values(self) -> dict[str, Any]:
        """What stands in ``numbers``. It is read each time: thousands of predictions do not fit into the memory."""
        return read_json(self.numbers, dict, fix="predict the scan again")


@dataclass(frozen=True, kw_only=True)
class PredictionResult:
    """What became of everything under the paths.

    Attributes:
      series: those that were predicted, scored or not.
      left_out: those that were not, each with the reason.
      set_aside: files that belong to no series, each with the reason: broken ones too.
      columns: the table with a row for each series (``scores_table``), column by column.
      csv: the file with this table; None where none was asked for.
    """

    series: tuple[SeriesPrediction, ...]
    left_out: tuple[LeftOut, ...]
    set_aside: tuple[SetAside, ...]
    columns: Mapping[str, list[object]]
    csv: Path | None

    @property
    def lost(self) -> tuple[LeftOut, ...]:
        """The series that were wanted and not predicted."""
        return tuple(one for one in self.left_out if one.code != "not_chosen")

    @property
    def table(self) -> "pd.DataFrame":
        """The table with a row for each series."""
        import pandas as pd

        return pd.DataFrame(dict(self.columns))
