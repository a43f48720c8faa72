"""What libraries say on their own, by logs, warnings or standard error, is silenced or collected.

What counts is said in our own words: as a note of the scan's audit, or as an error.
"""

import contextlib
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator

from ichformer.errors import one_line

_READERS = ("PIL", "libjpeg", "matplotlib", "nibabel", "openjpeg", "pydicom")
"""Loggers of libraries that read and draw."""

_SILENT = logging.CRITICAL + 1
_ONE_AT_A_TIME = threading.Lock()
"""A logger belongs to the process, so only one thread at a time collects what it says."""


def quiet_command() -> None:
    """Silence warnings and readers for the rest of this process and of those that it starts.

    Only for a program that owns its process. Whoever asks for Python's warnings, with ``-W`` or ``PYTHONWARNINGS``,
    gets them.
    """
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        os.environ["PYTHONWARNINGS"] = "ignore"
    quiet_readers()


def quiet_readers() -> None:
    """Silence the libraries that read and draw, for the rest of this process."""
    for name in _READERS:
        logging.getLogger(name).setLevel(_SILENT)


@contextlib.contextmanager
def silent_log(name: str) -> Iterator[None]:
    """Silence the logger of a library inside the block.

    Its lines would be seen as soon as any other library gives the root logger a handler, as Orbax does.
    """
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(_SILENT)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def silent_stderr() -> Iterator[None]:
    """Drop what a library in C writes to standard error inside the block."""
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


@contextlib.contextmanager
def collected_log(name: str) -> Iterator[list[str]]:
    """Collect the warnings of a logger inside the block: the list takes each message once, and nothing is printed."""
    messages: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if (text := one_line(record.getMessage())) not in messages:
                messages.append(text)

    logger = logging.getLogger(name)
    with _ONE_AT_A_TIME:
        before, propagated, level = logger.handlers[:], logger.propagate, logger.level
        logger.handlers, logger.propagate = [Collector()], False
        logger.setLevel(logging.WARNING)
        try:
            yield messages
        finally:
            logger.handlers, logger.propagate = before, propagated
            logger.setLevel(level)
