"""JPEG lossless as CQ500 comes: process 14, selection value 1 (ITU-T T.81, annex H). No library of ours writes it."""

import pathlib
import struct

import numpy as np
import pydicom
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLosslessSV1

_BITS = 5
"""Length of every Huffman code: 17 categories of differences fit into 5 bits."""


def encode(picture: np.ndarray) -> bytes:
    """A grey picture of 16 bits as one scan, each value as its difference to its left neighbour."""
    rows, columns = picture.shape
    predicted = np.empty((rows, columns), np.int64)
    predicted[:, 1:] = picture[:, :-1]
    predicted[1:, 0] = picture[:-1, 0]
    predicted[0, 0] = 1 << 15
    bits = []
    for difference in (picture.astype(np.int64) - predicted).ravel().tolist():
        category = abs(difference).bit_length()
        bits.append(f"{category:0{_BITS}b}")
        if category:
            value = difference if difference > 0 else difference + (1 << category) - 1
            bits.append(f"{value:0{category}b}")
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    entropy = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\x00")
    counts = bytes(17 if length == _BITS else 0 for length in range(1, 17))
    return b"".join(
        [
            b"\xff\xd8",
            _segment(0xC3, struct.pack(">BHHB3B", 16, rows, columns, 1, 1, 0x11, 0)),
            _segment(0xC4, b"\x00" + counts + bytes(range(17))),
            _segment(0xDA, bytes([1, 1, 0, 1, 0, 0])),
            entropy,
            b"\xff\xd9",
        ]
    )


def compress(file: pathlib.Path) -> None:
    """A DICOM file of 16 bits with its pixels coded in that way."""
    dataset = pydicom.dcmread(file)
    code = encode(dataset.pixel_array)
    dataset.PixelData = encapsulate([code + b"\x00" * (len(code) % 2)])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    dataset.save_as(file)


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content
