"""Elements of a DICOM data set as plain, checked values: text that can be printed, finite numbers."""

import re
from typing import Any, NamedTuple

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import Tag

from ichformer.ct.limits import MAX_INTERCEPT, MAX_POSITION_MM, MAX_SLOPE, MAX_SPACING_MM, MIN_SPACING_MM
from ichformer.errors import one_line

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
    """How many numbers a decimal tag holds, and the range that they may have."""

    how_many: int
    low: float
    high: float

    def __str__(self) -> str:
        numbers = "a number" if self.how_many == 1 else f"{self.how_many} numbers"
        return f"{numbers} from {self.low:g} to {self.high:g}"


DECIMAL_TAGS = {
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


def text_of(dataset: Dataset, keyword: str) -> str:
    """The value of an element as one printable line; "" where it is absent."""
    return one_line("\\".join(part.strip(" \0") for part in parts_of(dataset, keyword)))


def contrast_agent_of(dataset: Dataset) -> str:
    """ContrastBolusAgent, or what ContrastBolusAgentSequence calls it (enhanced objects, PS3.3 C.7.6.4b)."""
    named = text_of(dataset, "ContrastBolusAgent")
    if named or "ContrastBolusAgentSequence" not in dataset:
        return named
    agents = dataset.ContrastBolusAgentSequence
    return one_line(agents[0].get("CodeMeaning") or "an agent without a name") if agents else ""


def contrast_given_of(dataset: Dataset) -> tuple[str, ...]:
    """The contrast tags, other than the agent, that say that a medium was given: "ContrastBolusVolume 80"."""
    return tuple(f"{name} {text}" for name in _CONTRAST_TAGS if _is_given(text := text_of(dataset, name)))


def _is_given(text: str) -> bool:
    """Whether a contrast tag says that some was given: a number above 0, or a word."""
    try:
        return bool(text) and float(text.replace(",", ".")) > 0
    except ValueError:
        return True


def parse_age_years(text: str) -> float | None:
    """Years of an age string (PS3.5 6.2: three digits and D, W, M or Y); at most 90, as higher ages identify."""
    found = re.fullmatch(r"(\d{3})([DWMY])", text.upper())
    if found is None:
        return None
    return min(90.0, int(found[1]) / {"D": 365.25, "W": 365.25 / 7, "M": 12, "Y": 1}[found[2]])


def parse_decimals(parts: list[str], how_many: int, low: float, high: float) -> tuple[float, ...] | None:
    """``how_many`` numbers from ``low`` to ``high``, or None.

    A comma cannot stand in a decimal string (PS3.5 6.2), so it means a point.
    """
    if len(parts) != how_many or not all(map(_NUMBER.fullmatch, parts)):
        return None
    numbers = tuple(float(part.replace(",", ".")) for part in parts)
    return numbers if all(low <= number <= high for number in numbers) else None


def integer_of(dataset: Dataset, keyword: str) -> int | None:
    """The value of an element as one whole number; None where it is absent or no number."""
    numbers = parse_decimals(parts_of(dataset, keyword), 1, -_MAX_INTEGER, _MAX_INTEGER)
    return int(numbers[0]) if numbers else None


def parts_of(dataset: Dataset, keyword: str) -> list[str]:
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


def padding_of(dataset: Dataset, keyword: str) -> int | None:
    """A padding value; writers confuse its VRs US and SS (PS3.6), so its sign follows the pixels."""
    value, bits = integer_of(dataset, keyword), 16
    if value is None:
        return None
    if integer_of(dataset, "PixelRepresentation") == 1:
        return value - (1 << bits) if value >= 1 << (bits - 1) else value
    return value % (1 << bits)
