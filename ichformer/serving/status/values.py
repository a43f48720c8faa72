"""The state of a node as values: what waits, what came of the last studies, and whether they are as they used to be."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from ichformer.serving.queue.database import Queue, is_switched_on
from ichformer.statistics.intervals import NOTHING, Estimate, rate_interval

STATES = ("receiving", "working", "sending", "done", "failed")
UNFAMILIAR_PERCENTILE = 95.0
"""Of scans like those of the training, one in twenty lies above it."""

_DAY_S = 86400.0
_LAST, _RECENT_DAYS, _EARLIER_DAYS = 25, 7, 28


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of a study.

    Attributes:
      study: its name in the node.
      at: when it was scored, seconds.
      state: raised, not raised, not scored.
      score: of the main label.
      familiarity: percentile.
      seconds_to_report: from its last image until all results were sent; None where they are not.
    """

    study: str
    at: float
    state: str
    score: float | None
    familiarity: float | None
    seconds_to_report: float | None


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A study without results, and why."""

    study: str
    at: float
    reason: str


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """What waits for a destination, what was given up, and why the last one did not arrive."""

    destination: str
    waiting: int
    failed: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Share:
    """A share of studies in the last days and in those before, with 95 % intervals (Wilson).

    Attributes:
      name: of what.
      recent, earlier: the shares.
      n_recent, n_earlier: numbers of studies.
    """

    name: str
    recent: Estimate
    earlier: Estimate
    n_recent: int
    n_earlier: int

    @property
    def has_changed(self) -> bool:
        """Whether the two intervals have nothing in common, which is a coarse sign of a change."""
        a, b = self.recent.interval, self.earlier.interval
        return a is not None and b is not None and (a.low > b.high or b.low > a.high)


@dataclass(frozen=True, kw_only=True)
class Status:
    """The state of a node.

    Attributes:
      paused, draining: its switches.
      counts: state -> number of studies.
      last: the last results, the newest first.
      failed: studies without results, the newest first.
      destinations: what waits for each.
      drift: shares that tell whether the studies are as they used to be.
    """

    paused: bool
    draining: bool
    counts: dict[str, int]
    last: tuple[Result, ...]
    failed: tuple[Failed, ...]
    destinations: tuple[Waiting, ...]
    drift: tuple[Share, ...]

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to do."""
        return not any(self.counts[state] for state in ("receiving", "working", "sending"))


def read_status(queue: Queue) -> Status:
    """The state of a node, from its queue."""
    counts = dict.fromkeys(STATES, 0) | dict(
        tuple(row) for row in queue.read("SELECT state, count(*) FROM studies GROUP BY state")
    )
    failed = queue.read(
        "SELECT study, ended_at, reason FROM studies WHERE state = 'failed' ORDER BY ended_at DESC LIMIT ?", _LAST
    )
    return Status(
        paused=is_switched_on(queue, "paused"),
        draining=is_switched_on(queue, "draining"),
        counts=counts,
        last=_last_results(queue),
        failed=tuple(Failed(study=one[0], at=one[1], reason=one[2]) for one in failed),
        destinations=_destinations(queue),
        drift=_drift(queue, now=time.time()),
    )


def shown_time(at: float) -> str:
    """A time in seconds as people read it, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))


def seconds_to_report(queue: Queue, *, last: int) -> list[float]:
    """From the last image of each of the last studies until all its results were sent, in seconds."""
    rows = queue.read(
        "SELECT s.ended_at - s.last_at FROM studies AS s JOIN results AS r USING (study, round) "
        "WHERE s.state = 'done' ORDER BY r.at DESC LIMIT ?",
        last,
    )
    return [row[0] for row in rows]


def _last_results(queue: Queue) -> tuple[Result, ...]:
    rows = queue.read(
        "SELECT study, r.at, r.state, r.score, r.familiarity, "
        "CASE WHEN s.state = 'done' THEN s.ended_at - s.last_at END "
        "FROM results AS r JOIN studies AS s USING (study, round) ORDER BY r.at DESC LIMIT ?",
        _LAST,
    )
    return tuple(
        Result(study=row[0], at=row[1], state=row[2], score=row[3], familiarity=row[4], seconds_to_report=row[5])
        for row in rows
    )


def _destinations(queue: Queue) -> tuple[Waiting, ...]:
    rows = queue.read(
        "SELECT destination, sum(state = 'waiting'), sum(state = 'failed'), "
        "max(CASE WHEN state <> 'sent' THEN reason ELSE '' END) FROM deliveries GROUP BY destination"
    )
    return tuple(Waiting(destination=row[0], waiting=row[1], failed=row[2], reason=row[3]) for row in rows)


def _drift(queue: Queue, *, now: float) -> tuple[Share, ...]:
    rows = queue.read(
        "SELECT r.at, r.state, r.familiarity FROM results AS r JOIN studies USING (study, round) WHERE r.at > ?",
        now - (_RECENT_DAYS + _EARLIER_DAYS) * _DAY_S,
    )
    is_recent = np.array([row[0] > now - _RECENT_DAYS * _DAY_S for row in rows], bool)
    state = np.array([row[1] for row in rows], object)
    familiarity = np.array([np.nan if row[2] is None else row[2] for row in rows], float)
    is_scored = state != "not scored"
    asked: list[tuple[str, Any, Any]] = [
        ("raised", state == "raised", is_scored),
        ("not scored", ~is_scored, np.ones_like(is_scored)),
        ("unfamiliar", familiarity > UNFAMILIAR_PERCENTILE, ~np.isnan(familiarity)),
    ]
    return tuple(
        Share(
            name=name,
            recent=_share(true[of & is_recent]),
            earlier=_share(true[of & ~is_recent]),
            n_recent=int((of & is_recent).sum()),
            n_earlier=int((of & ~is_recent).sum()),
        )
        for name, true, of in asked
    )


def _share(true: np.ndarray) -> Estimate:
    if not true.size:
        return NOTHING
    return Estimate(value=float(true.mean()), interval=rate_interval(true.astype(bool), np.arange(true.size)))
