"""A reading room: how often studies come, who reads them, and how well they are flagged."""

from dataclasses import dataclass
from typing import Literal

from ichformer.errors import InputError
from ichformer.settings import check_ranges, check_settings

ReadingTimes = Literal["exponential", "deterministic", "lognormal"]


@dataclass(frozen=True, kw_only=True)
class ReadingRoom:
    """Studies that arrive at random and are read by radiologists, each by one of them and without interruption.

    Example:
      >>> room = ReadingRoom(studies_per_hour=5, reading_minutes=9, prevalence=0.1, sensitivity=0.9, specificity=0.8)
      >>> room.utilisation, round(room.flagged_share, 3)
      (0.75, 0.27)

    Attributes:
      studies_per_hour: Studies that arrive in an hour, on average, around the clock (a Poisson process).
      reading_minutes: Minutes that reading a study takes, on average.
      prevalence: Share of the studies that are truly positive, 0 to 1.
      sensitivity: Share of the positive studies that are flagged, 0 to 1.
      specificity: Share of the negative studies that are not flagged, 0 to 1.
      readers: Number of radiologists who read from one list.
      reading_times: How reading times spread. Take lognormal with --variation where you measured them.
      variation: Standard deviation of the reading time divided by its mean, with lognormal times only.
      ai_minutes: Minutes from the arrival of a study to its flag. Then a flagged study moves up, and somebody is
        notified.

    Raises:
      InputError: a value out of range, a variation that does not go with the times, or more work than can be done.
    """

    studies_per_hour: float
    reading_minutes: float
    prevalence: float
    sensitivity: float
    specificity: float
    readers: int = 1
    reading_times: ReadingTimes = "exponential"
    variation: float | None = None
    ai_minutes: float = 0.0

    def __post_init__(self) -> None:
        """InputError for what no reading room can be."""
        check_settings(self, "--")
        shares = [
            (name, value, 0 <= value <= 1, "a share from 0 to 1")
            for name, value in (
                ("prevalence", self.prevalence),
                ("sensitivity", self.sensitivity),
                ("specificity", self.specificity),
            )
        ]
        check_ranges(
            "--",
            ("studies_per_hour", self.studies_per_hour, self.studies_per_hour > 0, "more than 0"),
            ("reading_minutes", self.reading_minutes, self.reading_minutes > 0, "more than 0"),
            *shares,
            ("readers", self.readers, 1 <= self.readers <= 1000, "1 to 1000"),
            ("ai_minutes", self.ai_minutes, self.ai_minutes >= 0, "0 or more"),
        )
        if (self.reading_times == "lognormal") != (self.variation is not None):
            fix = "give it too, such as 0.8" if self.variation is None else "leave one of them out"
            raise InputError("goes with --reading-times lognormal", where="--variation", fix=fix)
        if self.variation is not None:
            check_ranges("--", ("variation", self.variation, 0 < self.variation <= 10, "more than 0, at most 10"))
        if self.utilisation >= 1:
            raise InputError(
                f"the utilisation is {self.utilisation:.3g}: studies come faster than they are read, and waits grow "
                "without end",
                where="reading room",
                fix="give fewer --studies-per-hour, fewer --reading-minutes or more --readers, for less than 1",
            )

    @property
    def studies_per_minute(self) -> float:
        """Studies that arrive in a minute, on average."""
        return self.studies_per_hour / 60

    @property
    def utilisation(self) -> float:
        """Share of their time in which the readers read."""
        return self.studies_per_minute * self.reading_minutes / self.readers

    @property
    def flagged_share(self) -> float:
        """Share of all studies that are flagged, rightly or not."""
        return self.prevalence * self.sensitivity + (1 - self.prevalence) * (1 - self.specificity)

    @property
    def squared_variation(self) -> float:
        """Variance of the reading time divided by its squared mean: 1 for exponential times, 0 where all are equal."""
        if self.variation is not None:
            return self.variation**2
        return 1.0 if self.reading_times == "exponential" else 0.0
