"""Ends a training in order at SIGTERM, which clusters send before they take a machine back, and at Ctrl-C."""

import contextlib
import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax._src.distributed import global_state  # there is no other way to the service

from ichformer.errors import Stopped


@contextlib.contextmanager
def catch_signals() -> Iterator[Callable[[], bool]]:
    """Inside, neither SIGTERM nor the first Ctrl-C ends the process; the function that is given tells whether one came.

    Several hosts stop at the same call of it, as long as each makes the same calls, although SIGTERM reaches them at
    different times: JAX's preemption service tells all of them of it. Outside the main thread Python cannot listen, and
    signals do what they did.

    Raises:
      KeyboardInterrupt: at the end, in the place of ``Stopped``, where it was Ctrl-C; at once, where it is the second.
    """
    if jax.process_count() > 1:
        with _told_to_all_hosts() as has_come:
            yield has_come
        return
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    came: list[int] = []

    def note(number: int, _: Any) -> None:
        if number == signal.SIGINT and number in came:
            raise KeyboardInterrupt
        if number == signal.SIGINT:  # whoever is interrupted may be writing to sys.stderr
            with contextlib.suppress(OSError):  # nor need there be a terminal any more
                os.write(2, b"\nichformer: saves after this step; Ctrl-C again ends at once\n")
        came.append(number)

    caught = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else the shell or the caller wants it otherwise
        caught.append(signal.SIGINT)
    before = {number: signal.signal(number, note) for number in caught}
    try:
        yield lambda: bool(came)
    except Stopped:
        if signal.SIGINT not in came:
            raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if signal.SIGINT in came:
        raise KeyboardInterrupt


@contextlib.contextmanager
def _told_to_all_hosts() -> Iterator[Callable[[], bool]]:
    """The service as it is, and Orbax kept from it, which takes its absence for no preemption (since 0.12.3).

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
