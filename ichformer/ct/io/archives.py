"""Files inside a zip or a tar as if it were a folder: ``study.zip/series1/001.dcm`` is a path like any other.

Nothing is written to disk under a name that stands in an archive, so no name can lead out of it.
"""

import atexit
import io
import os
from pathlib import Path

from ichformer.ct.io.members import Archive, NameOut, opener_of, read_directory, starts_tar
from ichformer.errors import InputError, one_line


def is_archive(path: Path) -> bool:
    """Whether a file is a zip or a tar, compressed or not, by its content; it may lie in an archive itself."""
    try:
        with open_file(path) if path.is_file() else io.BytesIO(read_start(path, 1 << 16)) as file:
            start = file.read(263)
            if start.startswith(b"PK\x03\x04") or starts_tar(start):
                return True
            # A compressed file is an archive only if a tar is inside: NIfTI comes as .gz too.
            opener = opener_of(start)
            if opener is None:
                return False
            file.seek(0)
            with opener(file) as unpacked:
                return starts_tar(unpacked.read(263))
    except (OSError, InputError):
        return False
    except Exception:  # a damaged stream: zlib, bz2 and lzma each raise errors of their own
        return False


def is_file(path: Path) -> bool:
    """Whether there is a file at this path; it may lie in an archive."""
    if path.is_file():
        return True
    archive, inner = _split(path)
    return archive is not None and inner in _open(archive).sizes


def list_archive(path: Path) -> tuple[list[Path], list[NameOut]]:
    """The files in an archive, or below a folder inside one, sorted; and the names that are not read.

    Raises:
      InputError: ``path`` does not exist, or the archive cannot be read.
    """
    archive, inner = _split(path)
    if archive is None:
        raise InputError("does not exist", where=path, fix="name a DICOM file, a folder of them or an archive")
    opened = _open(archive)
    names = [name for name in opened.sizes if inner in ("", name) or name.startswith(f"{inner}/")]
    if inner and not names:
        raise InputError(f"holds nothing called {one_line(inner)}", where=archive, fix="name what is in it")
    return [archive / name for name in sorted(names)], list(opened.left_out)


def open_file(path: Path) -> io.BufferedIOBase:
    """Open a file for reading; it may lie in an archive. Raises OSError or InputError where there is none."""
    archive, inner = (None, "") if path.is_file() else _split(path)
    if archive is None:
        return path.open("rb")
    return io.BytesIO(_open(archive).read(inner, None))


def read_start(path: Path, n_bytes: int) -> bytes:
    """The first bytes of a file; of a file in an archive no more is unpacked."""
    archive, inner = (None, "") if path.is_file() else _split(path)
    if archive is None:
        with path.open("rb") as file:
            return file.read(n_bytes)
    return _open(archive).read(inner, n_bytes)


def file_size(path: Path) -> int:
    """Size of a file in bytes; it may lie in an archive."""
    archive, inner = (None, "") if path.is_file() else _split(path)
    return path.stat().st_size if archive is None else _open(archive).sizes[inner]


def _split(path: Path) -> tuple[Path | None, str]:
    """The archive among a path and its parents, and what remains of the path; None where there is none."""
    for folder in (path, *path.parents):
        if folder.is_file():
            inner = "" if folder == path else path.relative_to(folder).as_posix()
            return (folder, inner) if is_archive(folder) else (None, "")
    return None, ""


_opened: dict[tuple[Path, int, int, int], Archive] = {}
"""The archive that was read last stays open: a series is read file by file."""


def _open(archive: Path) -> Archive:
    state = archive.stat()
    # A handle must not be shared with a forked process: both would move its position.
    key = (archive, state.st_mtime_ns, state.st_size, os.getpid())
    if key not in _opened:
        _close_all()
        _opened[key] = read_directory(archive)
    return _opened[key]


@atexit.register
def _close_all() -> None:
    for opened in _opened.values():
        opened.close()
    _opened.clear()
