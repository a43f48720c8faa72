"""Mean waits in queues whose first class is served before the others, where the literature has an exact formula."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from ichformer.triage.room import ReadingRoom


@dataclass(frozen=True, kw_only=True)
class ExpectedWaits:
    """Mean minutes from arrival until reading starts, in the long run.

    Attributes:
      without_triage: of every study, where they are read in the order of arrival.
      flagged: of flagged studies, where these are read first.
      not_flagged: of all others then.
    """

    without_triage: float
    flagged: float
    not_flagged: float


def expected_waits(room: ReadingRoom) -> ExpectedWaits | None:
    """The exact mean waits of a reading room.

    Example:
      >>> room = ReadingRoom(studies_per_hour=3, reading_minutes=10, prevalence=0.2, sensitivity=1, specificity=1)
      >>> found = expected_waits(room)
      >>> round(found.without_triage, 3), round(found.flagged, 3), round(found.not_flagged, 3)
      (10.0, 5.556, 11.111)

    Returns:
      None where no exact formula is known: flags that come later than the study, or several readers whose times are not
      exponential.
    """
    if room.ai_minutes > 0 or (room.readers > 1 and room.reading_times != "exponential"):
        return None
    flagged = room.flagged_share
    both, one = (room.studies_per_minute * np.array(shares) for shares in ([flagged, 1 - flagged], [1.0]))

    def waits(per_minute: Float64[np.ndarray, " classes"]) -> list[float]:
        if room.readers > 1:
            return mmc_priority_waits(per_minute, room.reading_minutes, servers=room.readers).tolist()
        squared = room.reading_minutes**2 * (1 + room.squared_variation)
        return mg1_priority_waits(per_minute, room.reading_minutes, squared).tolist()

    (without_triage,), (first, other) = waits(one), waits(both)
    return ExpectedWaits(without_triage=without_triage, flagged=first, not_flagged=other)


def mg1_priority_waits(
    rates: Float64[np.ndarray, " classes"], mean: float, mean_square: float
) -> Float64[np.ndarray, " classes"]:
    """Mean waits in M/G/1 with priorities without interruption, M/M/1 and M/D/1 among them.

    With one class it is the formula of Pollaczek and Khinchine.

    Source: Cobham, Operations Research 1954;2:70-76.

    Args:
      rates: arrivals of each class in a unit of time, the first class first.
      mean: time of a service, the same for every class.
      mean_square: mean of the squared time of a service.
    """
    return _by_class(float(rates.sum()) * mean_square / 2, rates * mean)


def mmc_priority_waits(
    rates: Float64[np.ndarray, " classes"], mean: float, *, servers: int
) -> Float64[np.ndarray, " classes"]:
    """Mean waits in M/M/c with priorities without interruption; every class has the same exponential service.

    Source: Cobham, Operations Research 1954;2:70-76; Kella, Yechiali, Communications in Statistics, Stochastic Models
    1985;1:257-262, who have the whole distribution.

    Args:
      rates: arrivals of each class in a unit of time, the first class first.
      mean: time of a service.
      servers: how many there are.
    """
    busy = rates * mean / servers
    return _by_class(erlang_c(float(busy.sum()) * servers, servers) * mean / servers, busy)


def erlang_c(load: float, servers: int) -> float:
    """The probability that an arrival at M/M/c has to wait, from the recursion of Erlang's loss formula.

    Source: Cooper, Introduction to Queueing Theory 1981, chapter 3.

    Args:
      load: arrivals in the time of a service, less than ``servers``.
      servers: how many there are.
    """
    lost = 1.0
    for server in range(1, servers + 1):
        lost = load * lost / (server + load * lost)
    return lost / (1 - load / servers * (1 - lost))


def _by_class(delay: float, busy: Float64[np.ndarray, " classes"]) -> Float64[np.ndarray, " classes"]:
    """From the mean time until a server is free to the waits of the classes; ``busy`` is the utilisation by each."""
    up_to = np.cumsum(busy)
    return delay / ((1 - (up_to - busy)) * (1 - up_to))
