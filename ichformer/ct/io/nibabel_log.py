"""nibabel repairs headers as it reads them and prints what it did; here it is heard instead."""

import contextlib
import logging
import threading
from collections.abc import Iterator

from nibabel.imageglobals import logger

from ichformer.errors import one_line

_ONE_AT_A_TIME = threading.Lock()
"""nibabel's logger belongs to the process."""


@contextlib.contextmanager
def heard_from_nibabel() -> Iterator[list[str]]:
    """Inside, the list that is given takes each thing that nibabel says of a header, once; nothing is printed."""
    said: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if (text := one_line(record.getMessage())) not in said:
                said.append(text)

    with _ONE_AT_A_TIME:
        before, propagated, level = logger.handlers[:], logger.propagate, logger.level
        logger.handlers, logger.propagate = [Listener()], False
        logger.setLevel(logging.WARNING)
        try:
            yield said
        finally:
            logger.handlers, logger.propagate = before, propagated
            logger.setLevel(level)
