"""What happens in the queue when results are sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ichformer.serving.queue.database import Queue, Round, is_switched_on, move


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """Results that wait for a destination; ``tries`` counts those that have failed."""

    of: Round
    destination: str
    tries: int


def next_delivery(queue: Queue, *, at: float, destinations: Sequence[str]) -> Delivery | None:
    """The delivery that has waited longest, to one of some destinations; None at a pause too."""
    if is_switched_on(queue, "paused"):
        return None
    found = queue.read(
        "SELECT study, round, destination, tries FROM deliveries WHERE state = 'waiting' AND not_before <= ? "
        f"AND destination IN ({', '.join('?' * len(destinations))}) ORDER BY not_before, study LIMIT 1",
        at,
        *destinations,
    )
    if not found:
        return None
    study, number, destination, tries = found[0]
    return Delivery(of=Round(study=study, number=number), destination=destination, tries=tries)


def sent(queue: Queue, delivery: Delivery, *, at: float) -> None:
    """Enter that results have arrived; the study is done when all of them have."""
    _settle(queue, delivery, "state = 'sent', sent_at = ?, reason = ''", (at,), at=at)


def not_sent(queue: Queue, delivery: Delivery, reason: str, *, at: float, again_at: float | None) -> None:
    """Enter why results did not arrive, and when they are sent again; None gives them up."""
    state = "failed" if again_at is None else "waiting"
    what = "state = ?, not_before = ?, reason = ?, tries = tries + 1"
    _settle(queue, delivery, what, (state, again_at or 0.0, reason), at=at)


def give_up_others(queue: Queue, destinations: Sequence[str], *, at: float) -> int:
    """Give up what waits for destinations that are no longer among ``destinations``, and count it."""
    rows = queue.read("SELECT study, round, destination, tries FROM deliveries WHERE state = 'waiting'")
    others = [row for row in rows if row["destination"] not in destinations]
    for study, number, destination, tries in others:
        delivery = Delivery(of=Round(study=study, number=number), destination=destination, tries=tries)
        not_sent(queue, delivery, "the settings name this destination no more", at=at, again_at=None)
    return len(others)


def _settle(queue: Queue, delivery: Delivery, what: str, values: tuple[Any, ...], *, at: float) -> None:
    study, number = delivery.of.study, delivery.of.number
    with queue.change() as change:
        change.execute(
            f"UPDATE deliveries SET {what} WHERE study = ? AND round = ? AND destination = ? AND state = 'waiting'",
            (*values, study, number, delivery.destination),
        )
        row = change.execute("SELECT state, round FROM studies WHERE study = ?", (study,)).fetchone()
        if row is None or row["state"] != "sending" or row["round"] != number:
            return
        question = "SELECT state FROM deliveries WHERE study = ? AND round = ? AND state <> 'sent'"
        left = change.execute(question, (study, number)).fetchall()
        if not left:
            move(change, study, "done", at=at)
        elif all(one["state"] == "failed" for one in left):
            move(change, study, "failed", at=at, reason="not_sent: a destination did not take the results")
