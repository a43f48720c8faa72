"""Writing files so that a reader finds the whole file or none."""

import contextlib
import os
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path

from ichformer.errors import InputError, escaped

_LONE_BYTES = {0xDC00 + byte: 0xEF00 + byte for byte in range(0x80, 0x100)}
"""Bytes of a file name that are no UTF-8, as Python has them (PEP 383) -> private characters (MirBSD's OPTU-16)."""


def path_text(path: Path | str) -> str:
    """A path as text for tables and records, which hold UTF-8 only; ``text_path`` finds the file again.

    Old discs and archives hold names in Latin-1 or another encoding. Their bytes become private characters.
    """
    return str(path).translate(_LONE_BYTES)


def shown(path: Path | str) -> str:
    """A path as one printable line, in full, for what a command prints."""
    return escaped(str(path))


def text_path(text: str) -> Path:
    """The inverse of ``path_text``; a path that exists as it is written stays as it is."""
    if text.isascii() or os.path.lexists(text):
        return Path(text)
    return Path(text.translate({private: lone for lone, private in _LONE_BYTES.items()}))


def check_folder(folder: Path) -> None:
    """Check that a folder exists or can be made, before work begins whose result goes there.

    Raises:
      InputError: it, or the nearest of its parents that is there, is a file, a device or a link to nothing; or the
        folder that it has to be made in cannot be written to.
    """
    nearest = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
    fix = "name another folder"
    if nearest.is_symlink() and not nearest.exists():
        raise InputError("is a link to something that is not there", where=nearest, fix=fix)
    if not nearest.is_dir():
        raise InputError("is there and is no folder", where=nearest, fix=fix)
    if nearest != folder and not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError("cannot be written to", where=nearest, fix=f"get permission for it, or {fix}")


def check_utf8(path: Path) -> None:
    """Raise InputError where a name is not UTF-8, as TensorStore, which writes checkpoints, needs."""
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError:
        raise InputError(
            "the name is not valid UTF-8, which checkpoints need", where=path, fix="rename it or name another folder"
        ) from None


def read_bytes(path: Path, *, max_bytes: int, fix: str) -> bytes:
    """Read a regular file. Large files are refused, and so are pipes and devices, which may never end.

    Args:
      path: the file.
      max_bytes: the largest size; nothing of a larger file is read.
      fix: what the user can do about it, for the error.

    Raises:
      InputError: it is not there, is not a regular file, is larger, or cannot be read.
    """
    try:
        # A pipe that nobody writes to would be waited for when it is opened.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise InputError("is no regular file", where=path, fix=fix)
            data = b"" if found.st_size > max_bytes else file.read(max_bytes + 1)
        if max(found.st_size, len(data)) > max_bytes:
            raise InputError(f"is larger than {max_bytes:,} bytes", where=path, fix=fix)
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"cannot be read ({reason})", where=path, fix=fix) from None
    return data


def write_text(text: str, path: Path) -> None:
    """Write a text file in UTF-8, whole or not at all; its folder has to exist.

    Bytes of file names that are no UTF-8 become escapes; text from which a file has to be found needs ``path_text``.
    """
    write_bytes(text.encode(errors="backslashreplace"), path)


def write_bytes(data: bytes, path: Path) -> None:
    """``write_text`` of bytes."""
    with appearing_whole(path) as temporary:
        temporary.write_bytes(data)


@contextlib.contextmanager
def appearing_whole(path: Path) -> Iterator[Path]:
    """A temporary file beside ``path``: it moves there at the end, or is deleted where an error ends the block.

    Where ``path`` is a link, the file that it leads to is replaced, and the link stays.

    Raises:
      InputError: a folder or a device is there, which nobody wants to lose, or the file's folder is not there.
      OSError: with the name of the file.
    """
    with _named(path):
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():
            raise InputError("is there and is no file", where=path, fix="name another place")
        if not target.parent.is_dir():
            raise InputError("its folder is not there", where=path, fix="make the folder, or name another one")
        # A name of its own, as the file's may be as long as a name can be.
        temporary = target.with_name(f".{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            yield temporary
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)


def append_bytes(data: bytes, path: Path) -> None:
    """Append all of ``data`` to a file, or none of it; the file is made where it is missing."""
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
    """Name the file in an OSError from the block, as Python does not say which file met a full disk."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise
