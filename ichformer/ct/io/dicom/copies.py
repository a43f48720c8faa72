"""Files that hold the same slice twice: copies with the same pixels, and broken files beside a whole one."""

import hashlib
import io
from collections import defaultdict
from collections.abc import Sequence

import pydicom

from ichformer.ct.io.archives import file_size, open_file
from ichformer.ct.io.dicom.dicom_file import MAX_BYTES, DicomFile
from ichformer.ct.io.dicom.enhanced import frame_alone
from ichformer.ct.io.dicom.headers import Header
from ichformer.ct.io.pixels.stored import check_pixels, read_stored
from ichformer.ct.limits import MAX_SIDE
from ichformer.errors import InputError


def broken_copies(headers: Sequence[Header]) -> dict[Header, Header]:
    """Each file whose pixels cannot be read -> a whole file of the same SOPInstanceUID that stands beside it.

    Files of one SOPInstanceUID with the same pixels are not decoded, nor are those that stand alone.
    """
    by_uid: dict[str, list[Header]] = defaultdict(list)
    for header in headers:
        if header.sop_uid:
            by_uid[header.sop_uid].append(header)
    broken: dict[Header, Header] = {}
    for alike in by_uid.values():
        if len({pixels_hash(header) for header in alike} if len(alike) > 1 else ()) < 2:
            continue
        whole = [header for header in alike if _is_whole(header)]
        if whole:
            broken |= {header: whole[0] for header in alike if header not in whole}
    return broken


def pixels_hash(header: Header) -> str:
    """A hash of a slice's coded pixels, of its rescaling to HU and of its pixel format.

    "" where they are cut short, or larger than a slice is.
    """
    try:
        coded = _coded_pixels(header)
    except Exception:  # a parser raises whatever it stumbles over, and what is broken is no copy of anything
        return ""
    said = (header.transfer_syntax, header.slope, header.intercept, header.signed, header.bits_stored, header.kernel)
    return hashlib.blake2b(coded, key=hashlib.blake2b(repr(said).encode()).digest()[:32]).hexdigest()


def _coded_pixels(header: Header) -> bytes:
    if max(header.rows, header.columns) > MAX_SIDE or file_size(header.path) > MAX_BYTES * header.frames:
        raise ValueError("too large")
    size = header.rows * header.columns * header.bits_allocated // 8
    with open_file(header.path) as file:
        if header.pixels_at is not None:
            file.seek(header.pixels_at)
            coded = file.read(size)
        else:
            data = frame_alone(file.read(), header.frame) if header.frames > 1 else file.read()
            dataset = pydicom.dcmread(DicomFile(io.BytesIO(data)), specific_tags=["PixelData"], force=True)
            coded = bytes(dataset.PixelData)
    if not pydicom.uid.UID(header.transfer_syntax).is_compressed and len(coded) < size:
        raise ValueError("cut short")
    return coded


def _is_whole(header: Header) -> bool:
    try:
        check_pixels(header)
        read_stored(header)
    except InputError:
        return False
    return True
