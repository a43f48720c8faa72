"""A lease keeps a folder for one process: a small file that its holder refreshes while it works there.

A lease is known by its number, ``.lease.1``, ``.lease.2``; the highest counts. A number is made with a hard link, which
only one of several can succeed in, on network file systems too. Who finds the highest one abandoned makes the next, so
that of two who find it at once one wins, and the old holder sees that it was replaced.

Abandoned is a lease whose process is dead, where that can be seen: on the same machine since its start, in the same PID
namespace. Elsewhere it is one that nobody refreshed for ``BOUND_S`` while somebody watched. A clock alone decides
nothing, as those of two machines may differ.
"""

import contextlib
import math
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ichformer.errors import InputError, Stopped, fixable, one_line
from ichformer.files.holder import Holder, is_dead, is_on_this_machine, this_process
from ichformer.files.lease_files import lease_numbers, lease_path, make_lease, mark_of, marks_in, read_holder

BEAT_S = 10.0
"""Between two refreshments of a lease."""

BOUND_S = 60.0
"""A lease that was not refreshed for so long is abandoned: some missed beats, for a busy machine or file system."""

_TRIES, _BETWEEN_TRIES_S = 5, 0.1


class Held(InputError):  # noqa: N818 - like Stopped
    """Another process works in the folder."""


class Lease:
    """A lease that this process holds; see ``hold``."""

    def __init__(self, folder: Path, number: int, holder: Holder, *, beat_s: float):
        self._folder, self._path, self._holder, self._beat_s = folder, lease_path(folder, number), holder, beat_s
        self._number, self._confirmed = number, _clock()
        self._stop = threading.Event()
        # A daemon: it never keeps a process alive.
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._thread.start()

    def confirm(self) -> None:
        """Check that the lease is still ours; call it before something is written. It costs next to nothing.

        Raises:
          InputError: the lease is no longer ours, as this process was suspended for long, or the folder is gone.
        """
        if _clock() - self._confirmed <= 2 * self._beat_s or self._is_ours():
            return
        now = max(lease_numbers(self._folder), default=None)
        if now is None:
            raise InputError(
                f"the lease of this {self._holder.what} is gone, so another may work there",
                where=self._folder,
                fix="leave the files .lease.* of a folder alone while it is in use, and start again",
            )
        raise InputError(
            f"this {self._holder.what} gave no sign of life for too long, "
            f"and {_name(read_holder(lease_path(self._folder, now)))} took the folder over",
            where=self._folder,
            fix="let that one go on; this one can be started again when it has ended",
        )

    def release(self) -> None:
        """Stop refreshing the lease, and delete its file if it is still ours."""
        self._stop.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            if read_holder(self._path) == self._holder:
                self._path.unlink()

    def _beat(self) -> None:
        while not self._stop.wait(self._beat_s):
            # A file system that does not answer now may later; and ``confirm`` asks again.
            with contextlib.suppress(OSError):
                if not self._is_ours():
                    return

    def _is_ours(self) -> bool:
        """Whether the lease is still ours; refreshes it if so."""
        began = _clock()
        ours = read_holder(self._path) == self._holder and self._is_highest()
        if ours:
            with contextlib.suppress(FileNotFoundError):
                os.utime(self._path)  # writes no data, so that a full disk does not matter
        self._confirmed = began if ours else -math.inf
        return ours

    def _is_highest(self) -> bool:
        """Whether no higher number stays; one that appears for a moment belongs to a process that withdraws."""
        for _ in range(_TRIES):
            if max(lease_numbers(self._folder), default=None) == self._number:
                return True
            time.sleep(_BETWEEN_TRIES_S)
        return False


