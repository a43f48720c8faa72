"""Opening a DICOM file safely: bounded reads, no warnings, and the syntax its pixels are coded in."""

import contextlib
import io
import warnings
import zlib
from collections.abc import Iterator

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import UID

from ichformer.process.quiet import silent_log

MAX_BYTES = 1 << 27
"""A slice that is larger, as a file or inflated, is refused before memory is taken: 4096 x 4096 at 32 bits, twice."""

MAX_READS = 2_000_000
"""A parser that reads more often is led on by empty elements. The largest enhanced objects, of thousands of frames in
sequences of undefined length, need half of that."""

GE_BIG_ENDIAN_PIXELS = UID("1.2.840.113619.5.2")
"""GE's private syntax: implicit VR, little endian, but the pixels big endian (GE DICOM conformance statements)."""


@contextlib.contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Let pydicom read what breaks the standard without a warning for each value; the audit says what matters."""
    with silent_log("pydicom"), warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        yield


class DicomFile(io.BufferedReader):
    """A file for ``pydicom.dcmread`` that takes no more memory than a slice needs, whatever lengths stand in it.

    ``read`` raises ValueError for a deflated data set that becomes larger than ``MAX_BYTES``, and where it is called
    more than ``MAX_READS`` times.
    """

    name = ""  # pydicom asks for it, and what lies in memory has none

    def __init__(self, file: io.BufferedIOBase):
        self._end = file.seek(0, io.SEEK_END)
        file.seek(0)
        super().__init__(file)
        self._reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes; never asks for more than are left, as Python takes the memory first."""
        self._reads += 1
        if self._reads > MAX_READS:
            raise ValueError("it has millions of elements")
        if size is None or size < 0:
            # pydicom reads all that is left for one purpose: to inflate it.
            packed = super().read(MAX_BYTES)
            if len(zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, MAX_BYTES)) == MAX_BYTES:
                raise ValueError(f"the deflated data set becomes larger than {MAX_BYTES >> 20} MiB")
            return packed
        if size > io.DEFAULT_BUFFER_SIZE:
            size = min(size, max(0, self._end - self.tell()))
        return super().read(size)


def transfer_syntax(dataset: Dataset) -> UID:
    """The transfer syntax of a data set; where a file has no meta header (PS3.10), as it could be parsed."""
    named = getattr(dataset, "file_meta", Dataset()).get("TransferSyntaxUID")
    if named:
        return UID(str(named))
    is_implicit, is_little = dataset.original_encoding
    if is_implicit:
        return pydicom.uid.ImplicitVRLittleEndian
    return pydicom.uid.ExplicitVRLittleEndian if is_little else pydicom.uid.ExplicitVRBigEndian


_PIXEL_DATA = b"\xe0\x7f\x10\x00"


def find_plain_pixels(file: io.BufferedIOBase, syntax: UID) -> int | None:
    """Offset of uncompressed PixelData that follows in the file; None where it is coded (PS3.5 7.1, A.1, A.2)."""
    start = file.read(12)
    if syntax in (pydicom.uid.ImplicitVRLittleEndian, GE_BIG_ENDIAN_PIXELS) and start[:4] == _PIXEL_DATA:
        return file.tell() - 4
    if syntax == pydicom.uid.ExplicitVRLittleEndian and start[:6] in (_PIXEL_DATA + b"OW", _PIXEL_DATA + b"OB"):
        return file.tell()
    return None
