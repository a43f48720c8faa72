"""The header of one DICOM file: the few tags that a head CT needs, checked, as plain values."""

import contextlib
import io
import re
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pydicom
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import Tag
from pydicom.uid import UID

from ichformer.ct.io.archives import open_file, read_start
from ichformer.ct.io.silent import silent_log
from ichformer.ct.limits import MAX_INTERCEPT, MAX_POSITION_MM, MAX_SLOPE, MAX_SPACING_MM, MIN_SPACING_MM
from ichformer.errors import InputError, one_line

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"

NOT_DICOM = "is not a DICOM file"
"""What the error about a foreign file says, as against a broken one."""

MAX_BYTES = 1 << 27
"""A slice that is larger, as a file or inflated, is refused before memory is taken: 4096 x 4096 at 32 bits, twice."""

MAX_READS = 2_000_000
"""A parser that reads more often is led on by empty elements. The largest enhanced objects, of thousands of frames in
sequences of undefined length, need half of that."""

_LOSSY_SYNTAXES = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 53, 55, 81, 91, 93, 110, 112, 203))
"""PS3.5 section 10: transfer syntaxes that lose, or that may lose and are only chosen in order to."""

GE_BIG_ENDIAN_PIXELS = UID("1.2.840.113619.5.2")
"""GE's private syntax: implicit VR, little endian, but the pixels big endian (GE DICOM conformance statements)."""

_PIXEL_DATA = b"\xe0\x7f\x10\x00"

_NUMBER = re.compile(r"\s*[+-]?([0-9]+([.,][0-9]*)?|[.,][0-9]+)([eE][+-]?[0-9]+)?\s*")
"""A decimal string (PS3.5 6.2), or one with a comma. Python takes more: 1_0, and digits of other scripts."""

ACQUISITION_TAGS: dict[str, str] = {
    "KVP": "(0018,0060)",
    "AcquisitionUID": "(0008,0017)",
    "AcquisitionNumber": "(0020,0012)",
    "IrradiationEventUID": "(0008,3010)",
    "TemporalPositionIdentifier": "(0020,0100)",
    "TriggerTime": "(0018,1060)",
    "AcquisitionDateTime": "(0008,002A)",
    "AcquisitionDate": "(0008,0022)",
    "AcquisitionTime": "(0008,0032)",
    "SeriesNumber": "(0020,0011)",
    "SeriesTime": "(0008,0031)",
    "ContentTime": "(0008,0033)",
    "StackID": "(0020,9056)",
    "FilterType": "(0018,1160)",
    "ReconstructionDiameter": "(0018,1100)",
    "FrameOfReferenceUID": "(0020,0052)",
    "InstanceNumber": "(0020,0013)",
}
"""Keyword -> tag of what tells one acquisition or reconstruction from another inside a series."""

_CONTRAST_TAGS = ("ContrastBolusVolume", "ContrastBolusTotalDose", "ContrastFlowRate", "ContrastBolusRoute")


class _Decimals(NamedTuple):
    """How many numbers belong into a decimal tag, and what is possible there."""

    how_many: int
    low: float
    high: float

    def __str__(self) -> str:
        numbers = "a number" if self.how_many == 1 else f"{self.how_many} numbers"
        return f"{numbers} from {self.low:g} to {self.high:g}"


_DECIMAL_TAGS = {
    "SliceThickness": _Decimals(1, MIN_SPACING_MM, MAX_SPACING_MM),
    "SliceLocation": _Decimals(1, -MAX_POSITION_MM, MAX_POSITION_MM),
    "ImagePositionPatient": _Decimals(3, -MAX_POSITION_MM, MAX_POSITION_MM),
    "ImageOrientationPatient": _Decimals(6, -10, 10),  # the reader says more of vectors that are not of length 1
    "PixelSpacing": _Decimals(2, MIN_SPACING_MM, MAX_SPACING_MM),
    "RescaleSlope": _Decimals(1, -MAX_SLOPE, MAX_SLOPE),
    "RescaleIntercept": _Decimals(1, -MAX_INTERCEPT, MAX_INTERCEPT),
}
_MAX_INTEGER = 1 << 32
"""No integer of a header is larger: US, UL and IS (PS3.5 6.2)."""