@contextlib.contextmanager
def hold(
    folder: Path,
    *,
    what: str,
    is_told_to_stop: Callable[[], bool] = lambda: False,
    beat_s: float = BEAT_S,
    bound_s: float = BOUND_S,
) -> Iterator[Lease]:
    """Keep ``folder`` for this process inside the block; the folder is made where it is missing.

    An abandoned lease is taken over. Where the holder cannot be seen from here, it is watched: at its first sign of
    life this process is refused; after ``bound_s`` of silence it takes over, and what it waits for is said on standard
    error.

    Args:
      folder: the folder.
      what: the work, in one word, for messages.
      is_told_to_stop: asked while it waits.
      beat_s: seconds between two signs of life.
      bound_s: seconds of silence after which a lease is abandoned.

    Raises:
      InputError: another process works there, or the folder cannot be made or written to.
      Stopped: ``is_told_to_stop`` said so while it waited.
    """
    folder = folder.absolute()  # the working directory may change
    with fixable(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise InputError("is a file", where=folder, fix="name a folder") from None
        lease = _take(folder, what, is_told_to_stop, beat_s, bound_s)
    try:
        yield lease
    except Exception:
        lease.confirm()  # whatever failed, if another works there by now, that is why
        raise
    finally:
        lease.release()


def is_held(folder: Path, *, what: str, bound_s: float = BOUND_S) -> bool:
    """Whether a process does this work in a folder: whether there is a lease for it that is not abandoned.

    The lease is read once: where the holder is another machine, its clock has to be right to ``bound_s``.
    """
    numbers = lease_numbers(folder)
    if not numbers:
        return False
    path = lease_path(folder, max(numbers))
    holder, mark = read_holder(path), mark_of(path)
    if mark is None or holder is None or holder.what != what or is_dead(holder):
        return False
    return is_on_this_machine(holder) or time.time() - mark[0] / 1e9 < bound_s


def is_lease(path: Path) -> bool:
    """Whether a file in a folder is a lease, or on its way to be one, and not part of what the folder holds."""
    return path.name.startswith(".lease.")


def _take(folder: Path, what: str, is_told_to_stop: Callable[[], bool], beat_s: float, bound_s: float) -> Lease:
    me = this_process(what)
    while True:
        before = marks_in(folder)
        latest = max(before, default=0)
        if latest:
            _wait_until_abandoned(folder, latest, is_told_to_stop, beat_s, bound_s)
        if not make_lease(lease_path(folder, latest + 1), me):
            continue  # another was faster
        others = {number: mark for number, mark in marks_in(folder).items() if number != latest + 1}
        if others.items() <= before.items():
            break
        # The last holder ended in order meanwhile, and another began: at 1, or at a number that we found
        # abandoned, as numbers come again. Who sees that steps back.
        lease_path(folder, latest + 1).unlink(missing_ok=True)
        time.sleep(random.uniform(0, 0.5))
    lease = Lease(folder, latest + 1, me, beat_s=beat_s)
    for number in before:
        lease_path(folder, number).unlink(missing_ok=True)
    for begun in folder.glob(".lease.*.tmp"):
        mark = mark_of(begun)
        if mark is not None and time.time() - mark[0] / 1e9 > bound_s:
            begun.unlink(missing_ok=True)  # left by one that was killed
    return lease


def _wait_until_abandoned(
    folder: Path, number: int, is_told_to_stop: Callable[[], bool], beat_s: float, bound_s: float
) -> None:
    """Wait until a lease is abandoned or gone; raise InputError when it is alive."""
    path = lease_path(folder, number)
    holder, mark = read_holder(path), mark_of(path)
    if mark is None or (holder is not None and is_dead(holder)):
        return
    age_s = time.time() - mark[0] / 1e9
    if holder is not None and is_on_this_machine(holder) and age_s < bound_s:
        raise _refusal(folder, holder)
    # One that seems long abandoned is watched for two beats only: the clock that says so may be wrong.
    watch_s = 2 * beat_s if age_s > 10 * bound_s else bound_s
    print(  # noqa: T201
        f"ichformer: {one_line(folder, max_chars=400)} is held by {_name(holder)}; "
        f"goes on if that gives no sign of life within {watch_s:.0f} s",
        file=sys.stderr,
        flush=True,
    )
    deadline = _clock() + watch_s
    while _clock() < deadline:
        if is_told_to_stop():
            raise Stopped(f"stopped while waiting for {_name(holder)}; the same command goes on")
        time.sleep(min(0.2, beat_s / 4))
        now = mark_of(path)
        if now is None:
            return
        if now != mark:
            raise _refusal(folder, read_holder(path))


def _refusal(folder: Path, holder: Holder | None) -> Held:
    since = "" if holder is None else f" since {one_line(holder.since, max_chars=40)}"
    return Held(
        f"{_name(holder)} works there{since}",
        where=folder,
        fix="wait until it ends, end it, or name another folder",
    )


def _name(holder: Holder | None) -> str:
    if holder is None:
        return "another process"
    what, host = one_line(holder.what, max_chars=40), one_line(holder.host, max_chars=80)
    return f"another {what} (process {holder.pid} on {host})"


def _clock() -> float:
    """A clock in seconds that runs on while the machine sleeps and is never set back."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
