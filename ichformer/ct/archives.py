"""Files inside a zip or a tar as if it were a folder: ``study.zip/series1/001.dcm`` is a path like any other.

Nothing is written to disk under a name that stands in an archive, so no name can lead out of it.
"""

import atexit
import bz2
import gzip
import io
import lzma
import os
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ichformer.errors import InputError, one_line

MAX_MEMBER_BYTES = 2**29
"""A larger file inside an archive is refused before memory is taken; a slice of 4096 x 4096 has 32 MiB."""

_MAX_UNPACKED_BYTES = 2**34
_MEND = "unpack it and name the folder"


def is_archive(path: Path) -> bool:
    """Whether a file is a zip or a tar, compressed or not, by its content."""
    try:
        with path.open("rb") as file:
            start = file.read(263)
    except OSError:
        return False
    if start.startswith(b"PK\x03\x04") or start[257:262] == b"ustar":
        return True
    # A compressed file is an archive only if a tar is inside: NIfTI comes as .gz too.
    opener = _opener(start)
    if opener is None:
        return False
    try:
        with opener(path) as unpacked:
            return bool(unpacked.read(263)[257:262] == b"ustar")
    except (OSError, EOFError, lzma.LZMAError, ValueError):
        return False


def is_file(path: Path) -> bool:
    """Whether there is a file of that path, be it inside an archive."""
    if path.is_file():
        return True
    archive, inner = _split(path)
    return archive is not None and inner in _open(archive).sizes


def list_archive(path: Path) -> tuple[list[Path], list[str]]:
    """The files in an archive, or below a folder inside one, sorted; and names that are no safe relative paths.

    Raises:
      InputError: ``path`` does not exist, or the archive cannot be read.
    """
    archive, inner = _split(path)
    if archive is None:
        raise InputError("does not exist", where=path, mend="name a DICOM file, a folder of them or an archive")
    opened = _open(archive)
    names = [name for name in opened.sizes if inner in ("", name) or name.startswith(f"{inner}/")]
    if inner and not names:
        raise InputError(f"holds nothing called {one_line(inner)}", where=archive, mend="name what is in it")
    return [archive / name for name in sorted(names)], list(opened.unsafe)


def open_file(path: Path) -> io.BufferedIOBase:
    """A file to read from, be it inside an archive; OSError or InputError where there is none."""
    archive, inner = (None, "") if path.is_file() else _split(path)
    if archive is None:
        return path.open("rb")
    return io.BytesIO(_open(archive).read(inner))


def file_size(path: Path) -> int:
    """Bytes of a file, be it inside an archive."""
    archive, inner = (None, "") if path.is_file() else _split(path)
    return path.stat().st_size if archive is None else _open(archive).sizes[inner]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Archive:
    """Sizes by safe name, and how to read one; names that are not safe are only told."""

    sizes: dict[str, int]
    unsafe: tuple[str, ...]
    read: Callable[[str], bytes]
    close: Callable[[], None]


def _split(path: Path) -> tuple[Path | None, str]:
    """The archive among a path and its parents, and what remains of the path; None where there is none."""
    for folder in (path, *path.parents):
        if folder.is_file():
            return (folder, path.relative_to(folder).as_posix().removeprefix(".")) if is_archive(folder) else (None, "")
    return None, ""


_opened: dict[tuple[Path, int, int, int], _Archive] = {}
"""The archive that was read last stays open: a series is read file by file."""


def _open(archive: Path) -> _Archive:
    state = archive.stat()
    # A handle must not be shared with a forked process: both would move its position.
    key = (archive, state.st_mtime_ns, state.st_size, os.getpid())
    if key not in _opened:
        _close_all()
        _opened[key] = _read_directory(archive)
    return _opened[key]


@atexit.register
def _close_all() -> None:
    for opened in _opened.values():
        opened.close()
    _opened.clear()


def _read_directory(archive: Path) -> _Archive:
    try:
        if zipfile.is_zipfile(archive):
            return _open_zip(zipfile.ZipFile(archive))
        return _open_tar(_uncompressed(archive))
    except (OSError, EOFError, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError, ValueError) as error:
        raise InputError(
            f"the archive cannot be read ({type(error).__name__}: {one_line(error)})",
            where=archive,
            mend="copy it again",
        ) from None


def _open_zip(file: zipfile.ZipFile) -> _Archive:
    members = {member.filename: member for member in file.infolist() if not member.is_dir()}
    safe, unsafe = _safe_names(members)
    archive = Path(str(file.filename))

    def read(name: str) -> bytes:
        member = members[safe[name]]
        _check_size(member.file_size, archive / name)
        try:
            return file.read(member)
        except (OSError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile, ValueError) as error:
            raise _unreadable(archive / name, error) from None

    sizes = {name: members[inner].file_size for name, inner in safe.items()}
    return _Archive(sizes=sizes, unsafe=unsafe, read=read, close=file.close)


def _open_tar(unpacked: io.BufferedIOBase) -> _Archive:
    try:
        file = tarfile.open(fileobj=unpacked, mode="r:")  # noqa: SIM115, it stays open
    except tarfile.TarError:
        unpacked.close()
        raise
    members = {member.name: member for member in file.getmembers() if member.isreg()}
    safe, unsafe = _safe_names(members)

    def read(name: str) -> bytes:
        member = members[safe[name]]
        _check_size(member.size, Path(name))
        try:
            data = file.extractfile(member)
            return data.read() if data is not None else b""
        except (OSError, tarfile.TarError, ValueError) as error:
            raise _unreadable(Path(name), error) from None

    sizes = {name: members[inner].size for name, inner in safe.items()}
    return _Archive(sizes=sizes, unsafe=unsafe, read=read, close=unpacked.close)


def _safe_names(names: Iterable[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Relative names without ``..`` -> the names as they stand in the archive; and the others."""
    safe: dict[str, str] = {}
    unsafe = []
    for name in names:
        parts = PurePosixPath(name).parts
        if ".." in parts or "\0" in name or PurePosixPath(name).is_absolute() or not parts:
            unsafe.append(name)
        else:
            safe[PurePosixPath(name).as_posix()] = name
    return safe, tuple(unsafe)


def _uncompressed(archive: Path) -> io.BufferedIOBase:
    """The tar itself: a compressed one is unpacked once, into a file without a name, to be read in any order."""
    with archive.open("rb") as file:
        opener = _opener(file.read(6))
    if opener is None:
        return archive.open("rb")
    unpacked = tempfile.TemporaryFile()  # noqa: SIM115, it stays open
    try:
        with opener(archive) as stream:
            while chunk := stream.read(1 << 20):
                unpacked.write(chunk)
                if unpacked.tell() > min(_MAX_UNPACKED_BYTES, shutil.disk_usage(tempfile.gettempdir()).free):
                    raise InputError(f"unpacks to more than {unpacked.tell()} bytes", where=archive, mend=_MEND)
        unpacked.seek(0)
    except BaseException:
        unpacked.close()
        raise
    return unpacked


def _opener(start: bytes) -> Callable[[Path], io.BufferedIOBase] | None:
    for magic, opener in ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ", lzma.open)):
        if start.startswith(magic):
            return opener
    return None


def _check_size(size: int, where: Path) -> None:
    if size > MAX_MEMBER_BYTES:
        raise InputError(f"has {size} bytes inside its archive, more than {MAX_MEMBER_BYTES}", where=where, mend=_MEND)


def _unreadable(where: Path, error: Exception) -> InputError:
    return InputError(
        f"cannot be read from its archive ({type(error).__name__}: {one_line(error)})", where=where, mend=_MEND
    )
