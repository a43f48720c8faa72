"""Writing files so that a reader finds the whole of one or none."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


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
