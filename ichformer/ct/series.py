"""Finding DICOM series: everything under a path, told apart, and what is no head CT set aside with a reason."""

import itertools
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from ichformer.ct.contents import list_files
from ichformer.ct.dicomdir import listed_files
from ichformer.ct.formats import describe
from ichformer.ct.headers import (
    ENHANCED_CT_IMAGE,
    MEDIA_DIRECTORY,
    NOT_DICOM,
    SECONDARY_CAPTURE,
    Header,
    quiet_pydicom,
    read_header,
)
from ichformer.errors import InputError, one_line

SET_ASIDE_CODES: dict[str, str] = {
    "archive": "a zip or a tar inside a folder or an archive: the text says how to have it read",
    "broken_link": "a symbolic or hard link that leads to no file",
    "colour": "colour pictures, such as dose reports and screen captures",
    "dicomdir": "a DICOMDIR: an index of other files",
    "link_loop": "a symbolic link to a folder that it lies in, so it is not followed",
    "localizer": "a localizer (scout, surview, topogram)",
    "missing_file": "listed in the DICOMDIR, but not there",
    "multi_frame": "an object of many frames; one file for each slice is read",
    "no_picture": "DICOM without a picture, such as reports and presentation states",
    "not_dicom": "no DICOM file",
    "not_hu": "a map of something else than HU, such as perfusion",
    "other_format": "NIfTI or pictures beside DICOM: may be masks or drawings, so name one to read it",
    "resource_fork": "what macOS keeps beside a file (its name begins with ._): no scan",
    "secondary_capture": "a secondary capture: a picture of pictures",
    "unreadable": "a broken DICOM file; the text says how",
    "unsafe_name": "a file whose name leads out of its archive",
    "unsupported_format": "a picture, a scan or an archive in a format that is not read: the text says what to convert",
}
"""Stable code of every reason for setting a file aside -> what it means."""

_LOCALIZERS = frozenset({"LOCALIZER", "SCOUT", "SURVIEW", "TOPOGRAM", "SCANOGRAM"})
_MAPS = frozenset({"PERFUSION", "RCBF", "RCBV", "CBF", "CBV", "MTT", "TTP", "TMAX", "PERMEABILITY", "EFF_ATOMIC_NUM"})
_HU_TYPES = frozenset({"", "HU", "US"})
"""RescaleType (PS3.3 C.11.1.1.2): Hounsfield, and "unspecified" which older scanners write for the same."""


@dataclass(frozen=True, kw_only=True)
class SetAside:
    """A file that belongs to no series of CT slices, and why."""

    path: Path
    code: str
    text: str

    def __post_init__(self) -> None:
        if self.code not in SET_ASIDE_CODES:
            raise ValueError(f"{self.code!r} is not documented in SET_ASIDE_CODES")

    def __str__(self) -> str:
        return f"{self.code}: {self.text}"


@dataclass(frozen=True, kw_only=True)
class Series:
    """Single-frame grey pictures of one series, with one orientation, size and pixel spacing; never empty.

    Attributes:
      uid: SeriesInstanceUID, "" where absent.
      headers: one for each file, in the order of their paths.
    """

    uid: str
    headers: tuple[Header, ...]

    @property
    def study_uid(self) -> str:
        """StudyInstanceUID of the first file."""
        return self.headers[0].study_uid

    @property
    def kernel(self) -> str:
        """ConvolutionKernel of the first file."""
        return self.headers[0].kernel

    @property
    def modality(self) -> str:
        """Modality of the first file."""
        return self.headers[0].modality

    @property
    def description(self) -> str:
        """SeriesDescription of the first file."""
        return self.headers[0].description

    @property
    def files(self) -> tuple[Path, ...]:
        """The files, in the order of ``headers``."""
        return tuple(header.path for header in self.headers)

    @property
    def path(self) -> Path:
        """The folder that holds all files; the file where there is one only."""
        return Path(os.path.commonpath(self.files))


S = TypeVar("S", covariant=True)


@dataclass(frozen=True, kw_only=True)
class Found(Generic[S]):
    """All series under a path, in the order of their first file, and all files that were set aside."""

    path: Path
    series: tuple[S, ...]
    set_aside: tuple[SetAside, ...]


def find_series(path: Path | str) -> Found[Series]:
    """Find every series under a folder, in a file, in a zip or a tar, or among what a DICOMDIR lists, by headers only.

    Series are told apart by SeriesInstanceUID (by study and folder where it is absent), then by size, pixel spacing,
    kernel, thickness and orientation, so that a folder may hold several studies and a series may hold reformats.

    Args:
      path: what to look through; a part of an archive is named like a part of a folder, ``study.zip/series1``.

    Raises:
      InputError: the path does not exist, or is an archive or a DICOMDIR that cannot be read.
    """
    path = Path(path)
    files, left_out = list_files(path)
    aside = [SetAside(path=at, code=code, text=text) for at, code, text in left_out]
    if len(files) == 1 and files[0].name.upper() == "DICOMDIR":
        files, missing = listed_files(files[0])
        aside += [SetAside(path=path.parent / name, code="missing_file", text="not there") for name in missing]
    found = group_files(files, path=path)
    return replace(found, set_aside=(*aside, *found.set_aside))


