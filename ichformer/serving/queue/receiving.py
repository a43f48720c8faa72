"""What happens in the queue when instances come."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ichformer.serving.queue.database import Queue
from ichformer.serving.settings import LimitSettings

Arrived = Literal["new", "known", "other", "study_full", "node_full"]
"""It is new; it was there already; another one has its UID, and stays; or it is refused."""


@dataclass(frozen=True, kw_only=True)
class Instance:
    """An instance as the queue knows it.

    Attributes:
      study, name: of the study and of the instance (``names.Names``).
      digest: hash of its file.
      size: of the file, bytes.
      is_first: whether its study goes before others.
      expected: how many instances the study has, where the sender says so.
    """

    study: str
    name: str
    digest: str
    size: int
    is_first: bool
    expected: int | None


def arrive(queue: Queue, instance: Instance, *, at: float, limits: LimitSettings) -> Arrived:
    """Enter an instance whose file lies in its place already.

    One that is there already changes nothing but the time. The first instance of a study enters the study; a new one
    of a study that was scored begins another round.

    Args:
      queue: of the node.
      instance: what came.
      at: time, seconds.
      limits: what is refused.
    """
    key = (instance.study, instance.name)
    with queue.change() as change:
        known = change.execute("SELECT * FROM instances WHERE study = ? AND instance = ?", key).fetchone()
        if known is not None and known["digest"] != instance.digest:
            return "other"
        if known is not None and known["is_here"]:
            change.execute(
                "UPDATE studies SET last_at = max(last_at, ?), was_released = 0 "
                "WHERE study = ? AND state = 'receiving'",
                (at, instance.study),
            )
            return "known"
        count, size = change.execute(
            "SELECT count(*), coalesce(sum(bytes), 0) FROM instances WHERE study = ? AND is_here", key[:1]
        ).fetchone()
        if count >= limits.study_instances or size + instance.size > limits.study_mb * 1e6:
            return "study_full"
        (size,) = change.execute("SELECT coalesce(sum(bytes), 0) FROM instances WHERE is_here").fetchone()
        if size + instance.size > limits.waiting_mb * 1e6:
            return "node_full"
        change.execute(
            "INSERT INTO studies (study, state, is_first, expected, first_at, last_at) "
            "VALUES (?, 'receiving', ?, ?, ?, ?) ON CONFLICT (study) DO UPDATE SET "
            "is_first = max(is_first, excluded.is_first), expected = coalesce(excluded.expected, expected), "
            "last_at = max(last_at, excluded.last_at), was_released = 0, is_wiped = 0",
            (instance.study, instance.is_first, instance.expected, at, at),
        )
        if known is not None:
            change.execute("UPDATE instances SET is_here = 1 WHERE study = ? AND instance = ?", key)
            return "known"
        change.execute("INSERT INTO instances VALUES (?, ?, ?, ?, 1)", (*key, instance.digest, instance.size))
        change.execute(
            "UPDATE studies SET state = 'receiving', round = round + 1, tries = 0, reason = '', begun_at = NULL, "
            "ended_at = NULL, first_at = ? WHERE study = ? AND state <> 'receiving'",
            (at, instance.study),
        )
        change.execute(
            "DELETE FROM deliveries WHERE study = ? AND state = 'waiting' "
            "AND round < (SELECT round FROM studies WHERE study = ?)",
            (instance.study, instance.study),
        )
        return "new"


def released(queue: Queue, studies: Iterable[str]) -> None:
    """Note that the association ended in order that brought the last instances of some studies."""
    with queue.change() as change:
        change.executemany("UPDATE studies SET was_released = 1 WHERE study = ?", [(study,) for study in studies])
