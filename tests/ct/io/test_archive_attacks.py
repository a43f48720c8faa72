"""Archives that were made to mislead: what they hold is read rightly, or one line says what is wrong."""

import bz2
import gzip
import io
import re
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from ichformer.ct.io.archives import list_archive, open_file
from ichformer.ct.io.scans import find_scans, read_volume
from ichformer.errors import InputError
from tests.ct.builders import ramp, write_series


@pytest.fixture
def slices(tmp_path) -> dict[str, bytes]:
    files = write_series(tmp_path / "s", np.random.default_rng(0).permuted(ramp()), RescaleType=None)
    return {f"s/{file.name}": file.read_bytes() for file in files}


def zip_of(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytearray:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as file:
        for name, data in members.items():
            file.writestr(zipfile.ZipInfo(name), data, method)
    return bytearray(made.getvalue())


def tar_of(members: dict[str, bytes], *others: tarfile.TarInfo) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as file:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
        for info in others:
            file.addfile(info)
    return made.getvalue()


def entries(data: bytes) -> list[int]:
    """Where the entries of the central directory begin (APPNOTE 6.3.10, section 4.3.12)."""
    return [match.start() for match in re.finditer(rb"PK\x01\x02", bytes(data))]


def read(path):
    """Shape of the only scan in an archive, and the codes of what was set aside."""
    found = find_scans(path)
    shapes = [read_volume(scan).hu.shape for scan in found.series]
    return shapes, [aside.code for aside in found.set_aside]


def test_names_of_windows(tmp_path):
    """Old zips of Windows separate folders by backslashes: pictures of two folders are two scans."""
    made = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32), np.uint8)).save(made, "PNG")
    names = ("AAAAA1.png", "AAAAA2.png", "BBBBB1.png", "CCCCC1.png", "DDDDD1.png")
    data = zip_of(dict.fromkeys(names, made.getvalue()))
    for plain, hostile in (
        (b"AAAAA", b"one\\\\"),
        (b"BBBBB", b"two\\\\"),
        (b"CCCCC", b"C:\\x\\"),
        (b"DDDDD", b"..\\.\\"),
    ):
        data = data.replace(plain, hostile)
    (tmp_path / "a.zip").write_bytes(data)
    files, left_out = list_archive(tmp_path / "a.zip")
    assert [file.relative_to(tmp_path / "a.zip").as_posix() for file in files] == [
        "one/1.png",
        "one/2.png",
        "two/1.png",
    ]
    assert [left.code for left in left_out] == ["unsafe_name", "unsafe_name"]
    assert [len(scan.files) for scan in find_scans(tmp_path / "a.zip").series] == [2, 1]


@pytest.mark.parametrize("name", ["/etc/x.dcm", "//host/x.dcm", "a/../../x.dcm", "C:/x.dcm", "c:x.dcm", "."])
@pytest.mark.parametrize("pack", [zip_of, tar_of])
def test_a_name_that_leads_elsewhere_is_told_and_the_rest_is_read(tmp_path, slices, pack, name):
    (tmp_path / "a").write_bytes(pack({**slices, name: slices["s/000.dcm"]}))
    assert read(tmp_path / "a") == ([(4, 12, 10)], ["unsafe_name"])


def test_a_name_with_a_null_is_cut_there(tmp_path, slices):
    data = zip_of({**slices, "ab/.dcm": b"nothing"}).replace(b"ab/.dcm", b"ab\0.dcm")
    (tmp_path / "a.zip").write_bytes(data)
    assert read(tmp_path / "a.zip") == ([(4, 12, 10)], ["not_dicom"])


def test_links_devices_and_pipes_of_a_tar(tmp_path, slices):
    kinds = (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE)
    targets = ("", "", "", "/dev/zero", "itself.dcm", "../s/000.dcm")
    names = ("zero.dcm", "disk.dcm", "pipe.dcm", "outside.dcm", "itself.dcm", "l/again.dcm")
    others = []
    for kind, target, name in zip(kinds, targets, names, strict=True):
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        others.append(info)
    (tmp_path / "a.tar").write_bytes(tar_of(slices, *others))
    # The link to a slice is that slice again; devices and pipes are no files, and are not opened.
    assert read(tmp_path / "a.tar") == ([(4, 12, 10)], ["broken_link", "broken_link"])


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_pieces_that_are_packed_apart_are_one_tar(tmp_path, slices, pack):
    tar = tar_of(slices)
    (tmp_path / "a.tar.gz").write_bytes(pack(tar[:3000]) + pack(tar[3000:]))
    assert read(tmp_path / "a.tar.gz") == ([(4, 12, 10)], [])


def test_what_stands_behind_the_end(tmp_path, slices):
    """Zeros fill the last block of a tape; anything else says that the file is not what was packed."""
    tar = tar_of(slices)
    (tmp_path / "zeros.tar.gz").write_bytes(gzip.compress(tar) + bytes(700))
    (tmp_path / "behind.tar").write_bytes(tar + b"garbage" * 300)
    (tmp_path / "behind.zip").write_bytes(zip_of(slices) + b"garbage" * 300)
    for name in ("zeros.tar.gz", "behind.tar", "behind.zip"):
        assert read(tmp_path / name) == ([(4, 12, 10)], [])
    (tmp_path / "garbage.tar.gz").write_bytes(gzip.compress(tar) + b"garbage" * 300)
    with pytest.raises(InputError, match="cannot be read"):
        find_scans(tmp_path / "garbage.tar.gz")


