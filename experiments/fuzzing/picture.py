"""Pictures of slices as PNG, JPEG and TIFF, whose chunks, segments and tags are broken."""

import functools
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from experiments.fuzzing.kind import Kind, Source
from experiments.fuzzing.mutations import HUGE, Mutation, by_name, special_or_any
from ichformer.ct.io.scans import read_volume
from ichformer.ct.windows import WINDOWS, apply_windows
from ichformer.errors import InputError
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.preparation.recipe import prepare_volume

_PNG = b"\x89PNG\r\n\x1a\n"


def write_bases(folder: Path, source: Source) -> None:
    """Three slices in the brain window, in each way that slices are kept as pictures."""
    hu = read_volume(source.index["path"].iloc[0]).hu[4:7]
    grey = np.rint(apply_windows(hu, (WINDOWS["brain"],))[..., 0] * 255).astype(np.uint8)
    deep = (hu.astype(np.int32) + 32768).astype(np.uint16)
    pictures = [Image.fromarray(one) for one in grey]
    ways: Mapping[str, tuple[str, str, dict[str, Any]]] = {
        "png L": ("png", "L", {}),
        "png LA": ("png", "LA", {}),
        "png RGB": ("png", "RGB", {}),
        "png P": ("png", "P", {"transparency": 0}),
        "png 1": ("png", "1", {}),
        "jpeg L": ("jpg", "L", {"quality": 95}),
        "jpeg RGB": ("jpg", "RGB", {"quality": 95, "progressive": True}),
        "jpeg CMYK": ("jpg", "CMYK", {}),
        "tiff L": ("tif", "L", {}),
        "tiff lzw": ("tif", "L", {"compression": "tiff_lzw"}),
        "tiff deflate": ("tif", "RGB", {"compression": "tiff_adobe_deflate"}),
    }
    for name, (suffix, mode, options) in ways.items():
        (folder / name).mkdir(parents=True)
        for i, picture in enumerate(pictures):
            picture.convert(mode).save(folder / name / f"{i}.{suffix}", **options)
    for name, suffix in (("png 16", "png"), ("tiff 16", "tif")):
        (folder / name).mkdir()
        for i, one in enumerate(deep):
            Image.fromarray(one).save(folder / name / f"{i}.{suffix}")
    (folder / "tiff pages").mkdir()
    pictures[0].save(folder / "tiff pages" / "scan.tif", save_all=True, append_images=pictures[1:])
    (folder / "png moving").mkdir()
    pictures[0].save(folder / "png moving" / "scan.png", save_all=True, append_images=pictures[1:], duration=9)


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], len(_PNG)
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_header(rng: np.random.Generator, data: bytearray) -> bytes:
    """Another size, depth, colour or order of rows in the header, with the right checksum."""
    chunks = _chunks(bytes(data))
    header = bytearray(chunks[0][1])
    for _ in range(int(rng.integers(1, 3))):
        if rng.random() < 0.5:
            struct.pack_into(">I", header, 4 * int(rng.integers(2)), int(rng.choice((*HUGE, 1, 32, 64, 4097, 30000))))
        else:
            header[8 + int(rng.integers(5))] = int(rng.choice((0, 1, 2, 3, 4, 6, 8, 16, 255)))
    return _PNG + b"".join(_chunk(*one) for one in ((b"IHDR", bytes(header)), *chunks[1:]))


@functools.cache
def _zeros(n_mebibytes: int) -> bytes:
    return zlib.compress(bytes(n_mebibytes << 20), 9)


def png_chunk(rng: np.random.Generator, data: bytearray) -> bytes:
    """Chunks that unpack to megabytes, that turn the picture, make it move, or stand twice or not at all."""
    chunks = _chunks(bytes(data))
    orientation = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0" + bytes([int(rng.integers(10))]) + bytes(6)
    frames = int(rng.choice(HUGE))
    extra = (
        (b"zTXt", b"Comment\0\0" + _zeros(300)),
        (b"iTXt", b"Comment\0\1\0\0\0" + _zeros(300)),
        (b"iCCP", b"icc\0\0" + _zeros(300)),
        (b"IDAT", _zeros(300)),
        (b"tEXt", b"a\0" + b"b" * 100_000),
        (b"eXIf", orientation),
        (b"acTL", struct.pack(">II", frames, 0)),
        (b"fcTL", struct.pack(">IIIIIHHBB", 0, frames, frames, 0, 0, 1, 1, 0, 0)),
        (b"tRNS", rng.bytes(int(rng.choice((0, 1, 2, 6, 256, 300))))),
        (b"PLTE", rng.bytes(int(rng.choice((0, 3, 5, 768, 900))))),
        (b"gAMA", struct.pack(">I", frames)),
        (b"\x1b[3m", b"x"),
    )
    at = int(rng.integers(1, len(chunks)))
    match int(rng.integers(4)):
        case 0:
            chunks.insert(at, chunks[int(rng.integers(len(chunks)))])
        case 1:
            del chunks[at]
        case _:
            chunks.insert(at, extra[int(rng.integers(len(extra)))])
    return _PNG + b"".join(_chunk(*one) for one in chunks)