HEADER_TAGS = (
    *ACQUISITION_TAGS,
    *_CONTRAST_TAGS,
    *("PatientID", "ContrastBolusAgentSequence"),
    *("SOPClassUID", "SOPInstanceUID", "Modality", "ImageType", "Manufacturer", "ManufacturerModelName"),
    *("StudyInstanceUID", "SeriesInstanceUID", "SeriesDescription", "ConvolutionKernel", "SliceThickness"),
    "SliceLocation",
    *("ContrastBolusAgent", "BodyPartExamined", "ProtocolName", "PatientAge", "PatientSex"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns", "NumberOfFrames"),
    *("SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit", "PhotometricInterpretation"),
    *("RescaleIntercept", "RescaleSlope", "RescaleType", "LossyImageCompression", "DirectoryRecordSequence"),
)

_TAG_OF = {keyword: Tag(keyword) for keyword in HEADER_TAGS}
_BINARY = frozenset(
    {
        *("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
        *("PixelPaddingValue", "PixelPaddingRangeLimit", "DirectoryRecordSequence", "ContrastBolusAgentSequence"),
    }
)


@dataclass(frozen=True, kw_only=True)
class Header:
    """What one file says of itself. Text is printable, numbers are finite; what is absent or nonsense is "" or None.

    Attributes:
      path: the file.
      study_uid, series_uid, sop_uid, sop_class, transfer_syntax: UIDs as written. The ``sop_uid`` of a frame of an
        enhanced object ends with ``#`` and the frame's number from 1, so that it names one slice.
      patient_id: PatientID. Never printed or written.
      acquisition: the values of ``ACQUISITION_TAGS``, in their order; "" where absent.
      contrast_agent: ContrastBolusAgent, or the meaning of the first code of ContrastBolusAgentSequence.
      contrast_given: the other contrast tags that say that a medium was given, such as "ContrastBolusVolume 80".
      position_mm, orientation: ImagePositionPatient (3) and ImageOrientationPatient (6).
      location_mm: SliceLocation, which nothing is read from: it only shows where positions are doubtful.
      spacing_mm: PixelSpacing, between rows and between columns.
      photometric: PhotometricInterpretation, "" where absent.
      high_bit: HighBit; BitsStored - 1 where it is absent.
      signed: PixelRepresentation is 1.
      age_years: PatientAge; 90 for all that are older.
      sex: PatientSex, "F", "M" or "O".
      frames: NumberOfFrames of the file.
      frame: which of them this is, from 0.
      padding, padding_limit: PixelPaddingValue and PixelPaddingRangeLimit, as stored.
      invalid: (keyword, text) of each decimal tag whose text is no number, not as many as belong there, or one that no
        scanner writes (``ct.limits``).
      decimal_comma: a decimal tag was written with a comma; the numbers are what a point in its place means.
      pixels_at: byte of the file at which uncompressed little-endian pixels start; None where they are something else.
    """

    path: Path
    study_uid: str
    series_uid: str
    patient_id: str = field(repr=False)
    acquisition: tuple[str, ...]
    sop_uid: str
    sop_class: str
    transfer_syntax: str
    modality: str
    image_type: tuple[str, ...]
    manufacturer: str
    description: str
    kernel: str
    contrast_agent: str
    contrast_given: tuple[str, ...]
    body_part: str
    protocol: str
    age_years: float | None
    sex: str
    thickness_mm: float | None
    location_mm: float | None
    position_mm: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing_mm: tuple[float, ...] | None
    rows: int
    columns: int
    frames: int
    frame: int
    samples: int
    photometric: str
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    padding: int | None
    padding_limit: int | None
    slope: float | None
    intercept: float | None
    rescale_type: str
    lossy: bool
    is_directory: bool
    pixels_at: int | None
    invalid: tuple[tuple[str, str], ...]
    decimal_comma: bool

    def said(self, keyword: str) -> str:
        """What stands in a decimal tag that holds no usable number, and what belongs there; "absent" where it is."""
        found = [text for name, text in self.invalid if name == keyword]
        return f"{found[0]!r}, where {_DECIMAL_TAGS[keyword]} should stand" if found else "absent"


@contextlib.contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Read what breaks the letter of the standard without a warning for each value: the audit says what matters."""
    with silent_log("pydicom"), warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        yield


def read_header(path: Path) -> Header:
    """Read one file's header, without its pixels.

    Raises:
      InputError: the file is not DICOM, or is broken.
    """
    try:
        start = read_start(path, 132)
    except OSError as error:
        raise InputError(f"cannot be opened ({error.strerror})", where=path, mend="check its permissions") from None
    has_preamble = start[128:] == b"DICM"
    # Files without a preamble begin with a tag of group 2 or 8, in either byte order.
    if not has_preamble and start[:2] not in (b"\x08\x00", b"\x02\x00", b"\x00\x08", b"\x00\x02"):
        raise InputError(NOT_DICOM, where=path, mend="nothing to do if it does not belong to the scan")
    try:
        with open_file(path) as opened, DicomFile(opened) as file:
            dataset = pydicom.dcmread(
                file, stop_before_pixels=True, specific_tags=list(HEADER_TAGS), force=not has_preamble
            )
            syntax = transfer_syntax(dataset)
            return header_of(path, dataset, syntax, _pixels_at(file, syntax))
    except Exception as error:  # pydicom raises whatever its parser stumbles over
        raise InputError(
            f"has a broken DICOM header ({type(error).__name__}: {error})", where=path, mend="copy or export it again"
        ) from None


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
        """Next bytes; never asks for more than are left, as Python takes memory before it looks."""
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
    """The dataset's transfer syntax, taken from how it could be parsed where a file has no meta header (PS3.10)."""
    named = getattr(dataset, "file_meta", Dataset()).get("TransferSyntaxUID")
    if named:
        return UID(str(named))
    is_implicit, is_little = dataset.original_encoding
    if is_implicit:
        return pydicom.uid.ImplicitVRLittleEndian
    return pydicom.uid.ExplicitVRLittleEndian if is_little else pydicom.uid.ExplicitVRBigEndian


def header_of(path: Path, dataset: Dataset, syntax: UID, pixels_at: int | None) -> Header:
    """The header that a parsed data set makes; ``pixels_at`` as in ``Header``."""
    manufacturer = f"{_text(dataset, 'Manufacturer')} {_text(dataset, 'ManufacturerModelName')}".strip()
    sop_class = _text(dataset, "SOPClassUID")
    written = {keyword: _parts(dataset, keyword) for keyword in _DECIMAL_TAGS}
    numbers = {keyword: _decimals(written[keyword], *belongs) for keyword, belongs in _DECIMAL_TAGS.items()}
    slope, intercept, thickness_mm = (numbers[name] for name in ("RescaleSlope", "RescaleIntercept", "SliceThickness"))
    return Header(
        path=path,
        study_uid=_text(dataset, "StudyInstanceUID"),
        series_uid=_text(dataset, "SeriesInstanceUID"),
        patient_id=_text(dataset, "PatientID"),
        acquisition=tuple(_text(dataset, keyword) for keyword in ACQUISITION_TAGS),
        sop_uid=_text(dataset, "SOPInstanceUID"),
        sop_class=sop_class,
        transfer_syntax=str(syntax),
        modality=_text(dataset, "Modality") or ("CT" if sop_class == CT_IMAGE else ""),
        image_type=tuple(part.strip().upper() for part in _text(dataset, "ImageType").split("\\")),
        manufacturer=manufacturer,
        description=_text(dataset, "SeriesDescription"),
        kernel=_text(dataset, "ConvolutionKernel"),
        contrast_agent=_contrast_agent(dataset),
        contrast_given=tuple(f"{name} {text}" for name in _CONTRAST_TAGS if _is_given(text := _text(dataset, name))),
        body_part=_text(dataset, "BodyPartExamined"),
        protocol=_text(dataset, "ProtocolName"),
        age_years=_age_years(_text(dataset, "PatientAge")),
        sex=sex if (sex := _text(dataset, "PatientSex").upper()) in ("F", "M", "O") else "",
        thickness_mm=thickness_mm[0] if thickness_mm else None,
        location_mm=location[0] if (location := numbers["SliceLocation"]) else None,
        position_mm=numbers["ImagePositionPatient"],
        orientation=numbers["ImageOrientationPatient"],
        spacing_mm=numbers["PixelSpacing"],
        rows=_integer(dataset, "Rows") or 0,
        columns=_integer(dataset, "Columns") or 0,
        frames=_integer(dataset, "NumberOfFrames") or 1,
        frame=0,
        samples=_integer(dataset, "SamplesPerPixel") or 1,
        photometric=_text(dataset, "PhotometricInterpretation").upper(),
        bits_allocated=_integer(dataset, "BitsAllocated") or 0,
        bits_stored=(bits_stored := _integer(dataset, "BitsStored") or 0),
        high_bit=bits_stored - 1 if (high_bit := _integer(dataset, "HighBit")) is None else high_bit,
        signed=_integer(dataset, "PixelRepresentation") == 1,
        padding=_padding(dataset, "PixelPaddingValue"),
        padding_limit=_padding(dataset, "PixelPaddingRangeLimit"),
        slope=slope[0] if slope else None,
        intercept=intercept[0] if intercept else None,
        rescale_type=_text(dataset, "RescaleType").upper(),
        lossy=_text(dataset, "LossyImageCompression") == "01" or syntax in _LOSSY_SYNTAXES,
        is_directory="DirectoryRecordSequence" in dataset,
        pixels_at=pixels_at,
        invalid=tuple(
            (name, one_line("\\".join(parts), max_chars=120))
            for name, parts in written.items()
            if numbers[name] is None and any(part.strip() for part in parts)
        ),
        decimal_comma=any(numbers[name] and any("," in part for part in parts) for name, parts in written.items()),
    )


def _pixels_at(file: io.BufferedIOBase, syntax: UID) -> int | None:
    """Where the value of PixelData starts, if the file stands before it and it is plain (PS3.5 7.1, A.1 and A.2)."""
    start = file.read(12)
    if syntax in (pydicom.uid.ImplicitVRLittleEndian, GE_BIG_ENDIAN_PIXELS) and start[:4] == _PIXEL_DATA:
        return file.tell() - 4
    if syntax == pydicom.uid.ExplicitVRLittleEndian and start[:6] in (_PIXEL_DATA + b"OW", _PIXEL_DATA + b"OB"):
        return file.tell()
    return None


def _text(dataset: Dataset, keyword: str) -> str:
    return one_line("\\".join(part.strip(" \0") for part in _parts(dataset, keyword)))


def _contrast_agent(dataset: Dataset) -> str:
    """ContrastBolusAgent, or what ContrastBolusAgentSequence calls it (enhanced objects, PS3.3 C.7.6.4b)."""
    named = _text(dataset, "ContrastBolusAgent")
    if named or "ContrastBolusAgentSequence" not in dataset:
        return named
    agents = dataset.ContrastBolusAgentSequence
    return one_line(agents[0].get("CodeMeaning") or "an agent without a name") if agents else ""


def _is_given(text: str) -> bool:
    """Whether a contrast tag says that some was given: a number above 0, or a word."""
    try:
        return bool(text) and float(text.replace(",", ".")) > 0
    except ValueError:
        return True


def _age_years(text: str) -> float | None:
    """An age string (PS3.5 6.2): three digits and D, W, M or Y. Whoever is older than 90 may be known by the age."""
    found = re.fullmatch(r"(\d{3})([DWMY])", text.upper())
    if found is None:
        return None
    return min(90.0, int(found[1]) / {"D": 365.25, "W": 365.25 / 7, "M": 12, "Y": 1}[found[2]])


def _decimals(parts: list[str], how_many: int, low: float, high: float) -> tuple[float, ...] | None:
    """``how_many`` numbers from ``low`` to ``high``, or None.

    A comma cannot stand in a decimal string (PS3.5 6.2), so it means a point.
    """
    if len(parts) != how_many or not all(map(_NUMBER.fullmatch, parts)):
        return None
    numbers = tuple(float(part.replace(",", ".")) for part in parts)
    return numbers if all(low <= number <= high for number in numbers) else None


def _integer(dataset: Dataset, keyword: str) -> int | None:
    numbers = _decimals(_parts(dataset, keyword), 1, -_MAX_INTEGER, _MAX_INTEGER)
    return int(numbers[0]) if numbers else None


def _parts(dataset: Dataset, keyword: str) -> list[str]:
    """The values of an element as text; none where it is absent.

    Plain values are taken from the bytes: pydicom's own conversion takes most of the time that reading a header needs.
    """
    element: Any = dataset.get_item(_TAG_OF[keyword])
    if element is None:
        return []
    raw = element.value
    if isinstance(raw, bytes):
        if keyword in _BINARY:
            if len(raw) == 2 and element.VR in ("US", None):
                return [str(int.from_bytes(raw, "little" if element.is_little_endian else "big"))]
        elif raw.isascii() and b"\x1b" not in raw:
            return raw.decode("ascii").rstrip(" \0").split("\\")
    value = dataset.get(keyword)
    if value is None:
        return []
    return [str(part) for part in (value if isinstance(value, MultiValue | list) else [value])]


def _padding(dataset: Dataset, keyword: str) -> int | None:
    """A value of padding; its VR is US or SS (PS3.6), and writers confuse the two, so the sign follows the pixels."""
    value, bits = _integer(dataset, keyword), 16
    if value is None:
        return None
    if _integer(dataset, "PixelRepresentation") == 1:
        return value - (1 << bits) if value >= 1 << (bits - 1) else value
    return value % (1 << bits)
