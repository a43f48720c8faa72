"""Zips whose directories, members and sizes are broken."""

import functools
import io
import re
import struct
import zipfile
from collections.abc import Mapping

import numpy as np

from experiments.fuzzing.mutations import ANY, HUGE, NAMES, by_name, choose


def zip_of(members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as file:
        for name, data in members.items():
            file.writestr(zipfile.ZipInfo(name), data, method)
    return made.getvalue()


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
        return zip_of(members | {name: bytes(change(rng, bytearray(members[name])))}, method)
    other = NAMES[int(rng.integers(len(NAMES)))]
    packed = zip_of({f"{'N' * 9}" if n == name else n: value for n, value in members.items()}, method)
    # Names with a NUL are cut by zipfile: they are put in afterwards.
    encoded = other.encode("utf-8", "surrogatepass")[:9].ljust(9, b"/")
    if rng.random() < 0.5:
        return packed.replace(b"N" * 9, encoded)
    return zip_of({(other if n == name else n): value for n, value in members.items()}, method)


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
    return zip_of({"zeros.dcm": bytes(n_mebibytes << 20)}, method)


def zip_bomb(rng: np.random.Generator, data: bytearray) -> bytes:  # noqa: ARG001, as all mutations
    """Zeros that take a thousandth of their size, once or many times; their size may be told as small."""
    method = (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)[int(rng.integers(2))]
    packed = bytearray(_zeros(100, method))
    if rng.random() < 0.5:
        for match in re.finditer(re.escape(struct.pack("<I", 100 << 20)), bytes(packed)):
            packed[match.start() : match.end()] = struct.pack("<I", 1000)
    return zip_overlap(rng, packed) if rng.random() < 0.5 and b"\0\0\x40\x06" in packed else bytes(packed)


ZIP = by_name((zip_field, zip_member, zip_overlap, zip_bomb))
