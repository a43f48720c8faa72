"""The durable queue of a node: an SQLite file that says of each study what was done, and what is still to do.

Every change is one transaction, so that a process may be killed at any moment. A study goes its way in five states:

  receiving -> working -> sending -> done
                      `-> failed     (also from sending)

A study that grows after it left the first state begins another round there. What an earlier round made of it is not
sent any more.
"""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ichformer.errors import InputError

QUEUE_NAME = "queue.sqlite"
_SCHEMA = Path(__file__).with_name("schema.sql")
_BUSY_S = 60.0

State = Literal["receiving", "working", "sending", "done", "failed"]
Switch = Literal["paused", "draining"]


@dataclass(frozen=True, kw_only=True)
class Round:
    """A round of a study: what a worker has taken on, and what results belong to."""

    study: str
    number: int


class Queue:
    """The queue in a folder, for all threads of a process; other processes may have it open as well."""

    def __init__(self, folder: Path):
        """Open the queue, or make it."""
        self._file, self._local = folder / QUEUE_NAME, threading.local()
        self._file.touch(mode=0o600)  # the files that SQLite puts beside it take over who may read it
        try:
            self._connection().executescript(_SCHEMA.read_text(encoding="utf-8"))
        except sqlite3.DatabaseError as error:
            raise InputError(f"is no queue ({error})", where=self._file, fix="move it away, and begin anew") from None

    def read(self, question: str, *values: object) -> list[sqlite3.Row]:
        """Rows that answer a question in SQL; nothing is changed."""
        return self._connection().execute(question, values).fetchall()

    @contextlib.contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """One transaction, on the disk at the end of the block; an exception undoes it."""
        connection = self._connection()
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Close the connection of this thread."""
        if (connection := getattr(self._local, "connection", None)) is not None:
            connection.close()
            del self._local.connection

    def _connection(self) -> sqlite3.Connection:
        """That of this thread: SQLite's connections are not shared."""
        if getattr(self._local, "connection", None) is None:
            # No isolation level: transactions begin where ``change`` says so, and at nothing else.
            made = sqlite3.connect(self._file, timeout=_BUSY_S, isolation_level=None)
            made.row_factory = sqlite3.Row
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
                made.execute(f"PRAGMA {pragma}")
            self._local.connection = made
        return self._local.connection


def is_current(change: sqlite3.Connection, of: Round) -> bool:
    """Whether a round that is worked on is still the study's: it has not grown meanwhile."""
    row = change.execute("SELECT state, round FROM studies WHERE study = ?", (of.study,)).fetchone()
    return row is not None and row["state"] == "working" and row["round"] == of.number


def move(change: sqlite3.Connection, study: str, state: State, *, at: float, reason: str = "") -> None:
    """Move a study to a state that comes after "working"."""
    ended_at = at if state in ("done", "failed") else None
    change.execute(
        "UPDATE studies SET state = ?, ended_at = ?, reason = ? WHERE study = ?", (state, ended_at, reason, study)
    )


def set_switch(queue: Queue, name: Switch, *, is_on: bool) -> None:
    """Turn a switch on or off; see ``is_switched_on``."""
    with queue.change() as change:
        if is_on:
            change.execute("INSERT OR REPLACE INTO switches VALUES (?)", (name,))
        else:
            change.execute("DELETE FROM switches WHERE name = ?", (name,))


def is_switched_on(queue: Queue, name: Switch) -> bool:
    """Whether the node is paused (nothing is scored or sent), or drains (it ends when nothing is left to do)."""
    return bool(queue.read("SELECT 1 FROM switches WHERE name = ?", name))
