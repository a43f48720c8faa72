"""Enhanced CT: one file of many frames, read as one header and one picture for each frame (PS3.3 A.38 and A.70)."""

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag

from ichformer.ct.io.archives import open_file
from ichformer.ct.io.dicom.dicom_file import DicomFile
from ichformer.ct.io.dicom.elements import HEADER_TAGS
from ichformer.ct.io.dicom.headers import Header, header_of
from ichformer.ct.io.pixels.fragments import frame_stream
from ichformer.errors import InputError

ENHANCED_CT_IMAGES = frozenset({"1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2"})
"""SOP classes Enhanced CT Image Storage and Legacy Converted Enhanced CT Image Storage."""

_SHARED, _PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
_FRAME_NAMES = {
    "FrameType": "ImageType",
    "FrameAcquisitionNumber": "AcquisitionNumber",
    "FrameAcquisitionDateTime": "AcquisitionDateTime",
    "TemporalPositionIndex": "TemporalPositionIdentifier",
    "NominalCardiacTriggerDelayTime": "TriggerTime",
}
"""Keyword in a functional group -> the keyword that says the same of a file of one slice."""

_ITEM = b"\xfe\xff\x00\xe0"
_MOST_ITEMS = 100
"""Of a frame, those inside others counted too: it has some twenty macros, some with codes inside."""

_PIXEL_TAGS = [
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "Rows", "Columns", "NumberOfFrames"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData"),
    "ExtendedOffsetTable",
]


def frame_headers(header: Header) -> tuple[Header, ...]:
    """One header for each frame of an enhanced CT object, as if the frame were a file of its own.

    A value of the frame's own functional groups comes before one of the shared groups, and that before one of the
    object's top level (PS3.3 C.7.6.16).

    Args:
      header: of the file.

    Raises:
      InputError: the functional groups are absent, broken, or not as many as the frames.
    """
    try:
        with open_file(header.path) as opened, DicomFile(opened) as file:
            tags = [*HEADER_TAGS, _SHARED, _PER_FRAME]
            dataset = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=tags, force=True)
            _check_items(dataset, header.frames)
            shared = list(dataset.get(_SHARED) or [])
            per_frame = list(dataset.get(_PER_FRAME) or [])
            if len(per_frame) != header.frames:
                raise ValueError(f"NumberOfFrames is {header.frames}, but {_PER_FRAME} has {len(per_frame)} items")
            return tuple(_frame_header(header, dataset, shared, own, i) for i, own in enumerate(per_frame))
    except Exception as error:  # pydicom raises whatever its parser stumbles over
        raise InputError(
            f"has broken functional groups ({type(error).__name__}: {error})",
            where=header.path,
            fix="copy or export it again, or convert it to one file for each slice (dcuncat or emf2sf does that)",
        ) from None


def frame_alone(data: bytes, frame: int) -> bytes:
    """A DICOM file with the pixels of one frame of ``data``, still coded as they were.

    Raises:
      ValueError: the frame is not there, or nothing tells where it is.
    """
    dataset = pydicom.dcmread(DicomFile(io.BytesIO(data)), specific_tags=_PIXEL_TAGS, force=True)
    frames = int(dataset.NumberOfFrames)
    is_compressed = dataset.file_meta.TransferSyntaxUID.is_encapsulated
    if is_compressed:
        table = dataset.get("ExtendedOffsetTable") or b""
        offsets = [int.from_bytes(table[i : i + 8], "little") for i in range(0, len(table), 8)]
        pixels = frame_stream(dataset.PixelData, frame, frames, offsets)
    else:
        size = dataset.Rows * dataset.Columns * dataset.BitsAllocated // 8
        pixels = dataset.PixelData[frame * size : (frame + 1) * size]
    alone = Dataset(_raw(dataset, [tag for tag in map(Tag, _PIXEL_TAGS) if tag.group == 0x28 and tag in dataset]))
    alone.file_meta = FileMetaDataset()
    alone.file_meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    alone.NumberOfFrames = 1
    alone.PixelData = encapsulate([pixels]) if is_compressed else pixels
    alone["PixelData"].VR = "OB" if is_compressed or dataset.BitsAllocated == 8 else "OW"
    written = io.BytesIO()
    pydicom.dcmwrite(written, alone, enforce_file_format=False)
    return written.getvalue()


def _check_items(dataset: Dataset, frames: int) -> None:
    """Refuse groups with far more items than frames before they are parsed: an empty one takes a kilobyte of memory."""
    for name in (_SHARED, _PER_FRAME):
        element: Any = dataset.get_item(Tag(name)) if name in dataset else None
        raw = getattr(element, "value", None)
        if isinstance(raw, bytes) and raw.count(_ITEM) > _MOST_ITEMS * (frames + 1):
            raise ValueError(f"NumberOfFrames is {frames}, but {name} has {raw.count(_ITEM)} items")


def _frame_header(whole: Header, dataset: Dataset, shared: list[Dataset], own: Dataset, frame: int) -> Header:
    merged = Dataset(_raw(dataset, [tag for tag in map(Tag, HEADER_TAGS) if tag in dataset]))
    for group in (*shared, own):
        for item in _items(group):
            for keyword in item.dir():
                name = _FRAME_NAMES.get(keyword, keyword)
                if name != keyword:
                    values = item.get(keyword)
                    setattr(merged, name, list(map(str, values)) if isinstance(values, MultiValue) else str(values))
                elif keyword in HEADER_TAGS:
                    merged[keyword] = item.get_item(keyword)
    pixels_at = whole.pixels_at
    if pixels_at is not None:
        pixels_at += frame * whole.rows * whole.columns * whole.bits_allocated // 8
    header = header_of(whole.path, merged, pydicom.uid.UID(whole.transfer_syntax), pixels_at)
    name = whole.sop_uid or whole.path.name
    return replace(header, frame=frame, sop_uid=f"{name}#{frame + 1}")


def _raw(dataset: Dataset, tags: list[BaseTag]) -> dict[BaseTag, Any]:
    return {tag: dataset.get_item(tag) for tag in tags}


def _items(group: Dataset) -> Iterator[Dataset]:
    """The macros of one item of functional groups: PixelMeasures, PlanePosition, PixelValueTransformation and more."""
    for element in group:
        if element.VR == "SQ":
            yield from element.value[:1]
