"""Ctrl-C before and after a command's work. Imports next to nothing: it is the first thing that a command loads."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager


def end_at_ctrl_c() -> None:
    """Make Ctrl-C end the process at once, without a message, with exit code 130.

    For the time before and after a command's work: nothing is half done, and libraries that are being imported, or
    Python when it ends, answer ``KeyboardInterrupt`` with a traceback. A handler of somebody else stays.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end_at_once)


@contextmanager
def raising_at_ctrl_c() -> Iterator[None]:
    """Make Ctrl-C raise ``KeyboardInterrupt`` again inside the block, after ``end_at_ctrl_c``."""
    if is_ours := signal.getsignal(signal.SIGINT) is _end_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        if is_ours:
            signal.signal(signal.SIGINT, _end_at_once)


def _end_at_once(number: int, _: object) -> None:
    os._exit(128 + number)
