"""Times to notification and to the report with and without triage, from simulated days of a reading room."""

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float64
from scipy.stats import t as student

from ichformer.errors import InputError
from ichformer.settings import check_ranges, fit
from ichformer.statistics.intervals import NOTHING, Estimate, Interval
from ichformer.triage.formulas import expected_waits
from ichformer.triage.queue import reading_starts
from ichformer.triage.results import GROUPS, MEASURES, Figure, Measure, Statistic, TriageSimulation
from ichformer.triage.room import ReadingRoom

MAX_STUDIES = 3_000_000
"""Most studies of a simulation, those that are left out among them: it takes about 20 seconds."""

MIN_STUDIES = 20
"""With fewer studies of a group in a replication, its median and its 95th percentile say little."""

MINUTES_OF_A_DAY = 1440

_RELAXATIONS_LEFT_OUT = 5
"""Relaxation times at each end that no study is counted from: after five, e^-5 of the empty start is left."""


def simulate_triage(room: ReadingRoom, *, days: int = 100, replications: int = 20, seed: int = 0) -> TriageSimulation:
    """Simulate a reading room with and without triage, on the same studies.

    The room starts empty. Studies of the first days are left out until this no longer matters, and so are those of the
    last days, as later ones may be read before them. How many days that takes follows from the utilisation.

    The model is that of Thompson et al., Queueing Systems 2024;108:579-610, who give the mean waits by formulas:
    studies come at a constant rate around the clock, a reading is not interrupted, and positive and negative studies
    take equally long.

    Example:
      >>> room = ReadingRoom(studies_per_hour=5, reading_minutes=9, prevalence=0.1, sensitivity=0.9, specificity=0.8)
      >>> found = simulate_triage(room, days=10, replications=5)
      >>> first = found.figures[0]
      >>> first.measure, first.group, first.statistic, round(first.formula_without_triage)
      ('wait', 'all', 'mean', 27)

    Args:
      room: the reading room.
      days: days that are counted in each replication, at least 1.
      replications: independent simulations, at least 5: intervals are over these.
      seed: of the random numbers, 0 or more.

    Raises:
      InputError: a number out of range, or more than ``MAX_STUDIES`` studies.
    """
    for name, value, least in (("days", days, 1), ("replications", replications, 5), ("seed", seed, 0)):
        check_ranges("--", (name, fit(int, value, where=f"--{name}"), value >= least, f"at least {least}"))
    left_out = days_to_leave_out(room)
    expected = room.studies_per_minute * MINUTES_OF_A_DAY * (days + 2 * left_out) * replications
    if expected > MAX_STUDIES:
        ends = f"{left_out} days are left out at each end, as the utilisation is {room.utilisation:.4g}"
        raise InputError(
            f"about {expected:,.0f} studies would be simulated, more than {MAX_STUDIES:,}; {ends}",
            where="--days",
            fix="give fewer --days, fewer --replications, or a room that is less busy",
        )
    flagged = room.flagged_share
    seeds = np.random.SeedSequence(seed).spawn(replications)
    of_each = [_replication(room, days, left_out, np.random.default_rng(one)) for one in seeds]
    return TriageSimulation(
        room=room,
        days=days,
        days_left_out=left_out,
        replications=replications,
        seed=seed,
        utilisation=room.utilisation,
        flagged_share=flagged,
        flagged_positive_share=room.prevalence * room.sensitivity / flagged if flagged else None,
        figures=tuple(_figures(room, of_each)),
    )


def days_to_leave_out(room: ReadingRoom) -> int:
    """Whole days after which it no longer matters that the room was empty: five relaxation times.

    The relaxation time of M/M/1 is 1 / (mu (1 - sqrt(rho))^2). Other times stretch it by (1 + squared variation) / 2,
    as they do in heavy traffic, and several readers are taken as one who is as fast as all of them.

    Source: Cohen, The Single Server Queue 1982 (relaxation time); Whitt, Management Science 1989;35:1341-1366, who
    plans simulations by it.
    """
    fastest = room.reading_minutes / room.readers
    relaxation = fastest / (1 - math.sqrt(room.utilisation)) ** 2 * (1 + room.squared_variation) / 2
    slowest = max(relaxation, room.reading_minutes, room.ai_minutes)
    return math.ceil(_RELAXATIONS_LEFT_OUT * slowest / MINUTES_OF_A_DAY)


_Replication = dict[tuple[Measure, str, Statistic], tuple[int, float, float]]
"""The number of studies, and the statistic without and with triage; NaN where too few studies are of the group."""


