"""Checks of JPEG, JPEG-LS, JPEG 2000 and RLE code streams against the DICOM header.

Decoders believe a stream and take memory for it. Where it is cut short or has other bits than the header says, some of
them return a picture all the same, half of it grey or wrapped.
"""

from typing import NamedTuple

_JPEG_FRAMES = frozenset((0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7))
"""Start of frame, ITU-T T.81 table B.1; 0xF7 is the one of JPEG-LS, ITU-T T.87 table C.1."""

_JPEG_START = b"\xff\xd8"
_MOST_PADDING = 1024
"""Some writers fill up a stream behind its end."""

_MAX_TILES = 65535
"""ITU-T T.800 A.4.2 numbers tiles with 16 bits."""


class StreamSize(NamedTuple):
    """Rows, columns, samples a pixel and bits a sample."""

    rows: int
    columns: int
    samples: int
    bits: int


def check_stream(stream: bytes, *, rows: int, columns: int, bits_allocated: int) -> None:
    """Refuse a JPEG, JPEG-LS or JPEG 2000 code stream that cannot be what the header describes, or that is cut short.

    Raises:
      ValueError: another size, more than one sample, bits that do not fit into BitsAllocated, or no end.
    """
    said = stream_size(stream)
    if said[:3] != (rows, columns, 1):
        raise ValueError(f"its code stream says {said.rows} x {said.columns} x {said.samples}")
    is_jpeg = stream[:2] == _JPEG_START
    # Decoders of JPEG return 8 or 16 bits, whatever the header says; the others return as many as it has room for.
    container = 8 if said.bits <= 8 else 16
    if said.bits > bits_allocated or (is_jpeg and container != bits_allocated and b"\xff\xf7" not in stream[:1024]):
        raise ValueError(
            f"its code stream has {said.bits} bits a sample, which do not fit the {bits_allocated} of BitsAllocated "
            "(0028,0100)"
        )
    if is_jpeg and b"\xff\xd9" not in stream[-_MOST_PADDING:]:
        raise ValueError("its code stream is cut short: it has no end")


def check_rle(stream: bytes, *, pixels: int, bytes_a_pixel: int) -> None:
    """Refuse an RLE stream (PS3.5 annex G) that does not unpack to exactly the pixels of the header.

    Decoders drop what is too much without a word, and then a damaged stream gives a picture that is shifted.

    Raises:
      ValueError: another number of segments or of bytes in one.
    """
    count, *starts = (int.from_bytes(stream[at : at + 4], "little") for at in range(0, 64, 4))
    if len(stream) < 64 or count != bytes_a_pixel:
        raise ValueError(f"it has {count} RLE segments, where BitsAllocated (0028,0100) needs {bytes_a_pixel}")
    ends = [*starts[1:count], len(stream)]
    for number, (start, end) in enumerate(zip(starts[:count], ends, strict=True), start=1):
        if not 64 <= start <= end <= len(stream) or not _fills(stream[start:end], pixels):
            raise ValueError(f"its RLE segment {number} does not unpack to {pixels} bytes: it is cut short or damaged")


def _fills(segment: bytes, wanted: int) -> bool:
    """Whether the runs of an RLE segment end where ``wanted`` bytes are full, with no more than padding behind them."""
    at = filled = 0
    while filled < wanted and at < len(segment):
        code = segment[at]
        if code < 128:
            filled, at = filled + code + 1, at + code + 2
        elif code > 128:
            filled, at = filled + 257 - code, at + 2
        else:  # does nothing
            at += 1
    return filled == wanted and at <= len(segment) and not segment[at:].strip(b"\0\x80")


def stream_size(stream: bytes) -> StreamSize:
    """The size of a frame's code stream; ValueError where it has none that makes sense."""
    if stream[:2] == _JPEG_START:
        return _jpeg_size(stream)
    start = stream[:1024].find(b"\xff\x4f\xff\x51")  # some writers leave the boxes of JP2 before it
    if start < 0:
        raise ValueError("the pixels do not begin with a JPEG, JPEG-LS or JPEG 2000 code stream")
    return _jpeg_2000_size(stream[start + 4 : start + 43])


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
            return StreamSize(rows=rows, columns=columns, samples=stream[at + 9], bits=stream[at + 4])
        if marker == 0xFF:  # fill byte
            at += 1
        else:
            at += 2 + max(length, 2)
    raise ValueError("the code stream has no frame header")


def _jpeg_2000_size(segment: bytes) -> StreamSize:
    """The SIZ segment, ITU-T T.800 A.5.1."""
    if len(segment) < 39:
        raise ValueError("the code stream is cut short")
    width, height, left, top, tile_width, tile_height, tile_left, tile_top = (
        int.from_bytes(segment[at : at + 4], "big") for at in range(4, 36, 4)
    )
    if not (tile_width and tile_height and tile_left <= left < width and tile_top <= top < height):
        raise ValueError("the code stream's tiles make no sense")
    if -(-(width - tile_left) // tile_width) * -(-(height - tile_top) // tile_height) > _MAX_TILES:
        raise ValueError(f"the code stream has more than {_MAX_TILES} tiles")
    samples, bits = int.from_bytes(segment[36:38], "big"), (segment[38] & 0x7F) + 1
    return StreamSize(rows=height - top, columns=width - left, samples=samples, bits=bits)
