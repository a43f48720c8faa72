"""The standard streams of a command: whatever is behind them, its work does not end with a traceback."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator

from ichformer.errors import InputError, escaped


def own_streams() -> None:
    """Prepare the standard streams; call it first, and only from a program that owns its process.

    - Characters that the terminal's encoding lacks are written as escapes, such as ``\\u20ac``.
    - A descriptor that is closed is opened on the null device. Otherwise the next file that is opened would take its
      number, and get what libraries print.
    - Messages that standard error does not take, as its disk is full or its terminal gone, are dropped: a progress bar
      must not end a training.
    """
    for number, access in enumerate((os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, access), True)  # it gets the lowest free number: this one
    if sys.stdin is None:  # it was closed
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    else:
        sys.stdout = _text(io.FileIO(1, "w", closefd=False), encoding="utf-8")
    encoding = sys.stderr.encoding if isinstance(sys.stderr, io.TextIOWrapper) else "utf-8"
    sys.stderr = _text(_Dropping(2, "w", closefd=False), encoding=encoding)


class _Dropping(io.FileIO):
    """A file that drops what cannot be written."""

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        """Write, or drop the bytes where the system refuses them."""
        with contextlib.suppress(OSError):
            super().write(data)
        return len(data)


def _text(file: io.FileIO, *, encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedWriter(file), encoding=encoding, errors="backslashreplace", line_buffering=True)


@contextlib.contextmanager
def delivered() -> Iterator[None]:
    """Make sure at the end of the block that what it printed was written to standard output.

    Raises:
      InputError: it was not, as the disk behind it is full or the terminal gone.
      SystemExit: with code 0, where the reader of a pipe has seen enough, such as ``head``.
    """
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        # What is left in the buffer goes nowhere, instead of failing once more when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise SystemExit(0) from None
        raise InputError(
            f"cannot be written to ({error.strerror})",
            where="standard output",
            fix="direct it to a place that takes it, and run the same command again",
        ) from None


def printable(text: str) -> str:
    """``text`` with control and bidirectional characters escaped, except for its line feeds."""
    return "\n".join(map(escaped, text.split("\n")))
