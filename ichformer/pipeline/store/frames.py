"""Compresses slices of pixels as frames, without loss.

The HU of a slice are stored as their high bytes, then their low bytes, in one Zstandard frame: high bytes hardly change
from pixel to pixel, and one addition of two planes is all that is left to do after Zstandard. Differences between
neighbours would be smaller still, but undoing them costs more than half of the speed (the table in
``experiments/studies/2026-11-28-store-codecs.md``). A mask is a plain Zstandard frame.
"""

from collections.abc import Iterable

import numpy as np
import zstandard
from jaxtyping import Int16, UInt8

CODEC = "planes-zstd"
_LEVEL = 5  # level 9 makes scans less than 1 % smaller in twice the time; both are read equally fast


def compress_hu(pixels: Int16[np.ndarray, "h w"]) -> bytes:
    """Compresses one slice of HU into a frame."""
    stored = np.ascontiguousarray(pixels).view(np.uint16)
    planes = np.stack([stored >> 8, stored & 0xFF]).astype(np.uint8)
    return _compressor().compress(planes.tobytes())


def decompress_hu(frames: Iterable[bytes], out: Int16[np.ndarray, "s h w"]) -> None:
    """Decompresses frames of HU into ``out``; ``zstandard.ZstdError`` if damaged or of another size."""
    decompressor = zstandard.ZstdDecompressor()
    for frame, stored in zip(frames, out.view(np.uint16), strict=True):
        planes = np.frombuffer(_decompress(decompressor, frame, stored.nbytes), np.uint8)
        high, low = planes.reshape(2, *stored.shape)
        stored[...] = high
        stored <<= 8
        stored |= low


def compress_mask(pixels: UInt8[np.ndarray, "h w"]) -> bytes:
    """Compresses one slice of a mask into a frame."""
    return _compressor().compress(pixels.tobytes())


def decompress_mask(frames: Iterable[bytes], out: UInt8[np.ndarray, "s h w"]) -> None:
    """Decompresses frames of a mask into ``out``; ``zstandard.ZstdError`` as in ``decompress_hu``."""
    decompressor = zstandard.ZstdDecompressor()
    for frame, pixels in zip(frames, out, strict=True):
        pixels[...] = np.frombuffer(_decompress(decompressor, frame, pixels.nbytes), np.uint8).reshape(pixels.shape)


def _compressor() -> zstandard.ZstdCompressor:
    return zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True, write_content_size=True)


def _decompress(decompressor: zstandard.ZstdDecompressor, frame: bytes, n_bytes: int) -> bytes:
    # The frame's own word on its size is checked first: a few hostile bytes can claim, or become, gigabytes.
    if zstandard.get_frame_parameters(frame).content_size != n_bytes:
        raise zstandard.ZstdError("the frame is of another size than the header says")
    return decompressor.decompress(frame, max_output_size=n_bytes, allow_extra_data=False)
