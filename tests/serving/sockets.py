"""Sockets of associations that failed or were rejected: pynetdicom leaves them to Python to close."""

import gc
from collections.abc import Iterator

import pytest

UNCLOSED = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <(socket|ssl):pytest.PytestUnraisableExceptionWarning"
)
"""For the files of tests that make such associations."""


def collect_sockets() -> Iterator[None]:
    """A fixture: what such a file left is closed at its end, and not in a test of another file."""
    yield
    gc.collect()
