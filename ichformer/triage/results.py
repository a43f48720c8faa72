"""What a simulation of triage found, as frozen structures."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from ichformer.statistics.intervals import Estimate
from ichformer.triage.room import ReadingRoom

Measure = Literal["wait", "report", "notification"]
Statistic = Literal["mean", "median", "percentile_95"]

MEASURES: dict[Measure, str] = {
    "wait": "from arrival until reading starts",
    "report": "from arrival until reading ends",
    "notification": "from arrival until somebody knows of a positive study: at its flag, or else when it is read",
}
"""What is measured of each study, in minutes."""

GROUPS = ("all", "positive", "positive_flagged", "positive_missed", "negative")
"""Groups of studies: by the truth, and positive ones by whether they are flagged."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One statistic of one group of studies, in minutes, with 95 % intervals over replications.

    Attributes:
      measure: what was measured (``MEASURES``).
      group: of which studies (``GROUPS``).
      statistic: over the studies of a replication.
      studies: how many of the group were counted in all replications.
      without_triage: where studies are read in the order of arrival.
      with_triage: where flagged studies are read first.
      difference: with minus without triage, of the same arrivals and reading times.
      formula_without_triage: the exact value in the long run; None where there is no formula.
      formula_with_triage: likewise.
    """

    measure: Measure
    group: str
    statistic: Statistic
    studies: int
    without_triage: Estimate
    with_triage: Estimate
    difference: Estimate
    formula_without_triage: float | None = None
    formula_with_triage: float | None = None


@dataclass(frozen=True, kw_only=True)
class TriageSimulation:
    """What triage changes in a reading room.

    Attributes:
      room: the reading room.
      days: days that are counted, in each replication.
      days_left_out: days before them, and as many after them, that are simulated and not counted.
      replications: independent simulations.
      seed: of the random numbers.
      utilisation: share of their time in which the readers read.
      flagged_share: share of all studies that are flagged.
      flagged_positive_share: share of the flagged studies that are positive; None where none is flagged.
      figures: measure by measure, group by group.
    """

    room: ReadingRoom
    days: int
    days_left_out: int
    replications: int
    seed: int
    utilisation: float
    flagged_share: float
    flagged_positive_share: float | None
    figures: tuple[Figure, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; None is "not estimable"."""
        return asdict(self)
