"""SIGTERM: what a cluster sends before it takes a machine back."""

import contextlib
import itertools
import signal
import threading
from collections.abc import Callable, Iterator

import jax
from jax._src.distributed import global_state  # there is no other way to the service


@contextlib.contextmanager
def heed_sigterm() -> Iterator[Callable[[], bool]]:
    """Inside, SIGTERM does not end the process; the function that is given tells whether one came.

    Several hosts stop at the same call of it, as long as each makes the same calls, although the signal reaches them at
    different times: JAX's preemption service tells all of them of it. Outside the main thread Python cannot listen, and
    the signal ends the process.
    """
    if jax.process_count() > 1:
        with _told_to_all_hosts() as has_come:
            yield has_come
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


@contextlib.contextmanager
def _told_to_all_hosts() -> Iterator[Callable[[], bool]]:
    """The service as it is, and Orbax kept from it, which takes what it does not find for no preemption.

    The service counts calls: it names the one after the latest that a host has made, and is true for that one alone.
    Orbax calls it too, from the thread that ends a checkpoint, with the number of the checkpoint's step. Where the
    signal comes between that and our next call, the number that is named is one that we have passed.
    """
    service = global_state.preemption_sync_manager
    calls, came = itertools.count(1), False

    def has_come() -> bool:
        nonlocal came
        came = came or (service is not None and service.reached_sync_point(next(calls)))
        return came

    global_state.preemption_sync_manager = None
    try:
        yield has_come
    finally:
        global_state.preemption_sync_manager = service
