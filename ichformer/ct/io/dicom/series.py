"""Finding DICOM series: everything under a path, told apart, and what is no head CT set aside with a reason."""

import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from ichformer.ct.io.contents import list_files
from ichformer.ct.io.dicom.copies import broken_copies
from ichformer.ct.io.dicom.dicomdir import listed_files
from ichformer.ct.io.dicom.enhanced import ENHANCED_CT_IMAGES, frame_headers
from ichformer.ct.io.dicom.headers import (
    MEDIA_DIRECTORY,
    NOT_DICOM,
    SECONDARY_CAPTURE,
    Header,
    quiet_pydicom,
    read_header,
)
from ichformer.ct.io.dicom.partition import partition
from ichformer.ct.io.formats import describe
from ichformer.errors import InputError, one_line
from ichformer.faults import Fault, explain_failure

SET_ASIDE_CODES: dict[str, str] = {
    "archive": "a zip or a tar inside a folder or an archive: the text says how to have it read",
    "broken_copy": "a file whose pixels cannot be read, beside a whole file of the same slice, which is read",
    "broken_link": "a symbolic or hard link that leads to no file",
    "colour": "colour pictures, such as dose reports and screen captures",
    "dicomdir": "a DICOMDIR: an index of other files",
    "failed": "a fault of ichformer kept its series from being found; the text says which",
    "link_loop": "a symbolic link to a folder that it lies in, so it is not followed",
    "localizer": "a localizer (scout, surview, topogram)",
    "missing_file": "listed in the DICOMDIR, but not there",
    "multi_frame": "an object of many frames that is no enhanced CT",
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
_HU_TYPES = re.compile(r"(HU|US|UNSPECIFIED|HO?UN?D?S?FIE?LDS?(UNITS?)?(HU)?|CTNUMBERS?)?")
"""RescaleType (PS3.3 C.11.1.1.2), letters only: Hounsfield, also in words and misspelt, and "unspecified" or nothing,
which older scanners write for the same. HU_MOD, Z_EFF, ED, MGML and others are something else.
"""

_MIN_STACK = 3
_SAME_ANGLE = 2 * math.sin(math.radians(1) / 2)
"""Unit vectors that are nearer point the same way within 1 degree: the angle of a gantry wavers, and is rounded."""

_SAME_SPACING = 0.005
"""Pixel spacings that differ by a smaller part are one: headers round them to 2 or 3 places."""


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
    """Grey pictures of one stack of slices, with one orientation, size and pixel spacing; never empty.

    Attributes:
      uid: SeriesInstanceUID, "" where absent.
      headers: one for each slice, in the order of their files' paths.
      copies: files that hold one of these slices again, pixel by pixel.
      told_apart: "part 1 of 2, by KVP 80" where one SeriesInstanceUID holds several stacks, else "".
      time_points: volumes of the same stretch that were taken one after the other, such as in perfusion; else 1.
    """

    uid: str
    headers: tuple[Header, ...]
    copies: tuple[Path, ...] = ()
    told_apart: str = ""
    time_points: int = 1

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
        """The files, each once, in the order of ``headers``."""
        return tuple(dict.fromkeys(header.path for header in self.headers))

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

    Series are told apart by study, patient and SeriesInstanceUID (by folder where it is absent), then by size, pixel
    spacing and orientation. Where what is left is more than one stack, ``partition`` looks for what tells its parts
    apart: kernel, thickness, voltage, acquisition, time. Only there pixels are read, to tell copies from pictures that
    share a position. The frames of an enhanced CT are slices like any others.

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
    set_aside: list[SetAside] = []
    by_key: dict[tuple, list[Header]] = {}
    order: dict[Path, int] = {}
    with quiet_pydicom():
        for file in files:
            order[file] = len(order)
            try:
                headers, aside = _read_file(file)
            except InputError as error:
                code, text = describe(file) if error.what == NOT_DICOM else ("unreadable", error.what)
                aside, headers = (SetAside(path=file, code=code, text=one_line(text)),), ()
            set_aside += aside
            for header in headers:
                uid = header.series_uid or str(file.parent)
                key = (uid, header.series_uid == "", header.modality, header.rows, header.columns)
                by_key.setdefault(key, []).append(header)
        series: list[Series] = []
        for alike in by_key.values():
            broken = broken_copies(alike)
            set_aside += [
                SetAside(path=bad.path, code="broken_copy", text=f"cannot be read; {one_line(whole.path.name)} is read")
                for bad, whole in broken.items()
            ]
            try:
                series += _series_of([header for header in alike if header not in broken])
            except Exception as error:  # whatever happens to one series, the others are found
                said = explain_failure(error, where=alike[0].path.parent)
                code = "failed" if isinstance(said, Fault) else "unreadable"
                paths = dict.fromkeys(header.path for header in alike)
                set_aside += [SetAside(path=file, code=code, text=str(said)) for file in paths]
    series.sort(key=lambda one: order[one.headers[0].path])
    return Found(path=path, series=tuple(_say_planes(series)), set_aside=tuple(set_aside))


def nothing_found(found: Found[Any]) -> InputError:
    """The error for a path without any series: says why its files were set aside."""
    mend = "name a folder of DICOM slices, a NIfTI file or pictures"
    if not found.set_aside:
        return InputError("holds no files", where=found.path, mend=mend)
    reasons = sorted({str(file) for file in found.set_aside})
    listed = "; ".join(reasons[:3]) + ("; ..." if len(reasons) > 3 else "")
    return InputError(f"no CT series among {len(found.set_aside)} files ({listed})", where=found.path, mend=mend)


def _read_file(file: Path) -> tuple[tuple[Header, ...], tuple[SetAside, ...]]:
    """The slices of a file, and why the file or some of its frames are none."""
    header = read_header(file)
    reason = _reason_to_set_aside(header)
    if reason is None and header.sop_class in ENHANCED_CT_IMAGES:
        headers = frame_headers(header)
    elif reason is None and header.frames != 1:
        reason, headers = ("multi_frame", f"{header.frames} frames in one file, SOP class {header.sop_class}"), ()
    else:
        headers = (header,) if reason is None else ()
    if reason is not None:
        return (), (SetAside(path=file, code=reason[0], text=one_line(reason[1])),)
    reasons = [_reason_to_set_aside(header) for header in headers]
    aside = tuple(
        SetAside(path=file, code=code, text=one_line(f"{reasons.count((code, text))} frames: {text}"))
        for code, text in dict.fromkeys(reason for reason in reasons if reason is not None)
    )
    return tuple(header for header, reason in zip(headers, reasons, strict=True) if reason is None), aside


def _reason_to_set_aside(header: Header) -> tuple[str, str] | None:
    words = set(header.image_type)
    image_type = "\\".join(header.image_type)
    if header.is_directory or header.sop_class == MEDIA_DIRECTORY:
        return "dicomdir", "a DICOMDIR, the index of a disc"
    if header.sop_class.startswith(SECONDARY_CAPTURE) and header.samples == 1:
        return "secondary_capture", f"SOP class Secondary Capture, ImageType {image_type}"
    if header.samples != 1:
        return "colour", f"SamplesPerPixel is {header.samples}, ImageType {image_type}"
    if header.photometric.startswith("PALETTE"):
        return "colour", f"PhotometricInterpretation (0028,0004) is {header.photometric}: numbers of colours, not HU"
    if words & _LOCALIZERS:
        return "localizer", f"ImageType {image_type}"
    if words & _MAPS:
        return "not_hu", f"ImageType {image_type}, RescaleType {header.rescale_type or 'absent'}"
    if not _HU_TYPES.fullmatch(re.sub(r"[^A-Z_]", "", header.rescale_type)):
        return "not_hu", f"RescaleType (0028,1054) is {header.rescale_type!r}, which is not HU; ImageType {image_type}"
    if header.rows < 1 or header.columns < 1:
        return "no_picture", f"modality {header.modality or 'absent'}, Rows {header.rows}, Columns {header.columns}"
    return None


def _series_of(alike: list[Header]) -> list[Series]:
    """The stacks among slices that share SeriesInstanceUID, modality and size."""
    people = _by_person(alike)
    series = []
    for i, person in enumerate(people):
        for flat in _by_plane(person):
            for part in partition(flat):
                told = [f"part {i + 1} of {len(people)}, by study or patient"] if len(people) > 1 else []
                series.append(
                    Series(
                        uid=part.headers[0].series_uid,
                        headers=part.headers,
                        copies=tuple(copy.path for copy in part.copies),
                        told_apart="; ".join([*told, part.told_apart] if part.told_apart else told),
                        time_points=part.time_points,
                    )
                )
    return series


def _by_person(headers: list[Header]) -> list[list[Header]]:
    """Slices by StudyInstanceUID and PatientID. Where one is absent, and there is one only, it is that one.

    An ID that is another one in each slice was made by an anonymiser and tells nothing, so it is not looked at.
    """
    columns = []
    for ids in ([header.study_uid for header in headers], [header.patient_id for header in headers]):
        named = set(ids) - {""}
        says_nothing = len(named) == 1 or (len(named) == len(ids) and len(ids) >= _MIN_STACK)
        columns.append([""] * len(ids) if says_nothing else ids)
    people: dict[tuple[str, str], list[Header]] = {}
    for header, study, patient in zip(headers, *columns, strict=True):
        people.setdefault((study, patient), []).append(header)
    return list(people.values())


def _by_plane(headers: list[Header]) -> list[list[Header]]:
    """Slices by orientation and pixel spacing. Absent geometry goes with anything: the reader then names the gap."""
    planes: list[list[Header]] = []
    for header in headers:
        for plane in planes:
            if _lies_like(header, plane[0]):
                plane.append(header)
                break
        else:
            planes.append([header])
    return planes


def _say_planes(series: Iterable[Series]) -> list[Series]:
    """Say of stacks of one SeriesInstanceUID that they differ in size, orientation or pixel spacing.

    A head may be scanned in two blocks, tilted below and straight above, and each block is a stack of its own. Whoever
    gets one of them should know that there is another.
    """
    said = list(series)
    of_uid: dict[tuple[str, ...], list[int]] = {}
    for at, one in enumerate(said):
        first = one.headers[0]
        key = (one.uid or str(first.path), first.study_uid, first.patient_id, first.modality)
        of_uid.setdefault(key, []).append(at)
    for alike in of_uid.values():
        planes: list[Header] = []
        which = []
        for at in alike:
            first = said[at].headers[0]
            known = (i for i, plane in enumerate(planes) if _size(first) == _size(plane) and _lies_like(first, plane))
            which.append(next(known, len(planes)))
            planes += [first] * (which[-1] == len(planes))
        if len(planes) == 1:
            continue
        names = [
            name
            for name, is_same in (
                ("size", all(_size(plane) == _size(planes[0]) for plane in planes)),
                ("orientation", all(_turned_like(plane, planes[0]) for plane in planes)),
                ("pixel spacing", all(_spaced_like(plane, planes[0]) for plane in planes)),
            )
            if not is_same
        ]
        for at, number in zip(alike, which, strict=True):
            told = f"part {number + 1} of {len(planes)}, by {' and '.join(names)}"
            said[at] = replace(said[at], told_apart="; ".join(filter(None, (told, said[at].told_apart))))
    return said


def _size(header: Header) -> tuple[int, int]:
    return header.rows, header.columns


def _lies_like(header: Header, other: Header) -> bool:
    return _turned_like(header, other) and _spaced_like(header, other)


def _turned_like(header: Header, other: Header) -> bool:
    if header.orientation is not None and other.orientation is not None:
        for axis in (slice(0, 3), slice(3, 6)):
            if math.dist(header.orientation[axis], other.orientation[axis]) > _SAME_ANGLE:
                return False
    return True


def _spaced_like(header: Header, other: Header) -> bool:
    if header.spacing_mm is None or other.spacing_mm is None:
        return True
    return all(
        abs(a - b) <= _SAME_SPACING * max(abs(a), abs(b))
        for a, b in zip(header.spacing_mm, other.spacing_mm, strict=True)
    )
