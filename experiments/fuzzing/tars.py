"""Tars whose headers are broken, or say more than they should."""

import tarfile

import numpy as np

from experiments.fuzzing.mutations import NAMES, by_name


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
        name = NAMES[int(rng.integers(len(NAMES)))].encode("utf-8", "surrogatepass")[:99]
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
