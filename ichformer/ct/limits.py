"""Limits on the numbers of a header and on the size of a grid, for every format and every command.

Headers are hostile, and options are mistyped. A number that no scanner writes is refused when it is read, and every
grid whose size comes from a header or an option is checked before memory is taken for it.
"""

import math
from collections.abc import Sequence

from ichformer.errors import InputError

MIN_SPACING_MM, MAX_SPACING_MM = 0.02, 50.0
"""Between voxels along any axis, and of a slice's thickness. Micro-CT of bone specimens has 0.02 mm, localizing scans
of a head 20 mm."""

MAX_POSITION_MM = 10_000.0
"""From the origin to any voxel; a scanner's table moves over two metres."""

MAX_EXTENT_MM = 3_000.0
"""From one end of a scan to the other along any axis: longer than any table."""

MIN_SLOPE, MAX_SLOPE = 1e-7, 1e3
"""HU for each stored value. With less, 32 bits span no tissue; with more, neighbouring values are air and bone."""

MAX_INTERCEPT = 2.0**32
"""The value of HU where 0 is stored: 32 bits may be stored with an offset of a half of that."""

MAX_SIDE = 4096
"""Rows, columns or slices. The largest CT matrices have 2048, and the longest scans 3000 slices."""

MAX_VOXELS = 2**30
"""In one grid: 2 GiB of HU."""

MOST_UNPACKED_BYTES, MOST_UNPACKED_RATIO = 2**28, 200
"""What unpacks to more bytes, and to more times its own size, than both is refused: CT shrinks to a half or a third."""


def check_grid(
    shape: Sequence[float], *, what: str, where: object, fix: str, most: int = MAX_SIDE, voxels: int = MAX_VOXELS
) -> None:
    """Refuse a grid that is too large, before memory is taken for it.

    Args:
      shape: slices, rows and columns: whole numbers, as floats too where they may be larger than an integer holds.
      what: what makes the grid so large, such as "filling 5000 missing slices": the subject of the message.
      where: the file, series or option that is named.
      fix: what to do about it.
      most: along any axis.
      voxels: in all.

    Raises:
      InputError: an axis of more than ``most``, or more than ``voxels`` in all.
    """
    if max(shape) > most or math.prod(map(int, shape)) > voxels:
        size = " x ".join(f"{length:.9g}" for length in shape)
        raise InputError(
            f"{what} would need a grid of {size}, where {most} along each axis and {voxels} voxels in all are the most",
            where=where,
            fix=fix,
        )


def check_extent(longest_mm: float, *, where: object, fix: str) -> None:
    """Refuse a scan that is longer than any scanner's table.

    Args:
      longest_mm: of the scan's lengths along its axes the largest.
      where: the file or series that is named.
      fix: what to do about it.

    Raises:
      InputError: more than ``MAX_EXTENT_MM``.
    """
    if not longest_mm <= MAX_EXTENT_MM:
        raise InputError(
            f"it reaches over {longest_mm / 1000:.3g} m, where {MAX_EXTENT_MM / 1000:g} m are the most",
            where=where,
            fix=fix,
        )
