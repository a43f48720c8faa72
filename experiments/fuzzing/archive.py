"""Zips and tars of scans, packed in every way, whose directories, headers and members are broken."""

import bz2
import functools
import gzip
import io
import lzma
import re
import struct
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from experiments.fuzzing.dicom import read_scans
from experiments.fuzzing.kind import Kind, Source
from experiments.fuzzing.mutations import ANY, HUGE, Mutation, by_name, choose, special_or_any
from ichformer.ct.scans import find_scans
from ichformer.ct.series import find_series

_NAMES = (
    *("/etc/passwd", "../../x.dcm", "..\\..\\x.dcm", "C:\\x.dcm", "C:x.dcm", "\\\\host\\x.dcm", "//host/x.dcm"),
    *("a\0b.dcm", "", ".", "./.", "/", " ", "a//b.dcm", "a/./b.dcm", "\x1b[31m.dcm", "\u202egnp.exe", "\ud83d\ude00"),
    *("a" * 300 + ".dcm", "a/" * 2000 + "x.dcm", "CON", "nul.dcm", "series", "series/", "x.png", "x.nii.gz", "x.zip"),
)


def _zip_of(members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as file:
        for name, data in members.items():
            file.writestr(zipfile.ZipInfo(name), data, method)
    return made.getvalue()


class _Pipe(io.RawIOBase):
    """What cannot be sought in: sizes then stand behind each member, in a data descriptor."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.data += data
        return len(data)


def _streamed(members: Mapping[str, bytes]) -> bytes:
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(zipfile.ZipInfo(name), data)
    return bytes(pipe.data)


def _zip64(members: Mapping[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        for name, data in members.items():
            with file.open(name, "w", force_zip64=True) as member:
                member.write(data)
    return made.getvalue()


def _tar_of(members: Mapping[str, bytes], how: int = tarfile.PAX_FORMAT) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=how) as file:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
        for kind, target in ((tarfile.SYMTYPE, "../series/0.dcm"), (tarfile.LNKTYPE, "series/0.dcm")):
            info = tarfile.TarInfo(f"links/{kind.decode()}.dcm")
            info.type, info.linkname = kind, target
            file.addfile(info)
    return made.getvalue()


def write_bases(folder: Path, source: Source) -> None:
    """A series of four slices in archives of every make."""
    files = find_series(source.index["path"].iloc[0]).series[0].files[3:7]
    members = {f"series/{i}.dcm": file.read_bytes() for i, file in enumerate(files)}
    fork = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(60)
    mac = {f"./{name}": data for name, data in members.items()} | {"__MACOSX/series/._0.dcm": fork, ".DS_Store": fork}
    long = {f"{'folder ' * 30}/{name}": data for name, data in members.items()}
    tar = _tar_of(members)
    made = {
        "stored.zip": _zip_of(members, zipfile.ZIP_STORED),
        "deflated.zip": _zip_of(members),
        "bzip2.zip": _zip_of(members, zipfile.ZIP_BZIP2),
        "lzma.zip": _zip_of(members, zipfile.ZIP_LZMA),
        "mac.zip": _zip_of(mac),
        "streamed.zip": _streamed(members),
        "zip64.zip": _zip64(members),
        "in a zip.zip": _zip_of({**members, "inner.zip": _zip_of(members)}),
        "plain.tar": tar,
        "gnu.tar": _tar_of(long, tarfile.GNU_FORMAT),
        "pax.tar": _tar_of(long),
        "packed.tar.gz": gzip.compress(tar, mtime=0),
        "packed.tar.bz2": bz2.compress(tar),
        "packed.tar.xz": lzma.compress(tar),
        "pieces.tar.gz": gzip.compress(tar[:5120], mtime=0) + gzip.compress(tar[5120:], mtime=0),
    }
    for name, data in made.items():
        (folder / name).mkdir(parents=True)
        (folder / name / name).write_bytes(data)


# Where the fields of a zip's structures lie (APPNOTE 6.3.10, section 4.3), and how many bytes each has.
_ZIP_FIELDS = {
    b"PK\x03\x04": ((4, 2), (6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2)),
    b"PK\x01\x02": (
        (6, 2),
        (8, 2),
        (10, 2),
        (16, 4),
        (20, 4),
        (24, 4),
        (28, 2),
        (30, 2),
        (32, 2),
        (34, 2),
        (38, 4),
        (42, 4),
    ),
    b"PK\x05\x06": ((4, 2), (6, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)),
    b"PK\x06\x06": ((4, 8), (16, 4), (24, 8), (32, 8), (40, 8), (48, 8)),
    b"PK\x06\x07": ((4, 4), (8, 8), (16, 4)),
    b"PK\x07\x08": ((4, 4), (8, 4), (12, 4)),
}
_ZIP_STRUCTURE = re.compile(rb"PK(?:\x03\x04|\x01\x02|\x05\x06|\x06[\x06\x07]|\x07\x08)")


def zip_field(rng: np.random.Generator, data: bytearray) -> bytearray:
    """Sizes, places, methods, flags and counts that are not so."""
    found = list(_ZIP_STRUCTURE.finditer(data))
    for _ in range(int(rng.integers(1, 4)) if found else 0):
        match = found[int(rng.integers(len(found)))]
        fields = _ZIP_FIELDS[match.group()]
        offset, width = fields[int(rng.integers(len(fields)))]
        small = int(rng.choice((0, 1, 2, 8, 9, 12, 14, 93, 95, 99, 4096, 65535)))
        number = (small if rng.random() < 0.5 else int(rng.choice(HUGE))) & (2 ** (8 * width) - 1)
        place = match.start() + offset
        data[place : place + width] = number.to_bytes(width, "little")
    return data


def _zip_members(data: bytearray) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return {info.filename: file.read(info) for info in file.infolist()}


def zip_member(rng: np.random.Generator, data: bytearray) -> bytes:
    """A sound zip of members one of which is broken, or called by a hostile name."""
    members = _zip_members(data)
    name = list(members)[int(rng.integers(len(members)))]
    method = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)[int(rng.integers(4))]
    if rng.random() < 0.5:
        _, change = choose(rng, ANY)
        return _zip_of(members | {name: bytes(change(rng, bytearray(members[name])))}, method)
    other = _NAMES[int(rng.integers(len(_NAMES)))]
    packed = _zip_of({f"{'N' * 9}" if n == name else n: value for n, value in members.items()}, method)
    # Names with a NUL are cut by zipfile: they are put in afterwards.
    encoded = other.encode("utf-8", "surrogatepass")[:9].ljust(9, b"/")
    if rng.random() < 0.5:
        return packed.replace(b"N" * 9, encoded)
    return _zip_of({(other if n == name else n): value for n, value in members.items()}, method)


def zip_overlap(rng: np.random.Generator, data: bytearray) -> bytes:
    """Many entries for the bytes of one (Fifield, A better zip bomb, WOOT 2019)."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        for name, value in _zip_members(data).items():
            file.writestr(zipfile.ZipInfo(name), value, zipfile.ZIP_DEFLATED)
        first = file.infolist()[0]
        for number in range(int(2 ** rng.integers(3, 15))):
            info = zipfile.ZipInfo(f"{number}.dcm")
            info.header_offset, info.compress_type = first.header_offset, first.compress_type
            info.file_size, info.compress_size, info.CRC = first.file_size, first.compress_size, first.CRC
            file.filelist.append(info)
    return made.getvalue()


@functools.cache
def _zeros(n_mebibytes: int, method: int) -> bytes:
    return _zip_of({"zeros.dcm": bytes(n_mebibytes << 20)}, method)


def zip_bomb(rng: np.random.Generator, data: bytearray) -> bytes:  # noqa: ARG001, as all mutations
    """Zeros that take a thousandth of their size, once or many times; their size may be told as small."""
    method = (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)[int(rng.integers(2))]
    packed = bytearray(_zeros(100, method))
    if rng.random() < 0.5:
        for match in re.finditer(re.escape(struct.pack("<I", 100 << 20)), bytes(packed)):
            packed[match.start() : match.end()] = struct.pack("<I", 1000)
    return zip_overlap(rng, packed) if rng.random() < 0.5 and b"\0\0\x40\x06" in packed else bytes(packed)


ZIP = by_name((zip_field, zip_member, zip_overlap, zip_bomb))


def _tar_headers(data: bytearray) -> list[int]:
    return [start for start in range(0, len(data) - 511, 512) if data[start + 257 : start + 262] == b"ustar"]


def _summed(header: bytearray) -> bytearray:
    """The header with the checksum that it has to have (POSIX.1-1988, ustar)."""
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return header


_TAR_NUMBERS = (
    b"77777777777\0",
    b"00000000000\0",
    b"\x80" + bytes(3) + b"\xff" * 8,
    b"\xff" * 12,
    b"-0000000001\0",
    b"0x10\0",
)
_TAR_TYPES = b"01234567LKxgSDXNVMA\0"


def tar_field(rng: np.random.Generator, data: bytearray) -> bytearray:
    """A header that says something else of a member, with the right checksum."""
    found = _tar_headers(data)
    if found:
        start = found[int(rng.integers(len(found)))]
        header = data[start : start + 512]
        name = _NAMES[int(rng.integers(len(_NAMES)))].encode("utf-8", "surrogatepass")[:99]
        match int(rng.integers(5)):
            case 0:
                header[124:136] = _TAR_NUMBERS[int(rng.integers(len(_TAR_NUMBERS)))].ljust(12, b"\0")
            case 1:
                header[156] = int(rng.choice(np.frombuffer(_TAR_TYPES, np.uint8)))
            case 2:
                header[157:257] = name.ljust(100, b"\0")
            case 3:
                header[0:100] = name.ljust(100, b"\0")
            case _:
                header[257:512] = rng.bytes(255)
        data[start : start + 512] = _summed(header)
    return data


_PAX = (
    *(
        "size=99999999999",
        "size=-1",
        "size=abc",
        "size=1",
        "path=../x.dcm",
        "path=",
        "path=a\0b",
        "linkpath=x",
        "mtime=nan",
    ),
    *("GNU.sparse.major=1", "GNU.sparse.map=0,1,99999999999,1", "GNU.sparse.numblocks=1000000000", "hdrcharset=BINARY"),
    *("GNU.sparse.realsize=99999999999999", "GNU.sparse.size=536870912", "GNU.sparse.minor=0", "atime=1e400"),
)


def tar_extended(rng: np.random.Generator, data: bytearray) -> bytearray:
    """Headers before a member that say more of it, such as another size (POSIX.1-2001, pax), in long chains too."""
    found = _tar_headers(data)
    if not found:
        return data
    texts = [_PAX[int(rng.integers(len(_PAX)))] for _ in range(int(rng.integers(1, 5)))]
    payload = b""
    for text in texts:
        length = len(text.encode()) + 2
        length += len(str(length + len(str(length)) - 1))
        wrong = int(rng.choice((0, 0, 0, 1, -3, 10**9)))
        payload += f"{max(length + wrong, 0)} {text}\n".encode()
    info = tarfile.TarInfo("x")
    info.type = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)[
        int(rng.integers(4))
    ]
    info.size = len(payload)
    block = info.tobuf(tarfile.GNU_FORMAT) + payload.ljust(-(-len(payload) // 512) * 512, b"\0")
    start = found[int(rng.integers(len(found)))]
    return data[:start] + block * int(rng.choice((1, 1, 1, 2, 2000))) + data[start:]


def tar_sparse(rng: np.random.Generator, data: bytearray) -> bytearray:
    """A sparse member that claims gigabytes, in pieces that may lie anywhere."""
    info = tarfile.TarInfo("sparse.dcm")
    info.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    for at in range(386, 482, 12):
        header[at : at + 12] = b"%011o\0" % int(rng.choice((0, 1, 512, 1 << 20, 1 << 32)))
    header[482] = int(rng.integers(2))
    header[483:495] = b"%011o\0" % int(rng.choice((0, 512, 500 << 20, (1 << 33) - 1)))
    return bytearray(_summed(header) * int(rng.choice((1, 3000)))) + data


def tar_end(rng: np.random.Generator, data: bytearray) -> bytearray:
    """Something behind the end, or zeros in the middle that look like it."""
    if rng.random() < 0.5:
        return data + rng.bytes(int(rng.choice((1, 511, 512, 5000))))
    start = 512 * int(rng.integers(len(data) // 512 + 1))
    return data[:start] + bytes(1024) + data[start:]


TAR = by_name((tar_field, tar_extended, tar_sparse, tar_end))

_PACKERS: tuple[tuple[bytes, Callable[[bytes], bytes], Callable[[bytes], bytes]], ...] = (
    (b"\x1f\x8b", gzip.decompress, functools.partial(gzip.compress, compresslevel=1, mtime=0)),
    (b"BZh", bz2.decompress, functools.partial(bz2.compress, compresslevel=1)),
    (b"\xfd7zXZ", lzma.decompress, functools.partial(lzma.compress, preset=0)),
)


def break_archive(rng: np.random.Generator, folder: Path) -> str:
    """The archive; of a packed tar as often what is inside."""
    (file,) = folder.iterdir()
    data = file.read_bytes()
    packed = [(unpack, pack) for start, unpack, pack in _PACKERS if data.startswith(start)]
    kind: dict[str, Mutation] = ZIP if data.startswith(b"PK") else TAR
    if packed and rng.random() < 0.3:
        name, mutation = choose(rng, ANY)
        file.write_bytes(mutation(rng, bytearray(data)))
        return f"packed {name}"
    name, mutation = special_or_any(rng, kind)
    for unpack, pack in packed:
        file.write_bytes(pack(bytes(mutation(rng, bytearray(unpack(data))))))
    if not packed:
        file.write_bytes(mutation(rng, bytearray(data)))
    return name


def read_archive(folder: Path) -> None:
    """Found in its folder, where it is set aside, and read when it is named."""
    (file,) = folder.iterdir()
    find_scans(folder)
    read_scans(file)


KIND = Kind(name="archive", share=0.15, write=write_bases, damage=break_archive, read=read_archive)
