"""Sizes that lie: they are refused before memory is taken for them."""

import resource
import subprocess
import sys
import zlib

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichformer.ct.io.dicom.dicom_file import MAX_BYTES, DicomFile
from ichformer.ct.io.dicom.headers import read_header
from ichformer.ct.io.pixels import decoding
from ichformer.ct.io.pixels.codestream import stream_size
from ichformer.ct.io.pixels.stored import read_stored
from ichformer.ct.io.scans import read_volume
from ichformer.errors import InputError
from tests.ct.builders import ramp, write_series


def deflated(folder, behind: bytes, times: int):
    """A series whose first file is deflated, with something more behind its data set."""
    files = write_series(folder, ramp())
    dataset = pydicom.dcmread(files[0])
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    pydicom.dcmwrite(files[0], dataset, enforce_file_format=True)
    data = files[0].read_bytes()
    start = 144 + int.from_bytes(data[140:144], "little")
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = packer.compress(zlib.decompress(data[start:], -15)) + packer.flush(zlib.Z_FULL_FLUSH)
    more = packer.compress(behind) + packer.flush(zlib.Z_FULL_FLUSH)
    files[0].write_bytes(data[:start] + body + more * times + packer.flush())
    return files


def test_a_deflated_data_set_that_becomes_gigabytes(tmp_path):
    assert read_volume(deflated(tmp_path / "whole", b"", 0)[0].parent).hu.shape == (4, 12, 10)
    (file, *_) = deflated(tmp_path / "bomb", bytes(1 << 20), 4096)
    assert file.stat().st_size < 1 << 23
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match="becomes larger than 128 MiB"):
        read_header(file)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 512 << 10  # KiB


def test_an_element_that_claims_gigabytes(tmp_path):
    files = write_series(tmp_path / "scan", ramp())
    tail = bytes.fromhex("fcfffcff") + b"OB\0\0" + (2**32 - 16).to_bytes(4, "little") + b"short"
    files[0].write_bytes(files[0].read_bytes() + tail)
    code = (
        "import resource, sys; from ichformer.ct.io.scans import read_volume;"
        "resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30));"
        "print(read_volume(sys.argv[1]).hu.shape)"
    )
    said = subprocess.run([sys.executable, "-c", code, files[0].parent], capture_output=True, text=True, check=True)
    assert said.stdout == "(4, 12, 10)\n"
    with files[0].open("rb") as opened, DicomFile(opened) as file:
        assert file.read(10**12) == files[0].read_bytes()


def test_a_slice_of_gigabytes(tmp_path):
    files = write_series(tmp_path / "scan", ramp())
    with files[1].open("r+b") as file:
        file.truncate(3 << 30)  # a sparse file
    with pytest.raises(InputError, match=f"has 3072 MiB, more than the {MAX_BYTES >> 20} MiB"):
        read_volume(files[0].parent)


def test_a_code_stream_of_another_size_than_the_header(tmp_path):
    files = write_series(tmp_path / "scan", ramp(rows=32, columns=48))
    for file in files:
        dataset = pydicom.dcmread(file)
        dataset.compress(pydicom.uid.JPEG2000Lossless, generate_instance_uid=False)
        pydicom.dcmwrite(file, dataset)
    assert read_volume(tmp_path / "scan").hu.shape == (4, 32, 48)
    data = files[2].read_bytes()
    start = data.index(b"\xff\x4f\xff\x51") + 8
    files[2].write_bytes(data[:start] + (6_000).to_bytes(4, "big") * 2 + data[start + 8 :])
    with pytest.raises(InputError, match="its code stream says 6000 x 6000 x 1"):
        read_volume(tmp_path / "scan")


def siz(*numbers: int, samples: int = 1) -> bytes:
    values = b"".join(number.to_bytes(4, "big") for number in numbers)
    return b"\xff\x4f\xff\x51" + (41).to_bytes(2, "big") + b"\0\0" + values + samples.to_bytes(2, "big") + b"\x0f\1\1"


def test_sizes_in_code_streams():
    app = b"\xff\xe0" + (6).to_bytes(2, "big") + b"abcd"
    frame = bytes.fromhex("fff7000b10 0200 0180 01 011100")
    assert stream_size(b"\xff\xd8" + frame) == stream_size(b"\xff\xd8" + app + b"\xff" + frame) == (512, 384, 1, 16)
    assert stream_size(siz(512, 384, 0, 0, 64, 64, 0, 0)) == (384, 512, 1, 16)
    assert stream_size(siz(520, 390, 8, 6, 520, 390, 0, 0, samples=3)) == (384, 512, 3, 16)
    for wrong, words in (
        (siz(512, 384, 0, 0, 1, 1, 0, 0), "more than 65535 tiles"),
        (siz(512, 384, 0, 0, 0, 64, 0, 0), "tiles make no sense"),
        (siz(512, 384, 600, 0, 64, 64, 0, 0), "tiles make no sense"),
        (siz(512, 384, 0, 0, 64, 64, 0, 0)[:20], "cut short"),
        (b"\xff\xd8" + app, "no frame header"),
        (b"BM" + bytes(64), "do not begin with"),
        (b"", "do not begin with"),
    ):
        with pytest.raises(ValueError, match=words):
            stream_size(wrong)


@given(st.binary(max_size=64), st.sampled_from([b"\xff\xd8", b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b""]))
def test_any_bytes_have_a_size_or_none(data, start):
    try:
        size = stream_size(start + data)
    except ValueError:
        return
    assert all(0 <= number < 2**32 for number in size)


def test_sizes_of_real_code_streams(real_data):
    seen = set()
    for path in sorted((real_data / "decoders").glob("CTImage*.dcm")):
        dataset = pydicom.dcmread(path)
        syntax = dataset.file_meta.TransferSyntaxUID
        if syntax.is_encapsulated and syntax != pydicom.uid.RLELossless:
            frame = next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1))
            assert stream_size(frame)[:3] == (dataset.Rows, dataset.Columns, 1)
            seen.add(syntax)
    assert len(seen) == 10


def test_a_decoder_that_dies_takes_nobody_with_it(real_data, tmp_path):
    source = real_data / "decoders" / "CTImage.dcm_JPEGProcess1TransferSyntax_1.2.840.10008.1.2.4.50.dcm"
    sound = read_header(source)
    whole = read_stored(sound)
    dataset = pydicom.dcmread(source)
    dataset.BitsStored = 1  # gdcm aborts its process at it
    pydicom.dcmwrite(tmp_path / "abort.dcm", dataset)
    with pytest.raises(InputError, match="the decoder crashed, or needed more than 4 s"):
        read_stored(read_header(tmp_path / "abort.dcm"))
    assert (read_stored(sound) == whole).all()


@pytest.mark.slow
def test_a_decoder_that_was_killed_is_started_again(tmp_path):
    stored = ramp(rows=32, columns=48)
    for file in (files := write_series(tmp_path / "scan", stored)):
        dataset = pydicom.dcmread(file)
        dataset.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
        pydicom.dcmwrite(file, dataset)
    for file, expected in zip(files, stored, strict=True):
        assert (read_stored(read_header(file)) == expected).all()
        assert decoding._process is not None
        decoding._process.kill()
        decoding._process.wait()
