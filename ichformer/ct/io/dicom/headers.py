"""The header of one DICOM file: the few tags that a head CT needs, checked, as plain values."""

from dataclasses import dataclass, field
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import UID

from ichformer.ct.io.archives import open_file, read_start
from ichformer.ct.io.dicom.dicom_file import DicomFile, find_plain_pixels, transfer_syntax
from ichformer.ct.io.dicom.elements import (
    ACQUISITION_TAGS,
    DECIMAL_TAGS,
    HEADER_TAGS,
    contrast_agent_of,
    contrast_given_of,
    integer_of,
    padding_of,
    parse_age_years,
    parse_decimals,
    parts_of,
    text_of,
)
from ichformer.errors import InputError, one_line

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"

NOT_DICOM = "is not a DICOM file"
"""What the error about a foreign file says, as against a broken one."""

_LOSSY_SYNTAXES = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 53, 55, 81, 91, 93, 110, 112, 203))
"""PS3.5 section 10: transfer syntaxes that lose, or that may lose and are only chosen in order to."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """The tags of one file. Text is printable, numbers are finite; what is absent or invalid is "" or None.

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
        """The text of a decimal tag that holds no usable number, with what belongs there; "absent" where it is."""
        found = [text for name, text in self.invalid if name == keyword]
        return f"{found[0]!r}, where {DECIMAL_TAGS[keyword]} should stand" if found else "absent"


def read_header(path: Path) -> Header:
    """Read one file's header, without its pixels.

    Raises:
      InputError: the file is not DICOM, or is broken.
    """
    try:
        start = read_start(path, 132)
    except OSError as error:
        raise InputError(f"cannot be opened ({error.strerror})", where=path, fix="check its permissions") from None
    has_preamble = start[128:] == b"DICM"
    # Files without a preamble begin with a tag of group 2 or 8, in either byte order.
    if not has_preamble and start[:2] not in (b"\x08\x00", b"\x02\x00", b"\x00\x08", b"\x00\x02"):
        raise InputError(NOT_DICOM, where=path, fix="nothing to do if it does not belong to the scan")
    try:
        with open_file(path) as opened, DicomFile(opened) as file:
            dataset = pydicom.dcmread(
                file, stop_before_pixels=True, specific_tags=list(HEADER_TAGS), force=not has_preamble
            )
            syntax = transfer_syntax(dataset)
            return header_of(path, dataset, syntax, find_plain_pixels(file, syntax))
    except Exception as error:  # pydicom raises whatever its parser stumbles over
        raise InputError(
            f"has a broken DICOM header ({type(error).__name__}: {error})", where=path, fix="copy or export it again"
        ) from None


def header_of(path: Path, dataset: Dataset, syntax: UID, pixels_at: int | None) -> Header:
    """The header that a parsed data set makes; ``pixels_at`` as in ``Header``."""
    manufacturer = f"{text_of(dataset, 'Manufacturer')} {text_of(dataset, 'ManufacturerModelName')}".strip()
    sop_class = text_of(dataset, "SOPClassUID")
    written = {keyword: parts_of(dataset, keyword) for keyword in DECIMAL_TAGS}
    numbers = {keyword: parse_decimals(written[keyword], *belongs) for keyword, belongs in DECIMAL_TAGS.items()}
    slope, intercept, thickness_mm = (numbers[name] for name in ("RescaleSlope", "RescaleIntercept", "SliceThickness"))
    return Header(
        path=path,
        study_uid=text_of(dataset, "StudyInstanceUID"),
        series_uid=text_of(dataset, "SeriesInstanceUID"),
        patient_id=text_of(dataset, "PatientID"),
        acquisition=tuple(text_of(dataset, keyword) for keyword in ACQUISITION_TAGS),
        sop_uid=text_of(dataset, "SOPInstanceUID"),
        sop_class=sop_class,
        transfer_syntax=str(syntax),
        modality=text_of(dataset, "Modality") or ("CT" if sop_class == CT_IMAGE else ""),
        image_type=tuple(part.strip().upper() for part in text_of(dataset, "ImageType").split("\\")),
        manufacturer=manufacturer,
        description=text_of(dataset, "SeriesDescription"),
        kernel=text_of(dataset, "ConvolutionKernel"),
        contrast_agent=contrast_agent_of(dataset),
        contrast_given=contrast_given_of(dataset),
        body_part=text_of(dataset, "BodyPartExamined"),
        protocol=text_of(dataset, "ProtocolName"),
        age_years=parse_age_years(text_of(dataset, "PatientAge")),
        sex=sex if (sex := text_of(dataset, "PatientSex").upper()) in ("F", "M", "O") else "",
        thickness_mm=thickness_mm[0] if thickness_mm else None,
        location_mm=location[0] if (location := numbers["SliceLocation"]) else None,
        position_mm=numbers["ImagePositionPatient"],
        orientation=numbers["ImageOrientationPatient"],
        spacing_mm=numbers["PixelSpacing"],
        rows=integer_of(dataset, "Rows") or 0,
        columns=integer_of(dataset, "Columns") or 0,
        frames=integer_of(dataset, "NumberOfFrames") or 1,
        frame=0,
        samples=integer_of(dataset, "SamplesPerPixel") or 1,
        photometric=text_of(dataset, "PhotometricInterpretation").upper(),
        bits_allocated=integer_of(dataset, "BitsAllocated") or 0,
        bits_stored=(bits_stored := integer_of(dataset, "BitsStored") or 0),
        high_bit=bits_stored - 1 if (high_bit := integer_of(dataset, "HighBit")) is None else high_bit,
        signed=integer_of(dataset, "PixelRepresentation") == 1,
        padding=padding_of(dataset, "PixelPaddingValue"),
        padding_limit=padding_of(dataset, "PixelPaddingRangeLimit"),
        slope=slope[0] if slope else None,
        intercept=intercept[0] if intercept else None,
        rescale_type=text_of(dataset, "RescaleType").upper(),
        lossy=text_of(dataset, "LossyImageCompression") == "01" or syntax in _LOSSY_SYNTAXES,
        is_directory="DirectoryRecordSequence" in dataset,
        pixels_at=pixels_at,
        invalid=tuple(
            (name, one_line("\\".join(parts), max_chars=120))
            for name, parts in written.items()
            if numbers[name] is None and any(part.strip() for part in parts)
        ),
        decimal_comma=any(numbers[name] and any("," in part for part in parts) for name, parts in written.items()),
    )
