"""Archives that are damaged or lie: one line, bounded memory, and the rest of a folder is read all the same."""

import bz2
import gzip
import io
import lzma
import resource
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from ichformer.ct.io import members
from ichformer.ct.io.archives import is_archive, list_archive, open_file, read_start
from ichformer.ct.io.scans import find_scans, read_volume
from ichformer.errors import InputError
from tests.ct.builders import ramp, write_series

PACKERS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


@pytest.fixture
def memory_grows_little():
    """The most memory that this process had grows by less than 300 MiB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 << 10  # KiB


@pytest.fixture
def tar_of_a_series(tmp_path) -> bytes:
    write_series(tmp_path / "s", np.random.default_rng(0).permuted(ramp()))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as file:
        file.add(tmp_path / "s", "s")
    return packed.getvalue()


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize("at", [12, 0.5, -9])
def test_damaged_streams_are_one_line_and_do_not_stop_a_folder(tmp_path, tar_of_a_series, suffix, at):
    packed = bytearray(PACKERS[suffix](tar_of_a_series))
    at = int(len(packed) * at) if isinstance(at, float) else at % len(packed)
    packed[at : at + 8] = bytes(255 - byte for byte in packed[at : at + 8])
    (tmp_path / "s" / f"damaged.tar.{suffix}").write_bytes(packed)
    found = find_scans(tmp_path / "s")
    np.testing.assert_array_equal(read_volume(found).hu[0], read_volume(tmp_path / "s").hu[0])
    assert [aside.path.name for aside in found.set_aside] == [f"damaged.tar.{suffix}"]
    with pytest.raises(InputError, match=r"cannot be read|packed|damaged|not a DICOM"):
        read_volume(tmp_path / "s" / f"damaged.tar.{suffix}")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_member_does_not_stop_the_others(tmp_path, method):
    files = write_series(tmp_path / "s", np.random.default_rng(0).permuted(ramp(6)), RescaleType=None)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as file:
        for path in files:
            file.write(path, path.name)
        start = file.infolist()[-1].header_offset + 60
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[start : start + 40] = bytes(255 - byte for byte in data[start : start + 40])
    (tmp_path / "a.zip").write_bytes(data)
    found = find_scans(tmp_path / "a.zip")
    (series,) = found.series
    assert len(series.files) == 5
    assert [(aside.path.name, aside.code) for aside in found.set_aside] == [("005.dcm", "unreadable")]
    assert read_volume(found).hu.shape == (5, 12, 10)


def headers(kind: bytes, count: int, payload: bytes) -> bytes:
    """A tar of so many headers that say something of the next one, which never comes or is one of them."""
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, len(payload)
    return (info.tobuf(tarfile.GNU_FORMAT) + payload.ljust(-(-len(payload) // 512) * 512, b"\0")) * count


@pytest.mark.parametrize(
    ("kind", "count", "payload"),
    [
        (tarfile.GNUTYPE_LONGNAME, 3000, b"name"),
        (tarfile.GNUTYPE_LONGLINK, 3000, b"name"),
        (tarfile.XHDTYPE, 3000, b"12 path=abcd\n"),
        (tarfile.XGLTYPE, 3000, b"12 path=abcd\n"),
        (tarfile.XHDTYPE, 1, b"9 a=bcde\n" * 300_000),
        (tarfile.REGTYPE, 12_000, b""),
    ],
)
def test_chains_of_headers_are_refused_in_one_line(tmp_path, memory_grows_little, kind, count, payload):
    (tmp_path / "a.tar").write_bytes(lzma.compress(headers(kind, count, payload) + bytes(1024), preset=0))
    with pytest.raises(InputError, match="the archive cannot be read"):
        list_archive(tmp_path / "a.tar")


def test_a_header_that_claims_gigabytes_is_refused(tmp_path, memory_grows_little):
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE):
        info = tarfile.TarInfo("x")
        info.type, info.size = kind, 1 << 40
        (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
        with pytest.raises(InputError, match="its headers are too long"):
            list_archive(tmp_path / "a.tar")


@pytest.mark.parametrize("suffix", ["bz2", "xz"])
def test_a_packed_tar_that_unpacks_without_end_is_refused(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(members, "_BOMB_BYTES", 1 << 22)
    info = tarfile.TarInfo("big.dcm")
    info.size = 1 << 31
    pack = bz2.BZ2Compressor() if suffix == "bz2" else lzma.LZMACompressor(preset=0)
    parts = [pack.compress(info.tobuf()), pack.compress(bytes(1 << 23))]
    (tmp_path / "a.tar").write_bytes(b"".join([*parts, pack.flush()]))
    with pytest.raises(InputError, match="over 200 times its own size"):
        list_archive(tmp_path / "a.tar")


def test_many_members_that_are_small_in_the_archive_only_are_refused(tmp_path, memory_grows_little):
    """One deflated megabyte and hundreds of entries that all point to it, as overlapping zip bombs have it."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("0.dcm", bytes(1 << 20))
        for number in range(1, 300):
            info = zipfile.ZipInfo(f"{number}.dcm")
            info.header_offset, info.compress_type = 0, zipfile.ZIP_DEFLATED
            info.file_size, info.compress_size, info.CRC = 1 << 20, file.infolist()[0].compress_size, 0
            file.filelist.append(info)
            file.NameToInfo[info.filename] = info
    with pytest.raises(InputError, match="would unpack to more than 300 MiB, which is over 200 times its own size"):
        find_scans(tmp_path / "a.zip")


