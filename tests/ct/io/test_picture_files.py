"""Pictures as programs write them, and as they are broken: seen as a viewer shows them, or refused in one line."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from ichformer.ct.io import picture_files
from ichformer.ct.io.picture_files import read_pages
from ichformer.ct.io.scans import read_volume
from ichformer.errors import InputError

GREY = np.random.default_rng(0).integers(0, 256, (24, 32), dtype=np.uint8)
TURNED = {
    1: GREY,
    2: GREY[:, ::-1],
    3: GREY[::-1, ::-1],
    4: GREY[::-1],
    5: GREY.T,
    6: np.rot90(GREY, -1),
    7: GREY[::-1, ::-1].T,
    8: np.rot90(GREY),
}
"""By the value of the tag Orientation (TIFF 6.0, section 8): how the picture is meant to be seen."""


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def with_chunk(png: bytes, name: bytes, body: bytes) -> bytes:
    """A PNG with one more chunk behind its header."""
    return png[:33] + chunk(name, body) + png[33:]


def encoded(grey, kind="PNG", **options) -> bytes:
    made = io.BytesIO()
    image = grey if isinstance(grey, Image.Image) else Image.fromarray(grey)
    image.save(made, kind, **options)
    return made.getvalue()


def read(tmp_path, data: bytes, name="a.png"):
    (tmp_path / name).write_bytes(data)
    pages = read_pages(tmp_path / name)
    return pages.greys, pages.notes


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
def test_a_picture_is_turned_as_it_says_and_that_is_noted(tmp_path, kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    (grey,), notes = read(tmp_path, encoded(GREY, kind, exif=exif, **({"quality": 100} if kind == "JPEG" else {})))
    assert grey.shape == TURNED[orientation].shape
    assert np.abs(grey.astype(int) - TURNED[orientation]).max() <= (3 if kind == "JPEG" else 0)
    assert set(notes) == ({"picture_turned"} if orientation > 1 else set())


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_a_deep_picture_is_turned_too(tmp_path, kind):
    deep = GREY.astype(np.uint16) * 257
    exif = Image.Exif()
    exif[0x0112] = 6
    (grey,), notes = read(tmp_path, encoded(deep, kind, exif=exif))
    np.testing.assert_array_equal(grey, np.rot90(deep, -1))
    assert "picture_turned" in notes


def test_the_audit_of_a_scan_says_what_was_done(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3
    (tmp_path / "a.png").write_bytes(encoded(GREY, exif=exif))
    codes = {note.code for note in read_volume(tmp_path / "a.png", window_hu=(0, 80)).audit.notes}
    assert "picture_turned" in codes


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P", "L"])
def test_what_is_transparent_is_black_and_noted(tmp_path, mode):
    hidden = GREY < 60
    if mode in ("LA", "RGBA"):
        image = Image.fromarray(GREY).convert(mode)
        image.putalpha(Image.fromarray(np.where(hidden, 0, 255).astype(np.uint8)))
        data, wanted = encoded(image), np.where(hidden, 0, GREY)
    else:
        image = Image.fromarray(np.where(hidden, 255, np.minimum(GREY, 254)).astype(np.uint8)).convert(mode)
        data, wanted = encoded(image, transparency=255), np.where(hidden, 0, np.minimum(GREY, 254))
    (grey,), notes = read(tmp_path, data)
    np.testing.assert_array_equal(grey, wanted)
    assert set(notes) == {"picture_transparent"}
    opaque = Image.fromarray(GREY).convert("RGBA")
    assert read(tmp_path, encoded(opaque))[1] == {}


def tiff(values: np.ndarray, photometric: int) -> bytes:
    """An uncompressed little-endian TIFF of one page (TIFF 6.0, section 2)."""
    tags = {256: values.shape[1], 257: values.shape[0], 258: 8 * values.itemsize, 259: 1, 262: photometric}
    tags |= {273: 8, 277: 1, 278: values.shape[0], 279: values.nbytes}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + values.nbytes) + values.tobytes() + directory


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_tiff_whose_zero_is_white_is_inverted(tmp_path, dtype):
    values = (GREY.astype(np.uint32) * (np.iinfo(dtype).max // 255)).astype(dtype)
    np.testing.assert_array_equal(read(tmp_path, tiff(values, 1))[0][0], values)
    np.testing.assert_array_equal(read(tmp_path, tiff(values, 0))[0][0], np.iinfo(dtype).max - values)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (Image.fromarray(GREY).convert("CMYK"), "colours for print"),
        (Image.fromarray(GREY).convert("1"), "black and white only"),
        (Image.fromarray(GREY.astype(np.int32)), "pixels of mode I"),
        (Image.fromarray(GREY.astype(np.float32)), "pixels of mode F"),
    ],
)
def test_pixels_that_are_no_greys_are_refused(tmp_path, image, said):
    with pytest.raises(InputError, match=said):
        read(tmp_path, encoded(image, "TIFF"))


def test_an_animation_is_refused(tmp_path):
    frames = [Image.fromarray(GREY // k) for k in (1, 2, 3)]
    data = encoded(frames[0], save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match="several pictures, such as an animation"):
        read(tmp_path, data)


def test_bits_profiles_and_interlacing_change_nothing(tmp_path):
    np.testing.assert_array_equal(read(tmp_path, with_chunk(encoded(GREY), b"gAMA", bytes(4)))[0][0], GREY)
    np.testing.assert_array_equal(read(tmp_path, encoded(GREY, icc_profile=b"no profile"))[0][0], GREY)
    rows = np.arange(8, dtype=np.uint8)[:, None].repeat(8, 1) * 2
    # Adam7 (PNG specification, section 8.2): for 8 x 8 pixels each pass is known by hand.
    passes = [rows[0:1, 0:1], rows[0:1, 4:5], rows[4:5, 0::4], rows[0::4, 2::4], rows[2::4, 0::2]]
    passes += [rows[0::2, 1::2], rows[1::2]]
    raw = b"".join(b"\0" + row.tobytes() for part in passes for row in part)
    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 1)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    np.testing.assert_array_equal(read(tmp_path, data)[0][0], rows)


def chained(n_pages: int, *, side: int = 4) -> bytes:
    """A TIFF whose pages all show the same bytes."""
    values = np.full((side, side), 9, np.uint8)
    one = tiff(values, 1)
    start = 8 + values.nbytes
    directory = one[start:-4]
    size = len(directory) + 4
    made = bytearray(one[:start])
    for page in range(n_pages):
        made += directory + struct.pack("<I", 0 if page == n_pages - 1 else start + (page + 1) * size)
    return bytes(made)


def test_pages_without_end_are_refused_after_a_few(tmp_path, monkeypatch):
    monkeypatch.setattr(picture_files, "_MAX_PAGES", 30)
    assert len(read(tmp_path, chained(30))[0]) == 30
    with pytest.raises(InputError, match="has more than 30 pages"):
        read(tmp_path, chained(100_000))
    looped = bytearray(chained(3))
    looped[-4:] = struct.pack("<I", 8 + 16)
    assert len(read(tmp_path, bytes(looped))[0]) == 3


def test_a_later_page_that_is_too_large_is_refused_before_memory_is_taken(tmp_path):
    data = bytearray(chained(2))
    at = data.rindex(struct.pack("<HHII", 256, 4, 1, 4)) + 8
    struct.pack_into("<I", data, at, 1 << 30)
    with pytest.raises(InputError, match="is 4 x 1073741824, more than 4096 a side"):
        read(tmp_path, bytes(data))


@pytest.mark.parametrize(
    ("name", "body"),
    [
        (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(1 << 27))),
        (b"iCCP", b"icc\0\0" + zlib.compress(bytes(1 << 27))),
        (b"eXIf", b"MM\0*\xff\xff\xff\xff"),
        (b"acTL", struct.pack(">II", 0x7FFFFFFF, 0)),
    ],
)
def test_chunks_that_are_bombs_or_broken(tmp_path, name, body):
    """The greys are read as they are, or one line says that they are not; nothing is warned of."""
    try:
        (grey,), _ = read(tmp_path, with_chunk(encoded(GREY), name, body))
    except InputError as error:
        assert error.what.isprintable()  # noqa: PT017, either is right
    else:
        np.testing.assert_array_equal(grey, GREY)


def test_a_chunk_that_says_it_is_longer_than_the_file_takes_no_memory(tmp_path):
    data = bytearray(encoded(GREY))
    struct.pack_into(">I", data, data.index(b"IDAT") - 4, 0x7FFFFFF0)
    (grey,), _ = read(tmp_path, bytes(data))
    np.testing.assert_array_equal(grey, GREY)


def test_damaged_tiffs_are_one_line_and_libtiff_is_silent(tmp_path, capfd):
    data = bytearray(encoded(GREY, "TIFF", compression="tiff_adobe_deflate"))
    data[100:140] = bytes(40)
    with pytest.raises(InputError, match="cannot be read as a picture"):
        read(tmp_path, bytes(data))
    assert capfd.readouterr() == ("", "")
