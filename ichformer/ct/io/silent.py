"""What libraries say beside their errors, on a log or on standard error, is silenced: the audit says what matters."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def silent_log(name: str) -> Iterator[None]:
    """Inside, the logger of a library says nothing.

    Its lines would be seen as soon as any other library gives the root logger a handler, as Orbax does.
    """
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def silent_stderr() -> Iterator[None]:
    """Inside, what a library in C writes to standard error by itself is lost."""
    try:
        kept = os.dup(2)
    except OSError:  # it is closed
        yield
        return
    if sys.stderr is not None:
        sys.stderr.flush()
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
