"""Writing files so that a reader finds the whole of one or none."""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ichformer.errors import InputError

_LONE_BYTES = {0xDC00 + byte: 0xEF00 + byte for byte in range(0x80, 0x100)}
"""Bytes of a file name that are no UTF-8, as Python has them (PEP 383) -> private characters (MirBSD's OPTU-16)."""


def path_text(path: Path | str) -> str:
    """A path as text for tables and records, which hold UTF-8 only; ``text_path`` finds the file again.

    Old discs and archives hold names in Latin-1 or another encoding. Their bytes become private characters.
    """
    return str(path).translate(_LONE_BYTES)


def text_path(text: str) -> Path:
    """The path that ``path_text`` made into text; a path that is there as it stands stays as it is."""
    if text.isascii() or os.path.lexists(text):
        return Path(text)
    return Path(text.translate({private: lone for lone, private in _LONE_BYTES.items()}))


def read_bytes(path: Path, *, max_bytes: int, mend: str) -> bytes:
    """All of a regular file. Pipes and devices, which may wait or go on for ever, are refused, and so are large files.

    Args:
      path: the file.
      max_bytes: the largest size; nothing of a larger file is read.
      mend: what the user can do about it, for the error.

    Raises:
      InputError: it is not there, is not a regular file, is larger, or cannot be read.
    """
    try:
        # A pipe that nobody writes to would be waited for when it is opened.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise InputError("is no regular file", where=path, mend=mend)
            data = b"" if found.st_size > max_bytes else file.read(max_bytes + 1)
        if max(found.st_size, len(data)) > max_bytes:
            raise InputError(f"is larger than {max_bytes:,} bytes", where=path, mend=mend)
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"cannot be read ({reason})", where=path, mend=mend) from None
    return data


def write_text(text: str, path: Path) -> None:
    """The whole file or none of it; its folder has to be there."""
    write_bytes(text.encode(), path)


def write_bytes(data: bytes, path: Path) -> None:
    """``write_text`` of bytes."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with _named(path):
        try:
            temporary.write_bytes(data)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def append_bytes(data: bytes, path: Path) -> None:
    """All of ``data`` at the end of the file, which is made where it is not there, or none of it."""
    size = path.stat().st_size if path.exists() else 0
    with _named(path):
        try:
            with path.open("ab") as file:
                file.write(data)
        except OSError:
            with contextlib.suppress(OSError):
                os.truncate(path, size)
            raise


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """An OSError from inside names the file: a full disk is met in writing, where Python does not say which it was."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise
