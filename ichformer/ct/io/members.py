"""The members of a zip or a tar: their names, their sizes, and how to unpack one. ``archives`` makes paths of them.

What an archive says of its sizes is checked before anything is unpacked, and no more is unpacked than it says.
"""

import bz2
import contextlib
import gzip
import io
import lzma
import posixpath
import shutil
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

from ichformer.errors import InputError, one_line

MAX_MEMBER_BYTES = 2**29
"""A larger file inside an archive is refused before memory is taken; a slice of 4096 x 4096 has 32 MiB."""

_MAX_UNPACKED_BYTES = 2**34
_BOMB_BYTES, _BOMB_RATIO = 2**28, 200
"""What unpacks to more than both is refused. CT shrinks to a half or a third, a scan of air to a hundredth or so."""

_MAX_TAR_HEADER_BYTES = 2**20
"""For all names and attributes of a tar that do not fit into its 512-byte headers by more than a little."""

_FIX = "unpack it and name the folder"


class NameOut(NamedTuple):
    """A name in an archive that is not read: the name, a code of ``SET_ASIDE_CODES``, and why."""

    name: str
    code: str
    text: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Archive:
    """The members of an archive: sizes by safe name, how to read them, and the names that are not read."""

    sizes: dict[str, int]
    left_out: tuple[NameOut, ...]
    read: Callable[[str, int | None], bytes]
    close: Callable[[], None]


def read_directory(archive: Path) -> Archive:
    """Open a zip or a tar, compressed or not.

    Raises:
      InputError: it cannot be read, or would unpack to far more than an archive of scans does.
    """
    try:
        if zipfile.is_zipfile(archive):
            opened = _open_zip(archive)
        else:
            opened = _open_tar(_uncompressed(archive), archive)
    except InputError:
        raise
    except Exception as error:  # both modules raise all kinds of exceptions
        raise InputError(
            f"the archive cannot be read ({type(error).__name__}: {one_line(error)})",
            where=archive,
            fix="copy it again",
        ) from None
    total = sum(size for size in opened.sizes.values() if size <= MAX_MEMBER_BYTES)
    if _is_bomb(total, archive):
        opened.close()
        raise _bomb(total, archive)
    return opened


def _is_bomb(n_bytes: int, archive: Path) -> bool:
    return n_bytes > max(_BOMB_BYTES, _BOMB_RATIO * archive.stat().st_size)


def _bomb(n_bytes: int, archive: Path) -> InputError:
    return InputError(
        f"would unpack to more than {n_bytes >> 20} MiB, which is over {_BOMB_RATIO} times its own size",
        where=archive,
        fix=f"if you trust it, {_FIX}",
    )


def _open_zip(archive: Path) -> Archive:
    file = zipfile.ZipFile(archive)
    # The standard asks for "/" (APPNOTE 6.3.10, section 4.4.17), but Windows has long written its own separator.
    members = {member.filename.replace("\\", "/"): member for member in file.infolist() if not member.is_dir()}

    def unpack(member: zipfile.ZipInfo, n_bytes: int | None) -> bytes:
        left = member.file_size if n_bytes is None else min(n_bytes, member.file_size)
        # A piece of a bzip2 or LZMA stream is unpacked whole, so it has to be small.
        step = 1 << 20 if member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) else 1 << 12
        pieces = []
        with file.open(member) as stream:
            while left > 0 and (piece := stream.read(min(left, step))):
                pieces.append(piece)
                left -= len(piece)
        return b"".join(pieces)

    links = {name for name, member in members.items() if stat.S_ISLNK(member.external_attr >> 16)}
    targets = {name: _beside(name, unpack(members[name], 4096).decode("utf-8", "replace")) for name in links}
    safe, left_out = _safe_names(members, targets)
    sizes = {name: members[held].file_size for name, held in safe.items()}

    def read(name: str, n_bytes: int | None) -> bytes:
        with _readable(name, sizes, archive):
            return unpack(members[safe[name]], n_bytes)

    return Archive(sizes=sizes, left_out=left_out, read=read, close=file.close)


