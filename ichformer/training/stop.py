"""SIGTERM: what a cluster sends before it takes a machine back."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

import jax


@contextlib.contextmanager
def heed_sigterm() -> Iterator[Callable[[int], bool]]:
    """Inside, SIGTERM does not end the process; the function that is given tells after each step whether one came.

    Several hosts stop after the same step, although the signal reaches them at different times: JAX's preemption
    service tells all of them of it. Outside the main thread Python cannot listen, and the signal ends the process.
    """
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        yield multihost_utils.reached_preemption_sync_point
        return
    came = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield lambda _: False
        return
    before = signal.signal(signal.SIGTERM, lambda *_: came.set())
    try:
        yield lambda _: came.is_set()
    finally:
        signal.signal(signal.SIGTERM, before)
