"""SIGTERM: what a cluster sends before it takes a machine back."""

import contextlib
import itertools
import signal
import threading
from collections.abc import Callable, Iterator

import jax


@contextlib.contextmanager
def heed_sigterm() -> Iterator[Callable[[], bool]]:
    """Inside, SIGTERM does not end the process; the function that is given tells whether one came.

    Several hosts stop at the same call of it, as long as each makes the same calls, although the signal reaches them at
    different times: JAX's preemption service tells all of them of it. Outside the main thread Python cannot listen, and
    the signal ends the process.
    """
    if jax.process_count() > 1:
        yield _told_to_all_hosts()
        return
    came = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.signal(signal.SIGTERM, lambda *_: came.set())
    try:
        yield came.is_set
    finally:
        signal.signal(signal.SIGTERM, before)


def _told_to_all_hosts() -> Callable[[], bool]:
    from jax.experimental import multihost_utils

    # The service names the call after the latest that a host has made, from 1 on, and is true for that one alone.
    calls, came = itertools.count(1), False

    def has_come() -> bool:
        nonlocal came
        came = came or multihost_utils.reached_preemption_sync_point(next(calls))
        return came

    return has_come
