"""What happens in the queue when studies are scored."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ichformer.serving.queue.database import Queue, Round, is_current, is_switched_on, move
from ichformer.serving.settings import StudySettings


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was found in a study.

    Attributes:
      state: of its scan; the strongest where it has several.
      score: of the main label; None where it was not scored.
      familiarity: percentile; None where it is not known.
      seconds: that scoring took.
    """

    state: Literal["raised", "not raised", "not scored"]
    score: float | None
    familiarity: float | None
    seconds: float


def claim(queue: Queue, *, at: float, when: StudySettings) -> Round | None:
    """Take on a complete study: of those that go first the one that has waited longest.

    Args:
      queue: of the node.
      at: time, seconds.
      when: says when a study is complete.

    Returns:
      None where no study is complete, and while the node is paused.
    """
    if is_switched_on(queue, "paused"):
        return None
    with queue.change() as change:
        found = change.execute(
            "SELECT study, round FROM studies AS s WHERE state = 'receiving' AND ("
            "last_at <= ? - CASE WHEN was_released THEN ? ELSE ? END "
            "OR expected <= (SELECT count(*) FROM instances AS i WHERE i.study = s.study AND is_here)) "
            "ORDER BY is_first DESC, first_at LIMIT 1",
            (at, when.quiet_s, when.cut_short_s),
        ).fetchone()
        if found is None:
            return None
        change.execute(
            "UPDATE studies SET state = 'working', begun_at = ?, tries = tries + 1 WHERE study = ?",
            (at, found["study"]),
        )
        return Round(study=found["study"], number=found["round"])


def lacking(queue: Queue, study: str) -> int:
    """How many instances of a study were deleted after an earlier round, and did not come again."""
    return queue.read("SELECT count(*) FROM instances WHERE study = ? AND NOT is_here", study)[0][0]


def scored(queue: Queue, of: Round, outcome: Outcome, *, at: float, destinations: Sequence[str]) -> bool:
    """Enter the result of a study, and where it is to be sent.

    Returns:
      False where the study has grown meanwhile: the result counts no more.
    """
    with queue.change() as change:
        if not is_current(change, of):
            return False
        change.execute(
            "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?, ?, ?)",
            (of.study, of.number, at, outcome.state, outcome.score, outcome.familiarity, outcome.seconds),
        )
        change.execute(
            "INSERT INTO counts VALUES (?, 1) ON CONFLICT (result) DO UPDATE SET count = count + 1", (outcome.state,)
        )
        change.executemany(
            "INSERT OR REPLACE INTO deliveries (study, round, destination, state) VALUES (?, ?, ?, 'waiting')",
            [(of.study, of.number, one) for one in destinations],
        )
        move(change, of.study, "sending" if destinations else "done", at=at)
        return True


def not_scored(queue: Queue, of: Round, reason: str, *, at: float) -> bool:
    """Enter why a study cannot be scored; False where it has grown meanwhile."""
    with queue.change() as change:
        if not is_current(change, of):
            return False
        move(change, of.study, "failed", at=at, reason=reason)
        return True


def give_back(queue: Queue, *, at: float, tries: int, was_planned: bool = False) -> list[tuple[str, bool]]:
    """Give back what a worker had taken on, as its process has ended; a study with which this happens often fails.

    Args:
      queue: of the node.
      at: time, seconds.
      tries: so often.
      was_planned: the node ended the process with itself, which is not the study's fault and does not count.

    Returns:
      Each study, and whether it is tried again.
    """
    with queue.change() as change:
        found = change.execute("SELECT study, tries FROM studies WHERE state = 'working'").fetchall()
        again = [(study, was_planned or count < tries) for study, count in found]
        for (study, count), (_, is_tried_again) in zip(found, again, strict=True):
            if is_tried_again:
                change.execute(
                    "UPDATE studies SET state = 'receiving', begun_at = NULL, tries = tries - ? WHERE study = ?",
                    (was_planned, study),
                )
            else:
                move(change, study, "failed", at=at, reason=f"worker_ended: the worker ended with it {count} times")
        return again


def give_up(queue: Queue, reason: str, *, at: float) -> list[str]:
    """Give up what a worker has taken on, and say why; the names of the studies."""
    with queue.change() as change:
        found = [row[0] for row in change.execute("SELECT study FROM studies WHERE state = 'working'")]
        for study in found:
            move(change, study, "failed", at=at, reason=reason)
        return found


def working_since(queue: Queue) -> float | None:
    """When the study was begun that is scored now; None where none is."""
    return queue.read("SELECT min(begun_at) FROM studies WHERE state = 'working'")[0][0]
