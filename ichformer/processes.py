"""One function over many things, in processes, with a bar; and what every worker process does first."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import TypeVar

from tqdm import tqdm

from ichformer.memory import keep_freed_memory

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
    """What the function makes of each thing, in order, with a bar and an ETA on standard error.

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
    context = multiprocessing.get_context("spawn")  # the parent may run threads of JAX, which a fork would find dead
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=start_worker)
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)


def start_worker() -> None:
    """What every worker process does first.

    Ctrl-C reaches all processes of a terminal; only the parent heeds it, and lets the work in hand finish.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_freed_memory()
