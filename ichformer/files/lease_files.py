"""The files of leases in a folder: how they are made, read and listed."""

import errno
import json
import os
import re
from dataclasses import asdict
from pathlib import Path

from ichformer.errors import InputError
from ichformer.files.holder import Holder
from ichformer.files.json_files import parse_json

_NAME = re.compile(r"\.lease\.(\d{1,9})")

_MAX_BYTES = 10_000
"""A lease file has some hundred bytes; no more than this is read of one."""

_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
"""What file systems answer that cannot make hard links."""


def make_lease(path: Path, holder: Holder) -> bool:
    """Create a lease file with its content at once; False where one of that number is there already."""
    temporary = path.with_name(f".lease.{holder.token}.tmp")
    data = (json.dumps(asdict(holder)) + "\n").encode()
    try:
        temporary.write_bytes(data)
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # A file system without links: for a moment the file is empty, and then nobody can tell whose it is.
        try:
            with path.open("xb") as file:
                file.write(data)
        except FileExistsError:
            return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def read_holder(path: Path) -> Holder | None:
    """Read who holds a lease; None where the file is gone or does not say.

    Raises:
      OSError: a file system that does not answer now, which says nothing of the lease.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES)
        return parse_json(data, Holder, where=path, fix="delete it where nothing works in the folder")
    except (FileNotFoundError, InputError):
        return None


def mark_of(path: Path) -> tuple[int, int] | None:
    """Time and inode of a lease file, which change when its holder refreshes it; None where the file is gone."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ino


def lease_path(folder: Path, number: int) -> Path:
    """The file of the lease with this number."""
    return folder / f".lease.{number}"


def lease_numbers(folder: Path) -> set[int]:
    """Numbers of all leases in a folder; none where the folder is gone."""
    try:
        return {int(found[1]) for name in os.listdir(folder) if (found := _NAME.fullmatch(name))}
    except FileNotFoundError:
        return set()


def marks_in(folder: Path) -> dict[int, tuple[int, int]]:
    """Number and mark (``mark_of``) of each lease in a folder."""
    marks = {number: mark_of(lease_path(folder, number)) for number in lease_numbers(folder)}
    return {number: mark for number, mark in marks.items() if mark is not None}
