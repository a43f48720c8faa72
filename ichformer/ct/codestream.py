"""What a JPEG, JPEG-LS or JPEG 2000 code stream says of its size: decoders believe it and take memory for it."""

from typing import NamedTuple

_JPEG_FRAMES = frozenset((0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7))
"""Start of frame, ITU-T T.81 table B.1; 0xF7 is the one of JPEG-LS, ITU-T T.87 table C.1."""

_MAX_TILES = 65535
"""ITU-T T.800 A.4.2 numbers tiles with 16 bits."""


class StreamSize(NamedTuple):
    """Rows, columns and samples a pixel."""

    rows: int
    columns: int
    samples: int


def stream_size(stream: bytes) -> StreamSize:
    """The size of a frame's code stream; ValueError where it has none that makes sense."""
    if stream[:2] == b"\xff\xd8":
        return _jpeg_size(stream)
    start = stream[:1024].find(b"\xff\x4f\xff\x51")  # some writers leave the boxes of JP2 before it
    if start < 0:
        raise ValueError("the pixels do not begin with a JPEG, JPEG-LS or JPEG 2000 code stream")
    return _jpeg_2000_size(stream[start + 4 : start + 42])


def jpeg_2000_depth(data: bytes) -> tuple[bool, int] | None:
    """Whether the first JPEG 2000 code stream in a file is signed, and its bits (Ssiz, ITU-T T.800 A.5.1)."""
    start = data.find(b"\xff\x4f\xff\x51")
    if start < 0 or len(data) <= start + 42:
        return None
    said = data[start + 42]
    return bool(said & 0x80), (said & 0x7F) + 1


def _jpeg_size(stream: bytes) -> StreamSize:
    """Walks the marker segments (ITU-T T.81 B.1.1.4) to the frame header (B.2.2)."""
    at = 2
    while at + 10 <= len(stream) and stream[at] == 0xFF:
        marker, length = stream[at + 1], int.from_bytes(stream[at + 2 : at + 4], "big")
        if marker in _JPEG_FRAMES:
            rows, columns = (int.from_bytes(stream[at + i : at + i + 2], "big") for i in (5, 7))
            return StreamSize(rows=rows, columns=columns, samples=stream[at + 9])
        if marker == 0xFF:  # fill byte
            at += 1
        else:
            at += 2 + max(length, 2)
    raise ValueError("the code stream has no frame header")


def _jpeg_2000_size(segment: bytes) -> StreamSize:
    """The SIZ segment, ITU-T T.800 A.5.1."""
    if len(segment) < 38:
        raise ValueError("the code stream is cut short")
    width, height, left, top, tile_width, tile_height, tile_left, tile_top = (
        int.from_bytes(segment[at : at + 4], "big") for at in range(4, 36, 4)
    )
    if not (tile_width and tile_height and tile_left <= left < width and tile_top <= top < height):
        raise ValueError("the code stream's tiles make no sense")
    if -(-(width - tile_left) // tile_width) * -(-(height - tile_top) // tile_height) > _MAX_TILES:
        raise ValueError(f"the code stream has more than {_MAX_TILES} tiles")
    return StreamSize(rows=height - top, columns=width - left, samples=int.from_bytes(segment[36:38], "big"))
