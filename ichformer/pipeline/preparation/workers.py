"""Runs many independent tasks on an executor; a task that kills its worker does not stop the others."""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    as_completed,
    wait,
)
from typing import TypeVar

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from ichformer.errors import InputError, one_line
from ichformer.process.workers import process_pool, start_worker

Task = TypeVar("Task")
Result = TypeVar("Result")

_LIVES = 3
"""A task is given up when its process has died this often; the first time it may be its neighbour that was to blame."""


def run_all(
    function: Callable[[Task], Result], tasks: Iterable[Task], *, executor: Executor | None, workers: int
) -> Iterator[tuple[Task, Result | None]]:
    """Calls ``function`` on every task and yields tasks with results as they come.

    Args:
      function: importable by name, as are task and result picklable; an exception from it ends everything.
      tasks: in any order.
      executor: where to run; a pool of spawned processes where None.
      workers: processes of that pool.

    Yields:
      Task and result; None as result where the process died at the task again and again. The own pool (with nothing
      beside it) and Dask can tell; another executor that breaks raises ``BrokenExecutor``.
    """
    if executor is None:
        yield from _in_pool(function, deque(tasks), workers=workers)
        return
    futures = {executor.submit(function, task): task for task in tasks}
    try:
        for future in as_completed(futures):
            yield futures[future], None if _killed_its_workers(future) else _result(future, executor)
    finally:
        for future in futures:
            future.cancel()


def _killed_its_workers(future: Future[Result]) -> bool:
    distributed = sys.modules.get("distributed")  # loaded by whoever made an executor of it
    return (
        distributed is not None and not future.cancelled() and isinstance(future.exception(), distributed.KilledWorker)
    )


def _result(future: Future[Result], executor: Executor) -> Result:
    """Its result. What Dask cannot run or carry over is an ``InputError``: its workers may have other packages."""
    try:
        return future.result()
    except (InputError, CancelledError, BrokenExecutor):
        raise
    except Exception as error:
        if not type(executor).__module__.startswith("distributed."):
            raise
        raise InputError(
            f"a worker of the cluster failed ({type(error).__name__}: {one_line(error)})",
            where="cluster",
            fix="give all workers the same Python, packages and files, and run the same command again",
        ) from error


def _in_pool(
    function: Callable[[Task], Result], tasks: deque[Task], *, workers: int, lives: int = _LIVES
) -> Iterator[tuple[Task, Result | None]]:
    while tasks:
        in_flight: dict[Future[Result], Task] = {}
        pool = worker_pool(workers)
        try:
            _check_start(pool)
            while tasks or in_flight:
                while tasks and len(in_flight) < (2 * workers if lives == _LIVES else 1):
                    in_flight[pool.submit(function, tasks[0])] = tasks[0]
                    tasks.popleft()
                for future in wait(in_flight, return_when=FIRST_COMPLETED).done:
                    result = future.result()
                    yield in_flight.pop(future), result
        except BrokenExecutor:
            # Nothing says which of them killed its process, so each is tried again with nothing beside it.
            suspects = deque(in_flight.values())
        else:
            return
        finally:
            pool.shutdown(cancel_futures=True)
        if lives > 1:
            yield from _in_pool(function, suspects, workers=1, lives=lives - 1)
        else:
            yield from ((task, None) for task in suspects)


def worker_pool(workers: int) -> ProcessPoolExecutor:
    """Starts processes as ``run_all`` does, on one thread each."""
    return process_pool(workers, initializer=_start_worker)


def _check_start(pool: ProcessPoolExecutor) -> None:
    try:
        pool.submit(os.getpid).result()
    except BrokenExecutor:
        raise InputError(
            "worker processes cannot be started", where="workers", fix='guard your script: if __name__ == "__main__":'
        ) from None


def _start_worker() -> None:
    start_worker()
    threadpool_limits(1)  # as many processes as cores, each with as many threads as cores, stand in each other's way
