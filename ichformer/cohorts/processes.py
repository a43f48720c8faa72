"""Reading many files at once: one function over many things, in processes, with a bar."""

import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

from tqdm import tqdm

from ichformer.processes import leave_interrupts_to_parent

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
) -> Iterator[R]:
    """What the function makes of each thing, in order, with a bar and an ETA on standard error.

    Args:
      function: of a module, so that processes find it.
      things: what it takes.
      desc: what the bar is called.
      unit: what it counts.
      sizes: how many units each thing is; one by default.
      serial: up to so many things are worked on in this process, as starting others takes longer.
    """
    if len(things) <= serial:
        yield from map(function, things)
        return
    sizes = [1] * len(things) if sizes is None else sizes
    context = multiprocessing.get_context("spawn")  # the parent may run threads, which a fork would find dead
    with (
        ProcessPoolExecutor(mp_context=context, initializer=leave_interrupts_to_parent) as pool,
        tqdm(total=sum(sizes), desc=desc, unit=unit, file=sys.stderr) as bar,
    ):
        for size, result in zip(sizes, pool.map(function, things), strict=True):
            bar.update(size)
            yield result
