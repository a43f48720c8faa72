"""Ways to break a file: of any format, and those that know where DICOM, code streams, NIfTI and records keep sizes."""

import io
import json
import re
import struct
import zlib
from collections.abc import Callable, Mapping

import numpy as np
import pydicom
from pydicom.dataelem import RawDataElement

from ichformer.ct.headers import quiet_pydicom

Mutation = Callable[[np.random.Generator, bytearray], bytes | bytearray]

_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF)
_HUGE = (0xFFFFFFFF, 0xFFFFFFFE, 0x7FFFFFFF, 0x80000000, 0x40000000, 0x10000, 0)
_TEXTS = (b"nan", b"inf", b"-1e308", b"1e-308", b"0", b"-1", b"", b"9999999999", b"\x1b[31m", b"\\\\\\", b"\xff\xfe")
_VRS = (b"SQ", b"OB", b"OW", b"UN", b"UT", b"DS", b"IS", b"US", b"FD", b"UI", b"AT", b"PN", b"ZZ", b"\0\0")
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_SIZE_TAGS = ("Rows", "Columns", "NumberOfFrames", "BitsAllocated", "BitsStored", "HighBit", "SamplesPerPixel")
_VALUE_TAGS = (
    *("PixelRepresentation", "PhotometricInterpretation", "PlanarConfiguration", "RescaleSlope", "RescaleIntercept"),
    *("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "SliceThickness", "PixelPaddingValue"),
    *("ImageType", "Modality", "SpecificCharacterSet", "SeriesInstanceUID", "SeriesDescription", "ConvolutionKernel"),
)


def _place(rng: np.random.Generator, data: bytearray) -> int:
    """Any byte; as often one near the start, where headers are."""
    return int(rng.integers(len(data) if rng.random() < 0.5 else min(len(data), 2048))) if data else 0


def flip_bits(rng: np.random.Generator, data: bytearray) -> bytearray:
    for _ in range(int(2 ** rng.integers(0, 7))):
        if data:
            data[_place(rng, data)] ^= 1 << int(rng.integers(8))
    return data


def extreme_bytes(rng: np.random.Generator, data: bytearray) -> bytearray:
    start = _place(rng, data)
    length = int(2 ** rng.integers(0, 9))
    data[start : start + length] = bytes([int(rng.choice(_EXTREMES))]) * len(data[start : start + length])
    return data


def random_bytes(rng: np.random.Generator, data: bytearray) -> bytearray:
    start = _place(rng, data)
    data[start : start + 64] = rng.bytes(len(data[start : start + 64]))
    return data


def truncate(rng: np.random.Generator, data: bytearray) -> bytearray:
    return data[: _place(rng, data)]


def append(rng: np.random.Generator, data: bytearray) -> bytearray:
    return data + (bytes(data) if rng.random() < 0.3 else rng.bytes(int(2 ** rng.integers(0, 16))))


def duplicate_chunk(rng: np.random.Generator, data: bytearray) -> bytearray:
    start, length = _place(rng, data), int(2 ** rng.integers(1, 14))
    chunk = data[start : start + length] * int(rng.integers(1, 9))
    return data[:start] + chunk + data[start:]


def delete_chunk(rng: np.random.Generator, data: bytearray) -> bytearray:
    start = _place(rng, data)
    return data[:start] + data[start + int(2 ** rng.integers(0, 12)) :]


def huge_number(rng: np.random.Generator, data: bytearray) -> bytearray:
    start = _place(rng, data)
    number = struct.pack("<I" if rng.random() < 0.5 else ">I", int(rng.choice(_HUGE)))
    data[start : start + 4] = number[: len(data[start : start + 4])]
    return data


ANY: dict[str, Mutation] = {
    mutation.__name__: mutation
    for mutation in (
        *(flip_bits, extreme_bytes, random_bytes, truncate, append, duplicate_chunk, delete_chunk, huge_number),
    )
}


def _elements(data: bytes) -> dict[str, tuple[int, int, bool]]:
    """Keyword of each element of a data set -> where its value begins, its length, whether its VR is written."""
    with quiet_pydicom():
        dataset = pydicom.dcmread(io.BytesIO(data), force=True)
        found: dict[str, tuple[int, int, bool]] = {}
        for tag in dataset.keys():  # noqa: SIM118, a data set's values are parsed when it is iterated
            raw: object = dataset.get_item(tag)
            if isinstance(raw, RawDataElement) and (keyword := pydicom.datadict.keyword_for_tag(tag)):
                found[keyword] = (raw.value_tell, raw.length, not dataset.original_encoding[0])
        return found


def _inflated(change: Mutation) -> Mutation:
    """``change`` on what is inside, where a data set is deflated: its elements lie there."""

    def apply(rng: np.random.Generator, data: bytearray) -> bytes | bytearray:
        if _DEFLATED not in data[:1024]:
            return change(rng, data)
        start = _body(data)
        meta, body = bytes(data[:start]), zlib.decompress(data[start:], -15)
        plain = meta.replace(_DEFLATED, _DEFLATED[:-3] + b"\0\0\0")
        return _deflate(meta, bytes(change(rng, bytearray(plain + body)))[start:])

    apply.__name__ = change.__name__
    return apply


def _body(data: bytearray) -> int:
    """Where the data set begins behind the preamble and a meta group that says its length."""
    return 144 + int.from_bytes(data[140:144], "little")


def _deflate(meta: bytes, body: bytes) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    return meta + packer.compress(body) + packer.flush()


def tag_size(rng: np.random.Generator, data: bytearray) -> bytearray:
    """Sizes that ask for memory; NumberOfFrames takes the place of another element's text."""
    present = _elements(bytes(data))
    name = str(rng.choice([name for name in _SIZE_TAGS if name in present] or [""]))
    if name:
        start, length, _ = present[name]
        number = int(rng.choice((65535, 32768, 4096, 4097, 64, 32, 12, 8, 2, 1, 0)))
        data[start : start + length] = struct.pack("<H", number)[:length].ljust(length, b" ")
    return data


def tag_value(rng: np.random.Generator, data: bytearray) -> bytearray:
    present = _elements(bytes(data))
    names = [name for name in _VALUE_TAGS if name in present]
    if names:
        start, length, _ = present[str(rng.choice(names))]
        text = bytes(rng.choice(np.array(_TEXTS, object)))
        repeated = b"\\".join([text] * int(rng.integers(1, 7)))
        data[start : start + length] = repeated[:length].ljust(length, b" ")
    return data


def tag_length(rng: np.random.Generator, data: bytearray) -> bytearray:
    present = _elements(bytes(data))
    if present:
        start, _, has_vr = present[str(rng.choice(sorted(present)))]
        is_long = not has_vr or data[start - 8 : start - 6] in (b"OB", b"OW", b"UN", b"SQ", b"UT", b"OF")
        width = 4 if is_long else 2
        data[start - width : start] = struct.pack("<I", int(rng.choice(_HUGE)))[:width]
    return data


def tag_vr(rng: np.random.Generator, data: bytearray) -> bytearray:
    present = [at for at in _elements(bytes(data)).values() if at[2]]
    if present:
        start = present[int(rng.integers(len(present)))][0]
        data[start - 4 : start - 2] = bytes(rng.choice(np.array(_VRS, object)))
    return data


def tag_frames(rng: np.random.Generator, data: bytearray) -> bytearray:
    """NumberOfFrames (0028,0008) put before Rows (0028,0010), with its VR or without."""
    place = _elements(bytes(data)).get("Rows")
    if place:
        start, _, has_vr = place
        text = rng.choice(["2147483647", "-1        ", "2         ", "1e9       "]).encode()
        head = b"\x28\0\x08\0" + (b"IS\x0a\0" if has_vr else b"\x0a\0\0\0")
        data[start - 8 : start - 8] = head + text
    return data


def transfer_syntax(rng: np.random.Generator, data: bytearray) -> bytearray:
    """The file says that it is coded in another way."""
    found = re.search(rb"1\.2\.840\.10008\.1\.2[.0-9]*\0?", data[:1024])
    if found:
        names = (b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.2", _DEFLATED, b"1.2.840.10008.1.2.4.90", b"9.9")
        others = (*names, b"1.2.840.10008.1.2.5", b"1.2.840.10008.1.2.4.70", b"1.2.840.10008.1.2.4.80")
        other = bytes(rng.choice(np.array(others, object)))
        data[found.start() : found.end()] = other[: len(found.group())].ljust(len(found.group()), b"\0")
    return data


def code_stream(rng: np.random.Generator, data: bytearray) -> bytearray:
    """The sizes inside a JPEG, JPEG-LS or JPEG 2000 code stream, or bytes of its first kilobyte."""
    markers = [m.start() for m in re.finditer(rb"\xff(?:\x51\0|[\xc0-\xc3\xf7]\0)", data)]
    if not markers or rng.random() < 0.5:
        start = data.find(b"\xe0\x7f\x10\0")
        for _ in range(int(rng.integers(1, 9))):
            if start >= 0 and start + 8 < len(data):
                data[start + 8 + int(rng.integers(min(1024, len(data) - start - 8)))] = int(rng.integers(256))
        return data
    start = int(rng.choice(markers))
    is_j2k = data[start + 1] == 0x51
    width, place = (4, start + 6 + 4 * int(rng.integers(8))) if is_j2k else (2, start + 5 + 2 * int(rng.integers(2)))
    data[place : place + width] = (int(rng.choice((*_HUGE, 65500, 30000, 4096))) & (2 ** (8 * width) - 1)).to_bytes(
        width, "big"
    )
    return data


def bomb(rng: np.random.Generator, data: bytearray) -> bytes | bytearray:
    """Deflated gigabytes, inside the data set or behind it."""
    if _DEFLATED not in data[:1024]:
        return append(rng, data)
    start = _body(data)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = packer.compress(zlib.decompress(data[start:], -15)) + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return bytes(data[:start]) + body + zeros * int(rng.choice((512, 3072, 8192))) + packer.flush()


DICOM: dict[str, Mutation] = {
    **{m.__name__: _inflated(m) for m in (tag_size, tag_value, tag_length, tag_vr, tag_frames)},
    **{m.__name__: m for m in (transfer_syntax, code_stream, bomb)},
}

_NIFTI_FIELDS = {
    "sizeof_hdr": (0, "i", 1),
    "dim": (40, "h", 8),
    "datatype": (70, "h", 1),
    "bitpix": (72, "h", 1),
    "pixdim": (76, "f", 8),
    "vox_offset": (108, "f", 1),
    "scl": (112, "f", 2),
    "codes": (252, "h", 2),
    "quatern": (256, "f", 6),
    "srow": (280, "f", 12),
    "magic": (344, "i", 1),
    "extension": (348, "i", 1),
}
"""Fields of NIfTI-1 (nifti1.h): where each begins, its type, how many."""

_NIFTI_NUMBERS = {
    "h": (32767, -32768, -1, 0, 1, 2, 3, 4, 16, 64, 512, 1024, 2304),
    "i": (2**31 - 1, -(2**31), -1, 0, 1, 348, 540, 16),
    "f": (np.nan, np.inf, -np.inf, 0.0, -1.0, 1e38, 1e-38, 351.5, 3.5e9, 1e6),
}


def nifti_field(rng: np.random.Generator, data: bytearray) -> bytearray:
    for _ in range(int(rng.integers(1, 4))):
        start, kind, count = _NIFTI_FIELDS[str(rng.choice(sorted(_NIFTI_FIELDS)))]
        place = start + struct.calcsize(kind) * int(rng.integers(count))
        if place + 4 <= len(data):
            struct.pack_into("<" + kind, data, place, rng.choice(_NIFTI_NUMBERS[kind]).item())
    return data


def nifti_big(rng: np.random.Generator, data: bytearray) -> bytearray:
    """A header that claims a volume of gigabytes."""
    shape = [(3, 2000, 2000, 2000), (3, 32767, 32767, 32767), (3, 512, 512, 32767), (4, 64, 64, 64, 32767)]
    if len(data) >= 348:
        dims = shape[int(rng.integers(len(shape)))]
        struct.pack_into(f"<{len(dims)}h", data, 40, *dims)
    return data


def gzip_bomb(rng: np.random.Generator, data: bytearray) -> bytes:
    """The file with gigabytes of zeros behind it, gzipped; the header may ask for them."""
    if rng.random() < 0.5:
        data = nifti_big(rng, data)
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    body = packer.compress(bytes(data)) + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return body + zeros * int(rng.choice((512, 4096))) + packer.flush()


NIFTI: dict[str, Mutation] = {m.__name__: m for m in (nifti_field, nifti_big, gzip_bomb)}

_PREFIX = struct.Struct("<4sHII")


def _json_value(rng: np.random.Generator, values: object) -> object:
    """One value somewhere inside, exchanged."""
    strange: tuple[object, ...] = (
        None,
        True,
        -1,
        0,
        2**31,
        10**400,
        1e308,
        float("nan"),
        "",
        "\u202e../..",
        "a" * 5000,
        [],
        {},
        [[0]],
    )
    if rng.random() < 0.15 or not isinstance(values, dict | list) or not values:
        return strange[int(rng.integers(len(strange)))]
    if isinstance(values, dict):
        key = str(rng.choice(sorted(values)))
        if rng.random() < 0.1:
            return {k: v for k, v in values.items() if k != key}
        return values | {key: _json_value(rng, values[key])}
    i = int(rng.integers(len(values)))
    return [*values[:i], _json_value(rng, values[i]), *values[i + 1 :]]


def json_value(rng: np.random.Generator, data: bytearray) -> bytes:
    return json.dumps(_json_value(rng, json.loads(data))).encode()


def record_header(rng: np.random.Generator, data: bytearray) -> bytes:
    """A record whose header says something else, with the right checksum."""
    magic, version, length, _ = _PREFIX.unpack_from(data)
    values: Mapping[str, object] = json.loads(data[_PREFIX.size : _PREFIX.size + length])
    text = json.dumps(_json_value(rng, values)).encode()
    return _PREFIX.pack(magic, version, len(text), zlib.crc32(text)) + text + data[_PREFIX.size + length :]


def record_frame(rng: np.random.Generator, data: bytearray) -> bytes:
    """A record whose frames are broken."""
    start = _PREFIX.size + _PREFIX.unpack_from(data)[2]
    frames = data[start:]
    change = list(ANY.values())[int(rng.integers(len(ANY)))]
    return bytes(data[:start]) + bytes(change(rng, frames))


RECORD: dict[str, Mutation] = {m.__name__: m for m in (record_header, record_frame)}