@pytest.mark.parametrize("size", [str(1 << 40), "1"])
def test_a_pax_header_that_gives_another_size(tmp_path, slices, size):
    """What stands behind such a member cannot be found."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as file:
        for name, data in slices.items():
            info = tarfile.TarInfo(name)
            info.size, info.pax_headers = len(data), {"size": size} if name == "s/002.dcm" else {}
            file.addfile(info, io.BytesIO(data))
    (tmp_path / "a.tar").write_bytes(made.getvalue())
    with pytest.raises(InputError, match="the archive cannot be read"):
        find_scans(tmp_path / "a.tar")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_damaged_header_is_not_taken_for_the_end(tmp_path, slices, pack):
    """Half a scan would be read without a word."""
    tar = bytearray(tar_of(slices))
    at = tar.index(b"s/002.dcm")
    tar[at + 130] ^= 4  # a digit of its size, which the checksum does not bear out
    (tmp_path / "a.tar").write_bytes(pack(bytes(tar)))
    with pytest.raises(InputError, match=f"the header at byte {at} is damaged"):
        find_scans(tmp_path / "a.tar")


def test_a_tar_without_an_end_is_read(tmp_path, slices):
    """Some programs leave out the two empty blocks that end a tar."""
    tar = tar_of(slices)
    with tarfile.open(fileobj=io.BytesIO(tar)) as file:
        last = file.getmembers()[-1]
    (tmp_path / "a.tar").write_bytes(tar[: last.offset_data + -(-last.size // 512) * 512])
    assert read(tmp_path / "a.tar") == ([(4, 12, 10)], [])


def test_zip64_sizes_that_are_lies(tmp_path, slices):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        for name, data in slices.items():
            with file.open(name, "w", force_zip64=True) as member:
                member.write(data)
    data = bytearray(made.getvalue())
    at = entries(data)[3]
    length = struct.unpack_from("<H", data, at + 28)[0]
    struct.pack_into("<II", data, at + 20, 0xFFFFFFFF, 0xFFFFFFFF)
    extra = struct.pack("<HHQQ", 1, 16, 1 << 60, 1 << 60)
    struct.pack_into("<H", data, at + 30, len(extra))
    data[at + 46 + length : at + 46 + length] = extra
    end = data.rindex(b"PK\x05\x06")
    struct.pack_into("<I", data, end + 12, struct.unpack_from("<I", data, end + 12)[0] + len(extra))
    (tmp_path / "a.zip").write_bytes(data)
    shapes, codes = read(tmp_path / "a.zip")
    assert (shapes, codes) == ([(3, 12, 10)], ["unreadable"])
    with pytest.raises(InputError, match=f"has {1 << 60} bytes inside its archive"):
        open_file(tmp_path / "a.zip" / "s" / "003.dcm")


@pytest.mark.parametrize(
    ("offset", "change"),
    [(8, 1), (8, 1 << 6), (10, 99), (10, 97), (16, 77), (20, 7), (24, 7), (42, 9)],
    ids=["encrypted", "strong", "method 99", "method 97", "crc", "packed size", "size", "place"],
)
def test_a_directory_that_disagrees_with_its_member(tmp_path, slices, offset, change):
    """Flags, method, checksum, sizes or place of one member are not so: that one is told, the others are read."""
    data = zip_of(slices)
    struct.pack_into("<H", data, entries(data)[3] + offset, change)
    (tmp_path / "a.zip").write_bytes(data)
    assert read(tmp_path / "a.zip") == ([(3, 12, 10)], ["unreadable"])


def test_a_member_that_calls_itself_otherwise(tmp_path, slices):
    data = zip_of(slices)
    at = data.index(b"s/003.dcm")
    data[at : at + 9] = b"x/999.dcm"
    (tmp_path / "a.zip").write_bytes(data)
    assert read(tmp_path / "a.zip") == ([(3, 12, 10)], ["unreadable"])


def test_a_zip_over_several_disks_is_refused_or_read_whole(tmp_path, slices):
    data = zip_of(slices)
    struct.pack_into("<HH", data, data.rindex(b"PK\x05\x06") + 4, 3, 3)
    (tmp_path / "a.zip").write_bytes(data)
    assert read(tmp_path / "a.zip") == ([(4, 12, 10)], [])  # all of it is there, whatever the number says
    (tmp_path / "part.zip").write_bytes(data[5000:])
    with pytest.raises(InputError, match=r"part\.zip"):
        read_volume(tmp_path / "part.zip")


def test_an_archive_that_holds_itself_is_not_unpacked_again(tmp_path, slices):
    inner = zip_of(slices)
    for _ in range(4):
        inner = zip_of({"again.zip": bytes(inner)}, zipfile.ZIP_STORED)
    (tmp_path / "a.zip").write_bytes(inner)
    found = find_scans(tmp_path / "a.zip")
    assert not found.series
    assert [(aside.code, aside.text) for aside in found.set_aside] == [
        ("archive", "an archive inside an archive: unpack the outer one, then name the inner one")
    ]


def test_the_same_name_twice_is_the_last_as_unpacking_would_have_it(tmp_path):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as file:
        for text in (b"old", b"new"):
            info = tarfile.TarInfo("x")
            info.size = 3
            file.addfile(info, io.BytesIO(text))
    (tmp_path / "a.tar").write_bytes(made.getvalue())
    with open_file(tmp_path / "a.tar" / "x") as file:
        assert file.read() == b"new"
