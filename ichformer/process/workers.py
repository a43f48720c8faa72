"""Worker processes: one function mapped over many things with a progress bar."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

from tqdm import tqdm

from ichformer.errors import InputError
from ichformer.process.memory import keep_freed_memory
from ichformer.process.quiet import quiet_readers

T = TypeVar("T")
R = TypeVar("R")


def map_processes(
    function: Callable[[T], R],
    things: Sequence[T],
    *,
    desc: str,
    unit: str,
    sizes: Sequence[int] | None = None,
    serial: int = 1,
    workers: int | None = None,
    progress: bool = True,
) -> Iterator[R]:
    """Map a function over things in processes: results in order, a bar and an ETA on standard error.

    Where it ends early, by Ctrl-C or by an error, what was not begun is left.

    Args:
      function: of a module, so that processes find it.
      things: what it takes.
      desc: what the bar is called.
      unit: what it counts.
      sizes: how many units each thing is; one by default.
      serial: up to so many things are worked on in this process and without a bar, as starting others takes longer.
      workers: processes; all cores by default, and one is this process.
      progress: whether there is a bar.
    """
    sizes = [1] * len(things) if sizes is None else sizes
    few = len(things) <= serial
    workers = min(workers or os.cpu_count() or 1, len(things))
    with (
        tqdm(total=sum(sizes), desc=desc, unit=unit, file=sys.stderr, disable=few or not progress) as bar,
        nullcontext(map) if few or workers == 1 else _pool(workers) as over,
    ):
        for size, result in zip(sizes, over(function, things), strict=True):
            bar.update(size)
            yield result


@contextmanager
def _pool(workers: int) -> Iterator[Callable[..., Iterator]]:
    pool = process_pool(workers, initializer=start_worker)
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)


def process_pool(workers: int, *, initializer: Callable[[], None]) -> ProcessPoolExecutor:
    """A pool of processes that are spawned, so that they share no threads with this one.

    Args:
      workers: how many.
      initializer: what each does first; it has to call ``start_worker``.

    Raises:
      InputError: this machine lets no process talk to another.
    """
    # Spawn: JAX, BLAS and Riegeli keep threads, which a forked process would find dead.
    context = multiprocessing.get_context("spawn")
    check_workers()
    return _Pool(workers, mp_context=context, initializer=initializer)


def check_workers() -> None:
    """Raise InputError where worker processes cannot be started from here."""
    check_guard()
    check_shared_memory()


def check_guard() -> None:
    """Raise InputError where the script that runs has no guard, before it starts worker processes.

    Every worker reads the script again from its first line. Without the guard it starts the work a second time, and
    this process waits for ever for a worker that has ended.
    """
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    if file is None or getattr(main, "__spec__", None) is not None:  # a notebook, python -c or python -m
        return
    try:
        with open(file, encoding="utf-8") as script:
            has_guard = "__main__" in script.read()
    except (OSError, UnicodeDecodeError):
        return
    if not has_guard:
        raise InputError(
            "a script that starts worker processes needs a guard",
            where=file,
            fix='put its calls under if __name__ == "__main__": or use no workers',
        )


def check_shared_memory() -> None:
    """Raise InputError where the system has no shared memory for the semaphores of a process pool."""
    try:
        multiprocessing.get_context("spawn").Lock()
    except (OSError, NotImplementedError, ImportError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"worker processes need shared memory there ({said})",
            where="/dev/shm",
            fix="mount it, with docker run --shm-size=1g or as a tmpfs, and let it be written to; or use no workers",
        ) from error


class _Pool(ProcessPoolExecutor):
    """A pool whose processes start without noticing Ctrl-C."""

    def submit(self, *args: Any, **kwargs: Any) -> Future:
        """``ProcessPoolExecutor.submit``, which may start a process."""
        with _started_without_ctrl_c():
            return super().submit(*args, **kwargs)


def start_worker() -> None:
    """Prepare a worker process; every worker calls it first.

    Ctrl-C reaches all processes of a terminal; only the parent acts on it, and lets the work in hand finish. Where the
    parent is killed, its workers end with it: nobody would take what they make.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), name="end with parent", daemon=True).start()
    keep_freed_memory()
    quiet_readers()


@contextmanager
def _started_without_ctrl_c() -> Iterator[None]:
    """Let processes that start in the block ignore Ctrl-C, even before they come to ``start_worker``.

    For this process, a Ctrl-C that comes inside takes effect at the end.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise an exception in the block, so that unfinished work is cleaned up.

    A second one does not interrupt that. A handler of somebody else, such as ``nohup``, stays. Outside the main thread
    nothing changes.

    Raises:
      SystemExit: at such a signal, with the exit code that a shell gives for it, 128 + its number.
    """

    def end(number: int, _: object) -> None:
        for each in changed:
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    numbers = [signal.SIGTERM, signal.SIGHUP] if threading.current_thread() is threading.main_thread() else []
    changed = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in changed:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)
