"""Tags that may separate the slices of one stack from those of another: a label for each slice and tag."""

import math
from collections.abc import Callable, Hashable, Sequence

import numpy as np

from ichformer.ct.io.dicom.elements import ACQUISITION_TAGS
from ichformer.ct.io.dicom.headers import Header


def find_criteria(headers: Sequence[Header], *, with_place: bool) -> dict[str, list[Hashable]]:
    """For each tag that differs, the label that it gives to each slice; the most trusted first, none twice."""
    readers: dict[str, Callable[[Header], Hashable]] = {
        "StudyInstanceUID": lambda header: header.study_uid,
        "PatientID": lambda header: header.patient_id,
        "ConvolutionKernel": lambda header: header.kernel,
        **{name: _acquisition(i) for i, name in enumerate(ACQUISITION_TAGS) if name != "InstanceNumber"},
        "ImageType": lambda header: header.image_type,
        "ContrastBolusAgent": lambda header: (header.contrast_agent, *header.contrast_given),
        "SeriesDescription": lambda header: header.description,
        "Manufacturer": lambda header: header.manufacturer,
        "PatientAge": lambda header: header.age_years,
        "PatientSex": lambda header: header.sex,
    }
    if with_place:
        readers |= {
            "ImageOrientationPatient": lambda header: tuple(np.round(header.orientation or (), 2)),
            "PixelSpacing": lambda header: tuple(np.round(header.spacing_mm or (), 3)),
            "ImagePositionPatient": lambda header: tuple(np.round((header.position_mm or ())[:2], 1)),
            "folder": lambda header: str(header.path.parent),
            "TransferSyntaxUID": lambda header: header.transfer_syntax,
        }
    criteria: dict[str, list[Hashable]] = {"SliceThickness": _thickness_classes(headers)}
    criteria |= {name: [read(header) for header in headers] for name, read in readers.items()}
    seen: set[tuple[int, ...]] = set()
    differing: dict[str, list[Hashable]] = {}
    for name, labels in criteria.items():
        numbers: dict[Hashable, int] = {}
        same = tuple(numbers.setdefault(label, len(numbers)) for label in labels)
        if len(numbers) > 1 and same not in seen:
            seen.add(same)
            differing[name] = labels
    return differing


def _acquisition(which: int) -> Callable[[Header], Hashable]:
    return lambda header: number_or_text(header.acquisition[which])


def number_or_text(text: str) -> Hashable:
    """The number that a text holds, so that "1" and "01" are the same; else the text."""
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text


def _thickness_classes(headers: Sequence[Header]) -> list[Hashable]:
    """The thickness class of each slice; thicknesses within 10 % are one class, as consoles compute them."""
    named: dict[float | None, Hashable] = {None: ""}
    last = None
    for thickness_mm in sorted({header.thickness_mm for header in headers if header.thickness_mm is not None}):
        if last is None or thickness_mm > 1.1 * last:
            first = thickness_mm
        named[thickness_mm] = first
        last = thickness_mm
    return [named[header.thickness_mm] for header in headers]
