"""The pixels of one DICOM file as Hounsfield units: decoding, rescaling, and the repairs that real files need."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pydicom
from jaxtyping import Bool, Float, Int16, Integer

from ichformer.ct.io.archives import file_size, open_file
from ichformer.ct.io.dicom.enhanced import frame_alone
from ichformer.ct.io.dicom.headers import GE_BIG_ENDIAN_PIXELS, MAX_BYTES, Header
from ichformer.ct.io.pixels.codestream import jpeg_2000_depth
from ichformer.ct.io.pixels.decoding import decode, decode_here, say
from ichformer.ct.limits import MAX_SIDE, MIN_SLOPE, MOST_UNPACKED_BYTES, MOST_UNPACKED_RATIO
from ichformer.ct.volume import AIR_HU
from ichformer.errors import InputError, one_line

_TISSUE_HU = (-1000, 3000)
_DENSE_BONE_HU = 1100
_LOWEST_PADDING_HU = -4096
"""Padding is -2000 below the intercept at most, -3024 HU; 12 bits hold no less than -4096."""

_PLAIN_SYNTAXES = (
    pydicom.uid.ImplicitVRLittleEndian,
    pydicom.uid.ExplicitVRLittleEndian,
    pydicom.uid.ExplicitVRBigEndian,
    GE_BIG_ENDIAN_PIXELS,
)

_EXPORT = "export the series again, uncompressed if you can"


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


def check_pixels(header: Header) -> None:
    """Refuse sizes and rescaling that make no sense, before memory is taken.

    Raises:
      InputError: naming the tag.
    """
    if not (1 <= header.rows <= MAX_SIDE and 1 <= header.columns <= MAX_SIDE):
        raise InputError(
            f"Rows (0028,0010) x Columns (0028,0011) is {header.rows} x {header.columns}, more than {MAX_SIDE} a side",
            where=header.path,
            mend=_EXPORT,
        )
    if header.bits_allocated not in (8, 16, 32):
        raise InputError(
            f"BitsAllocated (0028,0100) is {header.bits_allocated}, not 8, 16 or 32", where=header.path, mend=_EXPORT
        )
    if header.bits_stored > header.bits_allocated:
        raise InputError(
            f"BitsStored (0028,0101) is {header.bits_stored}, more than the {header.bits_allocated} of BitsAllocated",
            where=header.path,
            mend=_EXPORT,
        )
    found = file_size(header.path)
    if found > MAX_BYTES * header.frames:
        raise InputError(
            f"has {found >> 20} MiB, more than the {MAX_BYTES >> 20} MiB of the largest slice",
            where=header.path,
            mend=_EXPORT,
        )
    needed = header.rows * header.columns * header.bits_allocated // 8 * header.frames
    if header.transfer_syntax in _PLAIN_SYNTAXES and found < needed:
        raise InputError(
            f"PixelData (7FE0,0010) needs {needed} bytes for Rows x Columns of {header.rows} x {header.columns} at "
            f"{header.bits_allocated} bits, but the file has {found}: it is cut short, or its header is wrong",
            where=header.path,
            mend="copy the file again",
        )
    for name, tag, value in (
        ("RescaleSlope", "(0028,1053)", header.slope),
        ("RescaleIntercept", "(0028,1052)", header.intercept),
    ):
        if value is None or (name == "RescaleSlope" and abs(value) < MIN_SLOPE):
            said = header.said(name) if value is None else f"{value:g}"
            raise InputError(f"{name} {tag} is {said}, so the values are not HU", where=header.path, mend=_EXPORT)


def check_packing(headers: Sequence[Header], *, where: object) -> None:
    """Refuse a series whose pixels become implausibly many, before memory is taken: a decompression bomb.

    A slice of air alone shrinks to almost nothing, so the series is judged as a whole.

    Raises:
      InputError: compressed pixels that become more than ``MOST_UNPACKED_BYTES`` and ``MOST_UNPACKED_RATIO`` times what
        the files hold.
    """
    if headers[0].transfer_syntax in _PLAIN_SYNTAXES:
        return
    unpacked = sum(header.rows * header.columns * header.bits_allocated // 8 for header in headers)
    packed = sum(file_size(path) for path in {header.path for header in headers})
    if unpacked > max(MOST_UNPACKED_BYTES, MOST_UNPACKED_RATIO * packed):
        raise InputError(
            f"its {len(headers)} slices would unpack to {unpacked >> 20} MiB, which is over {MOST_UNPACKED_RATIO} "
            "times the size of their files",
            where=where,
            mend="if you trust them, unpack the files (gdcmconv --raw does that) and name those",
        )


def read_stored(header: Header) -> Integer[np.ndarray, "h w"]:
    """The stored values of one file, decoded.

    Raises:
      InputError: the pixels are cut short, broken, or coded in a way that no installed decoder reads.
    """
    if header.pixels_at is not None and header.bits_allocated == 16:
        return _read_plain(header)
    try:
        is_compressed = pydicom.uid.UID(header.transfer_syntax).is_encapsulated
        if header.bits_stored and header.high_bit != header.bits_stored - 1 and not is_compressed:
            raise ValueError(f"HighBit (0028,0102) is {header.high_bit} with {header.bits_stored} bits stored")
        pixels = (decode if is_compressed else decode_here)(_slice_alone(header), header.transfer_syntax)
        if pixels.shape != (header.rows, header.columns):
            raise ValueError(f"decoded to {pixels.dtype} {list(pixels.shape)}")
    except Exception as error:  # decoders raise whatever they stumble over
        name = pydicom.uid.UID(header.transfer_syntax).name
        raise InputError(
            f"PixelData (7FE0,0010), coded as {one_line(name, max_chars=80)}, cannot be decoded "
            f"({one_line(say(error), max_chars=300)})",
            where=header.path,
            mend=f"copy the file again, or {_EXPORT} (gdcmconv --raw and dcmdjpeg do that)",
        ) from None
    return pixels


def _slice_alone(header: Header) -> bytes:
    """A DICOM file with the pixels of this slice only."""
    with open_file(header.path) as file:
        data = file.read()
    return frame_alone(data, header.frame) if header.frames > 1 else data


def codestream_mismatch(header: Header) -> str:
    """How a JPEG 2000 code stream and its header disagree on sign or bits; "" where they do not."""
    if "JPEG 2000" not in pydicom.uid.UID(header.transfer_syntax).name:
        return ""
    with open_file(header.path) as file:
        said = jpeg_2000_depth(file.read(MAX_BYTES))
    if said is None or said == (header.signed, header.bits_stored):
        return ""
    texts = [
        f"{'signed' if signed else 'unsigned'} {bits} bits"
        for signed, bits in (said, (header.signed, header.bits_stored))
    ]
    return f"the code stream says {texts[0]}, the header {texts[1]}"


def _read_plain(header: Header) -> Integer[np.ndarray, "h w"]:
    """Uncompressed values of 16 bits, straight from the file: what decoding them comes to."""
    pixels = _read_words(header)
    unused = 16 - header.bits_stored
    if not 0 < unused < 16:
        return pixels
    # Bits above HighBit and below the stored ones may hold anything (PS3.5 8.1.1; such bits were allowed until 2008).
    return (pixels << (unused - _low_bits(pixels, header))) >> unused


def has_unused_bits(header: Header) -> bool:
    """Whether bits above HighBit hold something other than the sign, so that what is read without them may be wrong."""
    if header.pixels_at is None:
        return pydicom.uid.UID(header.transfer_syntax).is_encapsulated and _has_unused_coded_bits(header)
    if header.bits_allocated != 16 or not 0 < header.bits_stored <= header.high_bit + 1 < 16:
        return False
    pixels = _read_words(header)
    above = 16 - header.high_bit - 1
    return bool(((pixels << above) >> above != pixels).any())


def _has_unused_coded_bits(header: Header) -> bool:
    """``has_unused_bits`` for compressed pixels that can be decoded."""
    if not 0 < header.bits_stored < header.bits_allocated:
        return False
    try:
        whole = decode(_slice_alone(header), header.transfer_syntax, all_bits=True)
    except ValueError:  # some decoders take so many bits for an error
        return False
    return bool(((whole != read_stored(header)) & ~np.isin(whole >> header.bits_stored, (0, -1))).any())


def _read_words(header: Header) -> Integer[np.ndarray, "h w"]:
    """The 16-bit words of uncompressed pixels, with all their bits."""
    assert header.pixels_at is not None
    needed = header.rows * header.columns * 2
    with open_file(header.path) as file:
        file.seek(header.pixels_at)
        data = file.read(needed)
    if len(data) < needed:
        raise InputError(
            f"PixelData (7FE0,0010) is cut short: {len(data)} bytes, {needed} needed",
            where=header.path,
            mend="copy the file again",
        )
    order = ">" if header.transfer_syntax == GE_BIG_ENDIAN_PIXELS else "<"
    pixels = np.frombuffer(data, f"{order}{'i2' if header.signed else 'u2'}").reshape(header.rows, header.columns)
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def _low_bits(pixels: Integer[np.ndarray, "h w"], header: Header) -> int:
    """Bits below the stored ones: HighBit + 1 - BitsStored, or 0 where the values show that HighBit is wrong."""
    low = header.high_bit + 1 - header.bits_stored
    if not 0 < low <= 16 - header.bits_stored:
        return 0
    used = int(np.bitwise_or.reduce(pixels, axis=None)) & 0xFFFF
    is_wrong = used & ((1 << low) - 1) and not used >> header.bits_stored
    return 0 if is_wrong else low


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
