"""Compressed slices from strangers: a frame is its slice or an error, and never takes more memory than the slice."""

import struct
import tracemalloc

import numpy as np
import pytest
import zstandard

from ichformer.pipeline.store.frames import compress_hu, compress_mask, decompress_hu, decompress_mask

MAGIC = b"\x28\xb5\x2f\xfd"


def bomb(n_blocks: int, *, told: int | None) -> bytes:
    """A frame of blocks of 128 KiB of one byte, in four bytes each (RFC 8878, section 3.1.1).

    Args:
      n_blocks: how many.
      told: size that its header gives; none where None.
    """
    block = (1 << 1 | (1 << 17) << 3).to_bytes(3, "little") + b"\0"
    header = b"\0\x58" if told is None else b"\xc0\x58" + struct.pack("<Q", told)
    return MAGIC + header + block * n_blocks + b"\x01\0\0"


def test_the_bombs_are_frames():
    assert zstandard.ZstdDecompressor().decompress(bomb(3, told=3 << 17)) == bytes(3 << 17)


@pytest.mark.parametrize("told", [None, 2048, 1 << 30, 1 << 62])
@pytest.mark.parametrize("n_blocks", [1, 1 << 13])
def test_frames_of_gigabytes_are_refused_without_memory(n_blocks, told):
    frame = bomb(n_blocks, told=told)
    tracemalloc.start()
    try:
        with pytest.raises(zstandard.ZstdError):
            decompress_hu([frame], np.zeros((1, 32, 32), np.int16))
        with pytest.raises(zstandard.ZstdError):
            decompress_mask([frame], np.zeros((1, 64, 32), np.uint8))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_no_flipped_bit_changes_a_slice_without_an_error():
    hu = np.random.default_rng(0).integers(-1024, 3000, (1, 8, 8)).astype(np.int16)
    mask = np.zeros((1, 16, 16), np.uint8)
    mask[0, 3:9, 4:6] = 2
    n_refused = 0
    for whole, frame, restore in (
        (hu, compress_hu(hu[0]), decompress_hu),
        (mask, compress_mask(mask[0]), decompress_mask),
    ):
        for bit in range(8 * len(frame)):
            broken = bytearray(frame)
            broken[bit // 8] ^= 1 << bit % 8
            found = np.zeros_like(whole)
            try:
                restore([bytes(broken)], found)
            except zstandard.ZstdError:
                n_refused += 1
            else:
                np.testing.assert_array_equal(found, whole)  # a bit that the format leaves free
    assert n_refused > 1000
