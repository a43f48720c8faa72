"""The fragments of encapsulated pixel data, and which of them make a frame (PS3.5 A.4).

A table of offsets is believed only where the fragments do not tell by themselves, and only where it fits them: a wrong
one would exchange frames without a word.
"""

import itertools
from collections.abc import Sequence

_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51")
"""Of a JPEG or JPEG-LS, and of a JPEG 2000 code stream."""

_END_OF_IMAGE = b"\xff\xd9"


def frame_stream(pixel_data: bytes, frame: int, frames: int, offsets: Sequence[int] = ()) -> bytes:
    """The code stream of one frame.

    Args:
      pixel_data: the value of PixelData.
      frame: which, from 0.
      frames: how many there are.
      offsets: of the Extended Offset Table, where there is one; it goes before the Basic Offset Table.

    Raises:
      ValueError: fragments that are cut short, missing or too many, and tables of offsets that do not fit them.
    """
    table, fragments = _items(pixel_data)
    if frames == 1:
        pictures = sum(fragment.startswith(_STARTS) for _, fragment in fragments)
        if pictures > 1:
            raise ValueError(f"it holds {pictures} pictures, where NumberOfFrames (0028,0008) says 1")
        return b"".join(fragment for _, fragment in fragments)
    if len(fragments) < frames:
        raise ValueError(f"it holds {len(fragments)} fragments, too few for {frames} frames")
    if len(fragments) == frames:
        return fragments[frame][1]
    firsts = _firsts(fragments, frames, offsets or table)
    return b"".join(fragment for _, fragment in fragments[firsts[frame] : firsts[frame + 1]])


def _items(pixel_data: bytes) -> tuple[list[int], list[tuple[int, bytes]]]:
    """The Basic Offset Table, and each fragment with its offset from the first one."""
    found: list[tuple[int, bytes]] = []
    at = 0
    while at < len(pixel_data) and pixel_data[at : at + 4] != _END:
        length = int.from_bytes(pixel_data[at + 4 : at + 8], "little")
        value = pixel_data[at + 8 : at + 8 + length]
        if pixel_data[at : at + 4] != _ITEM or len(value) < length:
            raise ValueError("its fragments are cut short or damaged")
        found.append((at, value))
        at += 8 + length
    if len(found) < 2:
        raise ValueError("it holds no fragments")
    (_, table), (start, _), *_ = found
    offsets = [int.from_bytes(table[i : i + 4], "little") for i in range(0, len(table), 4)]
    return offsets, [(at - start, value) for at, value in found[1:]]


def _firsts(fragments: list[tuple[int, bytes]], frames: int, offsets: Sequence[int]) -> list[int]:
    """The number of each frame's first fragment, and the number of all fragments behind them."""
    numbers = {at: number for number, (at, _) in enumerate(fragments)}
    if offsets:
        ascending = all(low < high for low, high in itertools.pairwise(offsets))
        if len(offsets) != frames or offsets[0] != 0 or not ascending or not numbers.keys() >= set(offsets):
            raise ValueError(f"its table of offsets does not fit its {len(fragments)} fragments")
        return [*(numbers[at] for at in offsets), len(fragments)]
    ends = [number + 1 for number, (_, fragment) in enumerate(fragments) if _END_OF_IMAGE in fragment[-10:]]
    if len(ends) != frames or ends[-1] != len(fragments):
        raise ValueError(f"nothing tells which of its {len(fragments)} fragments belong to which of {frames} frames")
    return [0, *ends]
