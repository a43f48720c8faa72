"""The stored values of one DICOM slice: checked before memory is taken, then decoded."""

from collections.abc import Sequence

import numpy as np
import pydicom
from jaxtyping import Integer

from ichformer.ct.io.archives import file_size, open_file
from ichformer.ct.io.dicom.dicom_file import GE_BIG_ENDIAN_PIXELS, MAX_BYTES
from ichformer.ct.io.dicom.enhanced import frame_alone
from ichformer.ct.io.dicom.headers import Header
from ichformer.ct.io.pixels.codestream import jpeg_2000_depth
from ichformer.ct.io.pixels.decoding import decode, decode_here, say
from ichformer.ct.limits import MAX_SIDE, MIN_SLOPE, MOST_UNPACKED_BYTES, MOST_UNPACKED_RATIO
from ichformer.errors import InputError, one_line

_PLAIN_SYNTAXES = (
    pydicom.uid.ImplicitVRLittleEndian,
    pydicom.uid.ExplicitVRLittleEndian,
    pydicom.uid.ExplicitVRBigEndian,
    GE_BIG_ENDIAN_PIXELS,
)

_EXPORT = "export the series again, uncompressed if you can"


def check_pixels(header: Header) -> None:
    """Refuse sizes and rescaling that make no sense, before memory is taken.

    Raises:
      InputError: naming the tag.
    """
    if not (1 <= header.rows <= MAX_SIDE and 1 <= header.columns <= MAX_SIDE):
        raise InputError(
            f"Rows (0028,0010) x Columns (0028,0011) is {header.rows} x {header.columns}, more than {MAX_SIDE} a side",
            where=header.path,
            fix=_EXPORT,
        )
    if header.bits_allocated not in (8, 16, 32):
        raise InputError(
            f"BitsAllocated (0028,0100) is {header.bits_allocated}, not 8, 16 or 32", where=header.path, fix=_EXPORT
        )
    if header.bits_stored > header.bits_allocated:
        raise InputError(
            f"BitsStored (0028,0101) is {header.bits_stored}, more than the {header.bits_allocated} of BitsAllocated",
            where=header.path,
            fix=_EXPORT,
        )
    found = file_size(header.path)
    if found > MAX_BYTES * header.frames:
        raise InputError(
            f"has {found >> 20} MiB, more than the {MAX_BYTES >> 20} MiB of the largest slice",
            where=header.path,
            fix=_EXPORT,
        )
    needed = header.rows * header.columns * header.bits_allocated // 8 * header.frames
    if header.transfer_syntax in _PLAIN_SYNTAXES and found < needed:
        raise InputError(
            f"PixelData (7FE0,0010) needs {needed} bytes for Rows x Columns of {header.rows} x {header.columns} at "
            f"{header.bits_allocated} bits, but the file has {found}: it is cut short, or its header is wrong",
            where=header.path,
            fix="copy the file again",
        )
    for name, tag, value in (
        ("RescaleSlope", "(0028,1053)", header.slope),
        ("RescaleIntercept", "(0028,1052)", header.intercept),
    ):
        if value is None or (name == "RescaleSlope" and abs(value) < MIN_SLOPE):
            said = header.said(name) if value is None else f"{value:g}"
            raise InputError(f"{name} {tag} is {said}, so the values are not HU", where=header.path, fix=_EXPORT)


def check_packing(headers: Sequence[Header], *, where: object) -> None:
    """Refuse a series whose pixels become implausibly many, before memory is taken: a decompression bomb.

    A slice of air alone shrinks to almost nothing, so the series is checked as a whole.

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
            fix="if you trust them, unpack the files (gdcmconv --raw does that) and name those",
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
    except Exception as error:  # decoders raise all kinds of exceptions
        name = pydicom.uid.UID(header.transfer_syntax).name
        raise InputError(
            f"PixelData (7FE0,0010), coded as {one_line(name, max_chars=80)}, cannot be decoded "
            f"({one_line(say(error), max_chars=300)})",
            where=header.path,
            fix=f"copy the file again, or {_EXPORT} (gdcmconv --raw and dcmdjpeg do that)",
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
            fix="copy the file again",
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