def png_length(rng: np.random.Generator, data: bytearray) -> bytearray:
    """A chunk that says it is longer or shorter."""
    places = [data.find(name) - 4 for name in (b"IHDR", b"IDAT", b"IEND", b"PLTE", b"tRNS", b"acTL") if name in data]
    struct.pack_into(">I", data, places[int(rng.integers(len(places)))], int(rng.choice((*HUGE, 1, 100, 1 << 24))))
    return data


PNG = by_name((png_header, png_chunk, png_length))


def jpeg_segment(rng: np.random.Generator, data: bytearray) -> bytearray:
    """Sizes, components and lengths in the segments (ITU-T T.81, annex B)."""
    places, at = [], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        places.append(at)
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    start = places[int(rng.integers(len(places)))]
    if 0xC0 <= data[start + 1] <= 0xC3 and rng.random() < 0.7:
        where = start + 5 + 2 * int(rng.integers(2))
        data[where : where + 2] = int(rng.choice((0, 1, 32, 64, 4096, 30000, 65535))).to_bytes(2, "big")
    elif rng.random() < 0.5:
        data[start + 2 : start + 4] = int(rng.choice((0, 1, 2, 8, 65535))).to_bytes(2, "big")
    else:
        data[start + 4 + int(rng.integers(12))] = int(rng.integers(256))
    return data


def jpeg_exif(rng: np.random.Generator, data: bytearray) -> bytearray:
    """A turned picture, or an EXIF block that makes no sense."""
    tag = int(rng.choice((0x0112, 0x8769, 0x8825, 0x0100)))
    block = b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHH", tag, 3, 1, int(rng.integers(12)), 0) + bytes(4)
    if rng.random() < 0.3:
        block = block[: int(rng.integers(len(block)))]
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:]


JPEG = by_name((jpeg_segment, jpeg_exif))

_TIFF_TAGS = (256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 338, 339, 530)


def tiff_tag(rng: np.random.Generator, data: bytearray) -> bytearray:
    """Entries of the first directory (TIFF 6.0, section 2): another tag, type, count or value."""
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, start)
    for _ in range(int(rng.integers(1, 4))):
        entry = start + 2 + 12 * int(rng.integers(count))
        match int(rng.integers(4)):
            case 0:
                struct.pack_into(order + "H", data, entry, int(rng.choice(_TIFF_TAGS)))
            case 1:
                struct.pack_into(order + "H", data, entry + 2, int(rng.integers(15)))
            case 2:
                struct.pack_into(order + "I", data, entry + 4, int(rng.choice((*HUGE, 1, 2, 3, 1000))))
            case _:
                struct.pack_into(order + "I", data, entry + 8, int(rng.choice((*HUGE, 1, 2, 5, 8, 16, 32, 30000))))
    return data


def tiff_pages(rng: np.random.Generator, data: bytearray) -> bytearray:
    """A chain of pages without end, of thousands, or into nowhere."""
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, start)
    directory, end = data[start : start + 2 + 12 * count], start + 2 + 12 * count
    kind = int(rng.integers(3))
    if kind == 0:
        struct.pack_into(order + "I", data, end, start)
    elif kind == 1:
        struct.pack_into(order + "I", data, end, int(rng.choice(HUGE)))
    else:
        data += bytes(len(data) % 2)
        struct.pack_into(order + "I", data, end, len(data))
        for _ in range(int(rng.choice((10, 2000, 20_000)))):
            data += directory + struct.pack(order + "I", len(data) + len(directory) + 4)
    return data


TIFF = by_name((tiff_tag, tiff_pages))


def break_pictures(rng: np.random.Generator, folder: Path) -> str:
    """One picture, or all of them in the same way."""
    files = sorted(folder.iterdir())
    special: dict[str, Mutation] = {".png": PNG, ".jpg": JPEG, ".tif": TIFF}[files[0].suffix]
    name, mutation = special_or_any(rng, special)
    again = int(rng.integers(2**32))
    for file in files if rng.random() < 0.5 else files[:1]:
        file.write_bytes(mutation(np.random.default_rng(again), bytearray(file.read_bytes())))
    return name


def read_pictures(folder: Path) -> None:
    """As one scan, whose window is given where it cannot be told."""
    try:
        volume = read_volume(folder)
    except InputError:
        volume = read_volume(folder, window_hu=(-32768.0, 32767.0))
    prepare_volume(volume, PrepareConfig(size=32))


KIND = Kind(name="picture", share=0.12, write=write_bases, damage=break_pictures, read=read_pictures)