def _replication(room: ReadingRoom, days: int, left_out: int, rng: np.random.Generator) -> _Replication:
    length = float((days + 2 * left_out) * MINUTES_OF_A_DAY)
    n = int(rng.poisson(room.studies_per_minute * length))
    arrival = np.sort(rng.uniform(0, length, n))
    duration = _durations(room, n, rng)
    positive = rng.uniform(size=n) < room.prevalence
    flagged = rng.uniform(size=n) < np.where(positive, room.sensitivity, 1 - room.specificity)
    flagged_at = np.where(flagged, arrival + room.ai_minutes, np.inf)
    never = np.full(n, np.inf)
    first, last = left_out * MINUTES_OF_A_DAY, (left_out + days) * MINUTES_OF_A_DAY
    counted = (arrival >= first) & (arrival < last)
    arms: list[dict[Measure, Float64[np.ndarray, " n"]]] = []
    for urgent_from in (never, flagged_at):
        wait = reading_starts(arrival, duration, urgent_from, readers=room.readers) - arrival
        report = wait + duration
        arms.append({"wait": wait, "report": report, "notification": np.minimum(report, urgent_from - arrival)})
    found: _Replication = {}
    for group, members in _groups(positive, flagged).items():
        chosen = members & counted
        for measure in MEASURES:
            if measure == "notification" and not group.startswith("positive"):
                continue
            of_arms = [_statistics(arm[measure][chosen]) for arm in arms]
            for statistic, value in of_arms[0].items():
                found[measure, group, statistic] = int(chosen.sum()), value, of_arms[1][statistic]
    return found


def _durations(room: ReadingRoom, n: int, rng: np.random.Generator) -> Float64[np.ndarray, " n"]:
    if room.reading_times == "exponential":
        return rng.exponential(room.reading_minutes, n)
    if room.reading_times == "deterministic":
        return np.full(n, float(room.reading_minutes))
    of_log = math.log1p(room.squared_variation)  # the variance of the logarithm
    return rng.lognormal(math.log(room.reading_minutes) - of_log / 2, math.sqrt(of_log), n)


def _groups(positive: Bool[np.ndarray, " n"], flagged: Bool[np.ndarray, " n"]) -> dict[str, Bool[np.ndarray, " n"]]:
    masks = (positive | ~positive, positive, positive & flagged, positive & ~flagged, ~positive)
    return dict(zip(GROUPS, masks, strict=True))


def _statistics(minutes: Float64[np.ndarray, " n"]) -> dict[Statistic, float]:
    middle, high = np.quantile(minutes, [0.5, 0.95]) if minutes.size >= MIN_STUDIES else (math.nan, math.nan)
    return {
        "mean": float(minutes.mean()) if minutes.size else math.nan,
        "median": float(middle),
        "percentile_95": float(high),
    }


def _figures(room: ReadingRoom, of_each: list[_Replication]) -> Iterator[Figure]:
    exact = _exact_waits(room)
    keys = sorted(of_each[0], key=lambda key: (list(MEASURES).index(key[0]), GROUPS.index(key[1])))
    for measure, group, statistic in keys:
        rows = np.array([one[measure, group, statistic] for one in of_each], np.float64)
        studies = int(rows[:, 0].sum())
        if not studies:  # nobody misses what a perfect flag finds
            continue
        formulas = exact.get(group, (None, None)) if statistic == "mean" and measure != "notification" else (None, None)
        reading = room.reading_minutes if measure == "report" else 0.0
        yield Figure(
            measure=measure,
            group=group,
            statistic=statistic,
            studies=studies,
            without_triage=_estimate(rows[:, 1]),
            with_triage=_estimate(rows[:, 2]),
            difference=_estimate(rows[:, 2] - rows[:, 1]),
            formula_without_triage=None if formulas[0] is None else formulas[0] + reading,
            formula_with_triage=None if formulas[1] is None else formulas[1] + reading,
        )


def _exact_waits(room: ReadingRoom) -> dict[str, tuple[float, float]]:
    """Group -> its exact mean wait without and with triage; empty where there is no formula."""
    waits = expected_waits(room)
    if waits is None:
        return {}
    flagged_shares = (room.flagged_share, room.sensitivity, 1.0, 0.0, 1 - room.specificity)
    return {
        group: (waits.without_triage, share * waits.flagged + (1 - share) * waits.not_flagged)
        for group, share in zip(GROUPS, flagged_shares, strict=True)
    }


def _estimate(values: Float64[np.ndarray, " replications"]) -> Estimate:
    """The mean over replications with Student's 95 % interval; not estimable where a replication has no value."""
    if np.isnan(values).any():
        return NOTHING
    mean, error = float(values.mean()), float(values.std(ddof=1)) / math.sqrt(values.size)
    half = float(student.ppf(0.975, values.size - 1)) * error
    interval = Interval(low=mean - half, high=mean + half, method="Student, independent replications")
    return Estimate(value=mean, interval=interval)
