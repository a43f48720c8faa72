"""Stored values as Hounsfield units: rescaling, and the repairs that real files need."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int16, Integer

from ichformer.ct.io.dicom.headers import Header
from ichformer.ct.volume import AIR_HU

_TISSUE_HU = (-1000, 3000)
_DENSE_BONE_HU = 1100
_LOWEST_PADDING_HU = -4096
"""Padding is -2000 below the intercept at most, -3024 HU; 12 bits hold no less than -4096."""


class Repairs(NamedTuple):
    """What was done to one slice.

    Attributes:
      padded: voxels set to ``AIR_HU`` because they were padding or lower than it.
      lowest_hu: the lowest value before that.
      clipped: voxels above what int16 holds.
      intercept: the wrapped values and the wrong intercept of RSNA 2019 were repaired.
      padding_kept: PixelPaddingValue occurs and would mean tissue.
      sign: PixelRepresentation contradicted the values, which were read with the other sign.
    """

    padded: int
    lowest_hu: int
    clipped: int
    intercept: bool
    padding_kept: bool
    sign: bool


def to_hu(stored: Integer[np.ndarray, "h w"], header: Header) -> tuple[Int16[np.ndarray, "h w"], Repairs]:
    """Stored values to HU: padding and whatever lies below becomes ``AIR_HU``.

    The intercept repair is the one of the RSNA 2019 winners: 12-bit unsigned pixels with an intercept near 0 are values
    that wrapped at 4096 and want -1000. PixelRepresentation is not believed where only the other sign makes sense, see
    ``read_as_unsigned`` and ``read_as_signed``.
    """
    assert header.slope is not None
    assert header.intercept is not None
    slope, intercept = header.slope, header.intercept
    wrapped = header.bits_stored == 12 and not header.signed and intercept > -100
    values = stored
    other_sign = read_as_unsigned(stored, header)
    if other_sign:
        values = stored.view(np.uint16) & ((1 << header.bits_stored) - 1)
    if wrapped:
        values = stored.astype(np.int32)
        values += 1000
        values[values >= 4096] -= 4096
        intercept = -1000.0
    hu = _rescale(values, slope, intercept)
    highest = int(hu.max())
    if highest > np.iinfo(np.int16).max and (signed := read_as_signed(hu, slope, intercept)) is not None:
        hu, other_sign = signed, True
        highest = int(hu.max())
    lowest = int(hu.min())
    padded = hu < AIR_HU if lowest < AIR_HU else np.zeros((), bool)
    padding_kept = False
    if header.padding is not None and (is_padding := _is_padding(stored, header)).any():
        padding_hu = hu[is_padding]
        padding_kept = bool(np.any((padding_hu > _TISSUE_HU[0]) & (padding_hu < _TISSUE_HU[1])))
        if not padding_kept:
            padded = padded | is_padding
    count = int(np.count_nonzero(padded))
    if count:
        np.putmask(hu, padded, AIR_HU)
    clipped = 0
    if highest > np.iinfo(np.int16).max:
        clipped = int(np.count_nonzero(hu > np.iinfo(np.int16).max))
        hu = np.minimum(hu, np.iinfo(np.int16).max)
    return hu.astype(np.int16, copy=False), Repairs(count, lowest, clipped, wrapped, padding_kept, other_sign)


def read_as_unsigned(stored: Integer[np.ndarray, "h w"], header: Header) -> bool:
    """Whether values that are said to be signed are unsigned.

    12 bits with an intercept near -1024 end at 1023 HU if signed, below dense bone. So bone above that shows as values
    of less than -2000 HU. Values that fill a corner of the picture are padding and say nothing.
    """
    assert header.slope is not None
    assert header.intercept is not None
    bits = header.bits_stored
    if not header.signed or stored.dtype != np.int16 or not 8 < bits < 16:
        return False
    if ((1 << (bits - 1)) - 1) * header.slope + header.intercept > _DENSE_BONE_HU or header.intercept > -900:
        return False
    corners = {int(stored[row, column]) for row in (0, -1) for column in (0, -1)}
    doubtful = stored[stored < -(1 << (bits - 2))]
    return bool(np.any(~np.isin(doubtful, list(corners | {header.padding or 0}))))


def read_as_signed(
    hu: Integer[np.ndarray, "..."] | Float[np.ndarray, "..."], slope: float, intercept: float
) -> Integer[np.ndarray, "..."] | Float[np.ndarray, "..."] | None:
    """HU whose stored values are two's complement although they were read as unsigned; None where they are not.

    What is above 32767 HU is no CT. If such values are air, fat or padding once 2^16 (or 2^32) is taken off what was
    stored, all stored values of the upper half are negative ones. The highest stored value may be saturated metal, so
    it proves nothing.

    Args:
      hu: rescaled values.
      slope, intercept: of the rescaling.
    """
    for bits in (16, 32):
        span = slope * 2.0**bits
        top = span - slope + intercept
        with np.errstate(invalid="ignore", over="ignore"):
            proof = (hu > np.iinfo(np.int16).max) & (hu - span >= _LOWEST_PADDING_HU) & (hu < top)
            if slope > 0 and proof.any():
                upper = (hu >= span / 2 + intercept) & (hu <= top)
                return np.where(upper, hu - span, hu).astype(hu.dtype)
    return None


def _is_padding(stored: Integer[np.ndarray, "h w"], header: Header) -> Bool[np.ndarray, "h w"]:
    """PixelPaddingValue, or whatever lies from there to PixelPaddingRangeLimit (PS3.3 C.7.5.1.1.2)."""
    if header.padding is None or header.padding_limit is None:
        return stored == header.padding
    low, high = sorted((header.padding, header.padding_limit))
    return (stored >= low) & (stored <= high)


def _rescale(stored: Integer[np.ndarray, "h w"], slope: float, intercept: float) -> Integer[np.ndarray, "h w"]:
    """``slope * stored + intercept``, rounded, in a copy of a type that holds it."""
    ends = [float(end) * slope + intercept for end in (stored.min(), stored.max())]
    if not (slope.is_integer() and intercept.is_integer() and max(map(abs, ends)) < 2**30 and abs(slope) < 2**15):
        return np.rint(np.clip(stored * slope + intercept, -(2.0**31), 2.0**31 - 1)).astype(np.int64)
    narrow = min(ends) >= -(2**15) and max(ends) < 2**15 and abs(intercept) < 2**15
    # In 16 bits even a sum that wraps on the way is right at the end, where the end fits.
    hu: Integer[np.ndarray, "h w"] = stored.astype(np.int16 if narrow else np.int32)
    if slope != 1:
        np.multiply(hu, int(slope), out=hu)
    return np.add(hu, int(intercept), out=hu)
