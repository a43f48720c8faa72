"""Enhanced CT, whose slices are the frames of one SOP instance: which results can refer to, and how they do."""

from collections.abc import Iterable, Sequence

import numpy as np
from pydicom.dataset import Dataset

from ichformer.ct.io.dicom.enhanced import ENHANCED_CT_IMAGES
from ichformer.ct.io.dicom.headers import Header
from ichformer.ct.io.dicom.series import Series
from ichformer.errors import InputError

_MACROS = {
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
}
"""Functional groups that say where frames lie (PS3.3, C.7.6.16.2), with their attributes."""


def is_frame(header: Header) -> bool:
    """Whether it is the header of a frame of an enhanced CT."""
    return header.sop_class in ENHANCED_CT_IMAGES


def check_frames(series: Series) -> None:
    """Whether results can refer to the slices of a series.

    Raises:
      InputError: it is an enhanced CT, but not all frames of one file and nothing else. An object about several
        multi-frame images, or about some of the frames alone, is not written.
    """
    if not any(map(is_frame, series.headers)):
        return
    count, files = len(series.headers), len(series.files)
    if files == 1 and count == series.headers[0].frames:
        return
    frames = {header.path: header.frames for header in series.headers}
    raise InputError(
        f"is an enhanced CT whose stack is {count} of {sum(frames.values())} frames in {files} files, and DICOM "
        "results are written only where one file holds the frames of one stack",
        where=series.path,
        fix="leave out --dicom, or convert it to one file a slice, such as with dcm4che's emf2sf",
    )


def multi_frame_image(slices: Sequence[Dataset], frames: Sequence[int]) -> Dataset:
    """The SOP instance that holds some slices as its frames, without pixels.

    Args:
      slices: a header for each, with what is needed of the object too; all of one plane and pixel spacing.
      frames: number of each slice's frame, from 1; all numbers up to that of the slices.
    """
    image = Dataset()
    image.update(slices[0])
    image.file_meta = slices[0].file_meta
    for keyword in (one for keywords in _MACROS.values() for one in keywords):
        delattr(image, keyword)
    image.SharedFunctionalGroupsSequence = [_groups(slices[0], "PlaneOrientationSequence", "PixelMeasuresSequence")]
    image.PerFrameFunctionalGroupsSequence = [
        _groups(slices[s], "PlanePositionSequence") for s in np.argsort(frames).tolist()
    ]
    return image


def number_frames(items: Iterable[Dataset], frames: Sequence[int]) -> None:
    """Says in image content items of a document which frame each refers to; nothing where there are no frames."""
    if frames:
        for item, frame in zip(items, frames, strict=True):
            item.ReferencedSOPSequence[0].ReferencedFrameNumber = frame


def _groups(one: Dataset, *names: str) -> Dataset:
    group = Dataset()
    for name in names:
        macro = Dataset()
        for keyword in _MACROS[name]:
            setattr(macro, keyword, one[keyword].value)
        setattr(group, name, [macro])
    return group