def _open_tar(unpacked: io.FileIO, archive: Path) -> Archive:
    stream = _TarHeaders(unpacked)
    members: dict[str, tarfile.TarInfo] = {}
    targets: dict[str, str] = {}
    try:
        file = tarfile.open(fileobj=stream, mode="r:")  # noqa: SIM115, it stays open
        for number, member in enumerate(file):
            if number > 10_000 + archive.stat().st_size // 16:
                raise ValueError(f"it lists more than {number} files")
            if member.isreg():
                members[member.name] = member
            elif member.islnk() or member.issym():
                members[member.name] = member
                targets[member.name] = member.linkname if member.islnk() else _beside(member.name, member.linkname)
        # tarfile takes a damaged header for the end, and all that follows it would be lost without a word.
        stream.seek(file.offset)
        if any(stream.read(tarfile.BLOCKSIZE)):
            raise ValueError(f"the header at byte {file.offset} is damaged")
    except BaseException:
        stream.close()
        raise
    stream.are_read = True
    safe, left_out = _safe_names(members, targets)
    sizes = {name: members[held].size for name, held in safe.items()}

    def read(name: str, n_bytes: int | None) -> bytes:
        with _readable(name, sizes, archive):
            data = file.extractfile(members[safe[name]])
            assert data is not None
            return data.read() if n_bytes is None else data.read(n_bytes)

    return Archive(sizes=sizes, left_out=left_out, read=read, close=stream.close)


class _TarHeaders(io.BufferedReader):
    """A tar whose headers are read first: those that claim a lot are refused before memory is taken for them."""

    are_read = False

    def __init__(self, file: io.FileIO):
        super().__init__(file)
        self._left = _MAX_TAR_HEADER_BYTES

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes; ValueError for headers of more than ``_MAX_TAR_HEADER_BYTES`` in all."""
        if not self.are_read and size is not None and size > 2048:
            self._left -= size
            if self._left < 0:
                raise ValueError("its headers are too long")
        return super().read(size)


@contextlib.contextmanager
def _readable(name: str, sizes: Mapping[str, int], archive: Path) -> Iterator[None]:
    """Turn whatever goes wrong with a member in the block, or its size, into an InputError that names it."""
    if name not in sizes:
        raise InputError(f"holds nothing called {one_line(name)}", where=archive, fix="name what is in it")
    if sizes[name] > MAX_MEMBER_BYTES:
        what = f"has {sizes[name]} bytes inside its archive, more than {MAX_MEMBER_BYTES}"
        raise InputError(what, where=archive / name, fix=_FIX)
    try:
        yield
    except Exception as error:  # a damaged or encrypted member: whatever the decompressors raise
        raise InputError(
            f"cannot be read from its archive ({type(error).__name__}: {one_line(error)})",
            where=archive / name,
            fix=_FIX,
        ) from None


def _beside(name: str, target: str) -> str:
    """Where a symbolic link leads, as a name in the archive."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), target))


def _safe_names(names: Iterable[str], targets: Mapping[str, str]) -> tuple[dict[str, str], tuple[NameOut, ...]]:
    """Relative names without ``..`` -> the names in the archive that hold their bytes; and what is left out.

    Args:
      names: of files and links.
      targets: for each link the name that it leads to.
    """
    names = tuple(names)
    by_path = {posixpath.normpath(name): name for name in names}
    safe: dict[str, str] = {}
    left_out = []
    for name in names:
        parts = PurePosixPath(name).parts
        if ".." in parts or "\0" in name or name.startswith("/") or PureWindowsPath(name).drive or not parts:
            left_out.append(NameOut(name, "unsafe_name", "its name leads out of the archive"))
            continue
        held, hops = name, 0
        while held in targets and hops < 8:
            held, hops = by_path.get(posixpath.normpath(targets[held]), ""), hops + 1
        if held in targets or not held:
            left_out.append(NameOut(name, "broken_link", "a link to no file of its archive"))
        else:
            safe[PurePosixPath(name).as_posix()] = held
    return safe, tuple(left_out)


def _uncompressed(archive: Path) -> io.FileIO:
    """The tar itself: a compressed one is unpacked once, into a file without a name, to be read in any order."""
    with archive.open("rb") as file:
        opener = opener_of(file.read(6))
    if opener is None:
        return archive.open("rb", buffering=0)
    unpacked = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115, it stays open
    try:
        with opener(archive) as stream:
            while chunk := stream.read(1 << 20):
                unpacked.write(chunk)
                if _is_bomb(unpacked.tell(), archive):
                    raise _bomb(unpacked.tell(), archive)
                if unpacked.tell() > min(_MAX_UNPACKED_BYTES, shutil.disk_usage(tempfile.gettempdir()).free):
                    raise InputError(f"unpacks to more than {unpacked.tell()} bytes", where=archive, fix=_FIX)
        unpacked.seek(0)
    except BaseException:
        unpacked.close()
        raise
    return unpacked


def opener_of(start: bytes) -> Callable[..., io.BufferedIOBase] | None:
    """The function that opens a file with these first bytes, if it is compressed by gzip, bzip2 or xz."""
    for magic, opener in ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ", lzma.open)):
        if start.startswith(magic):
            return opener
    return None


def starts_tar(start: bytes) -> bool:
    """Whether these are the first 263 bytes or more of a tar (POSIX.1-1988, ustar)."""
    return start[257:262] == b"ustar"