def group_files(files: Iterable[Path], *, path: Path) -> Found[Series]:
    """Sort the given files into series, as ``find_series`` does; ``path`` is what messages call them all."""
    series: list[list[Header]] = []
    set_aside: list[SetAside] = []
    by_key: dict[tuple, list[list[Header]]] = {}
    with quiet_pydicom():
        for file in files:
            try:
                header = read_header(file)
            except InputError as error:
                code, text = describe(file) if error.what == NOT_DICOM else ("unreadable", error.what)
                set_aside.append(SetAside(path=file, code=code, text=one_line(text)))
                continue
            if reason := _reason_to_set_aside(header):
                set_aside.append(SetAside(path=file, code=reason[0], text=one_line(reason[1])))
                continue
            uid = header.series_uid or (header.study_uid, str(file.parent))
            alike = by_key.setdefault((uid, header.modality, header.rows, header.columns), [])
            for group in alike:
                if _lies_like(header, group[0]):
                    group.append(header)
                    break
            else:
                alike.append([header])
                series.append(alike[-1])
    return Found(
        path=path,
        series=tuple(
            Series(uid=part[0].series_uid, headers=tuple(part))
            for group in series
            for part in _part_by_thickness(group)
        ),
        set_aside=tuple(set_aside),
    )


def nothing_found(found: Found[Any]) -> InputError:
    """The error for a path without any series: says why its files were set aside."""
    mend = "name a folder of DICOM slices, a NIfTI file or pictures"
    if not found.set_aside:
        return InputError("holds no files", where=found.path, mend=mend)
    reasons = sorted({str(file) for file in found.set_aside})
    listed = "; ".join(reasons[:3]) + ("; ..." if len(reasons) > 3 else "")
    return InputError(f"no CT series among {len(found.set_aside)} files ({listed})", where=found.path, mend=mend)


def _reason_to_set_aside(header: Header) -> tuple[str, str] | None:
    words = set(header.image_type)
    image_type = "\\".join(header.image_type)
    if header.is_directory or header.sop_class == MEDIA_DIRECTORY:
        return "dicomdir", "a DICOMDIR, the index of a disc"
    if header.sop_class.startswith(SECONDARY_CAPTURE) and header.samples == 1:
        return "secondary_capture", f"SOP class Secondary Capture, ImageType {image_type}"
    if header.samples != 1:
        return "colour", f"SamplesPerPixel is {header.samples}, ImageType {image_type}"
    if words & _LOCALIZERS:
        return "localizer", f"ImageType {image_type}"
    if words & _MAPS or header.rescale_type not in _HU_TYPES:
        return "not_hu", f"ImageType {image_type}, RescaleType {header.rescale_type or 'absent'}"
    if header.frames != 1 or header.sop_class == ENHANCED_CT_IMAGE:
        return "multi_frame", f"{header.frames} frames in one file"
    if header.rows < 1 or header.columns < 1:
        return "no_picture", f"modality {header.modality or 'absent'}, Rows {header.rows}, Columns {header.columns}"
    return None


def _lies_like(header: Header, other: Header) -> bool:
    """Same kernel, orientation and pixel spacing. Absent geometry goes with anything: the reader then names the gap."""
    return (
        header.kernel == other.kernel
        and _near(header.orientation, other.orientation)
        and _near(header.spacing_mm, other.spacing_mm)
    )


def _part_by_thickness(group: list[Header]) -> list[list[Header]]:
    """Thin and thick slices of the same stretch, apart; as one where thin ones below are followed by thick ones."""
    by_thickness: dict[float, list[Header]] = {}
    for header in group:
        if header.thickness_mm is None or header.position_mm is None or header.orientation is None:
            return [group]
        by_thickness.setdefault(round(header.thickness_mm, 2), []).append(header)
    ranges = []
    for thickness_mm, headers in by_thickness.items():
        axes = np.array(headers[0].orientation).reshape(2, 3)
        along_mm = np.array([header.position_mm for header in headers]) @ np.cross(axes[0], axes[1])
        ranges.append((along_mm.min(), along_mm.max(), thickness_mm))
    overlap = any(min(a[1], b[1]) - max(a[0], b[0]) > max(a[2], b[2]) for a, b in itertools.combinations(ranges, 2))
    return list(by_thickness.values()) if overlap else [group]


def _near(a: tuple[float, ...] | None, b: tuple[float, ...] | None) -> bool:
    return a is None or b is None or all(abs(x - y) < 1e-3 for x, y in zip(a, b, strict=True))
