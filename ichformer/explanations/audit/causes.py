"""What is no blood and may still go with a label: places of a scan, and its texture."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Int16, UInt8

from ichformer.ct.anatomy.brain import brain_mask
from ichformer.ct.anatomy.head import SKIN_HU, head_mask
from ichformer.ct.volume import Volume

TEXTURE = "texture"
"""The one cause that is no place."""

CAUSES: Mapping[str, str] = {
    "corners": "what stands in the corners of the picture, such as marks and text",
    "table": "what lies behind the head, such as the table and the head rest",
    "beside_head": "what lies beside the head or before it, such as tubes and lines",
    "skull_and_scalp": "the head outside the brain: skull, scalp and face",
    TEXTURE: "noise and sharpness: the reconstruction kernel, the dose",
}
"""Every cause, and what it is in words."""

PLACES = tuple(name for name in CAUSES if name != TEXTURE)
AROUND_HEAD = ("corners", "table", "beside_head")

NOT_COVERED = (
    "what lies inside the brain and is no blood (shunts, calcium, an offset of all HU)",
    "the number and the thickness of the slices",
)
"""What an audit says nothing of."""

BRAIN = len(PLACES) + 1
"""The value of the brain in ``places_of``."""

_CORNER = 0.2
"""Share of the rows and of the columns that a corner takes."""

_BEHIND = 0.67
"""What lies outside the head and below this share of its height is on the side of the table."""


def places_of(volume: Volume) -> UInt8[np.ndarray, "s h w"]:
    """Where each voxel lies.

    Args:
      volume: a prepared scan with all there is of the head.

    Returns:
      1 + the index in ``PLACES``, or ``BRAIN``; 0 everywhere where no head can be found.
    """
    brain, head = brain_mask(volume), head_mask(volume.hu, volume.spacing_mm)
    if not head.any():
        return np.zeros(volume.hu.shape, np.uint8)
    rows, columns = volume.hu.shape[1:]
    at_row, at_column = (np.abs(np.arange(n) - (n - 1) / 2) > (0.5 - _CORNER) * n for n in (rows, columns))
    first, last = np.flatnonzero(head.any((0, 2)))[[0, -1]]
    behind = np.arange(rows) > first + _BEHIND * (last - first)
    in_plane = np.where(behind[:, None], place_number("table"), place_number("beside_head")).repeat(columns, 1)
    in_plane = np.where(at_row[:, None] & at_column, place_number("corners"), in_plane)
    places = np.broadcast_to(in_plane, volume.hu.shape)
    places = np.where(head, place_number("skull_and_scalp"), places)
    return np.where(brain, BRAIN, places).astype(np.uint8)


def place_number(name: str) -> int:
    """The value of a place in ``places_of``."""
    return 1 + PLACES.index(name)


def holds_something(hu: Int16[np.ndarray, "s h w"], places: UInt8[np.ndarray, "s h w"]) -> tuple[bool, ...]:
    """For each of ``AROUND_HEAD``, whether there is more than air, hair and foam."""
    dense = places[hu > SKIN_HU]
    return tuple(bool((dense == place_number(name)).any()) for name in AROUND_HEAD)