def test_a_sparse_tar_that_claims_terabytes_is_refused(tmp_path, memory_grows_little):
    made = b""
    for number in range(3000):
        info = tarfile.TarInfo(f"{number}.dcm")
        info.type = tarfile.GNUTYPE_SPARSE
        header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
        header[386:398] = header[398:410] = b"%011o\0" % 0  # one piece of no bytes
        header[483:495] = b"%011o\0" % (500 << 20)  # of a file of 500 MiB
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        made += bytes(header)
    (tmp_path / "a.tar").write_bytes(made + bytes(1024))
    with pytest.raises(InputError, match="over 200 times its own size"):
        find_scans(tmp_path / "a.tar")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_that_is_larger_than_it_says_takes_no_memory(tmp_path, memory_grows_little, method):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as file:
        file.writestr("big.dcm", bytes(1 << 24))
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data = data.replace((1 << 24).to_bytes(4, "little"), (100).to_bytes(4, "little"))
    (tmp_path / "a.zip").write_bytes(data)
    member = tmp_path / "a.zip" / "big.dcm"
    with pytest.raises(InputError, match="cannot be read from its archive"):
        open_file(member)


def test_only_the_start_of_a_member_is_unpacked_to_tell_what_it_is(tmp_path, memory_grows_little):
    path = tmp_path / "a.tar"
    info = tarfile.TarInfo("big")
    info.size = 400 << 20
    with path.open("wb") as file:
        file.write(info.tobuf())
        file.truncate(512 + info.size + 1024)
    assert read_start(path / "big", 4096) == bytes(4096)
    assert [aside.code for aside in find_scans(path).set_aside] == ["not_dicom"]


def test_a_picture_that_is_a_program_is_not_run(tmp_path):
    """Pillow hands PostScript to Ghostscript, whatever the file is called."""
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(InputError, match="cannot be read as a picture"):
        read_volume(tmp_path / "a.png")
    made = io.BytesIO()
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(made, "EPS")
    for name in ("b.png", "b.jpg", "b.tiff"):
        (tmp_path / name).write_bytes(made.getvalue())
        with pytest.raises(InputError, match="a picture in a format that is not read"):
            read_volume(tmp_path / name)
    for start in (b" ", b"\n"):  # so that the file's beginning does not give it away
        (tmp_path / "c.png").write_bytes(start + made.getvalue())
        with pytest.raises(InputError, match="cannot be read as a picture"):
            read_volume(tmp_path / "c.png")


def test_what_cannot_be_opened_is_no_archive(tmp_path):
    assert not is_archive(tmp_path / "nothing")
    assert not is_archive(tmp_path)
