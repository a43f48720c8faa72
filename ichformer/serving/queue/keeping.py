"""What is deleted from the queue, and what is tried again."""

from ichformer.serving.queue.database import Queue


def to_wipe(queue: Queue, *, before: float) -> list[str]:
    """Studies that ended before a time, and whose files are still there."""
    rows = queue.read(
        "SELECT study FROM studies WHERE state IN ('done', 'failed') AND NOT is_wiped AND ended_at <= ?", before
    )
    return [row["study"] for row in rows]


def wipe(queue: Queue, study: str, *, before: float) -> bool:
    """Enter that the files of a study are deleted; False where it has begun another round meanwhile.

    Call it before they are: what is left of them by a process that was killed is found by ``is_known``.
    """
    with queue.change() as change:
        is_wiped = change.execute(
            "UPDATE studies SET is_wiped = 1 WHERE study = ? AND state IN ('done', 'failed') AND ended_at <= ?",
            (study, before),
        ).rowcount
        if is_wiped:
            change.execute("UPDATE instances SET is_here = 0 WHERE study = ?", (study,))
        return bool(is_wiped)


def is_kept(queue: Queue, study: str) -> bool:
    """Whether the files of a study have to be there."""
    return bool(queue.read("SELECT 1 FROM studies WHERE study = ? AND NOT is_wiped", study))


def forget(queue: Queue, *, before: float) -> int:
    """Delete all that is known of studies that ended before a time, and count them."""
    with queue.change() as change:
        return change.execute("DELETE FROM studies WHERE is_wiped AND ended_at <= ?", (before,)).rowcount


def try_again(queue: Queue, study: str) -> bool:
    """Let a failed study be scored again, or its results be sent again; False where there is no such study."""
    with queue.change() as change:
        row = change.execute(
            "SELECT round FROM studies WHERE study = ? AND state = 'failed' AND NOT is_wiped", (study,)
        ).fetchone()
        if row is None:
            return False
        deliveries = change.execute(
            "UPDATE deliveries SET state = 'waiting', not_before = 0, tries = 0 "
            "WHERE study = ? AND round = ? AND state = 'failed'",
            (study, row["round"]),
        ).rowcount
        change.execute(
            "UPDATE studies SET state = ?, tries = 0, reason = '', ended_at = NULL WHERE study = ?",
            ("sending" if deliveries else "receiving", study),
        )
        return True
