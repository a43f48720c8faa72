"""Finding DICOM series under a path; files that show no head CT are set aside with a reason."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from ichformer.ct.io.contents import list_files
from ichformer.ct.io.dicom.copies import broken_copies
from ichformer.ct.io.dicom.dicom_file import quiet_pydicom
from ichformer.ct.io.dicom.dicomdir import listed_files
from ichformer.ct.io.dicom.enhanced import ENHANCED_CT_IMAGES, frame_headers
from ichformer.ct.io.dicom.headers import NOT_DICOM, Header, read_header
from ichformer.ct.io.dicom.partition import partition
from ichformer.ct.io.dicom.planes import (
    by_patient,
    by_plane,
    is_same_orientation,
    is_same_plane,
    is_same_spacing,
    size_of,
)
from ichformer.ct.io.dicom.set_aside import reason_to_set_aside
from ichformer.ct.io.formats import describe
from ichformer.ct.io.found import Found, SetAside
from ichformer.errors import InputError, one_line
from ichformer.faults import Fault, explain_failure


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


def _read_file(file: Path) -> tuple[tuple[Header, ...], tuple[SetAside, ...]]:
    """The slices of a file, and why the file or some of its frames are none."""
    header = read_header(file)
    reason = reason_to_set_aside(header)
    if reason is None and header.sop_class in ENHANCED_CT_IMAGES:
        headers = frame_headers(header)
    elif reason is None and header.frames != 1:
        reason, headers = ("multi_frame", f"{header.frames} frames in one file, SOP class {header.sop_class}"), ()
    else:
        headers = (header,) if reason is None else ()
    if reason is not None:
        return (), (SetAside(path=file, code=reason[0], text=one_line(reason[1])),)
    reasons = [reason_to_set_aside(header) for header in headers]
    aside = tuple(
        SetAside(path=file, code=code, text=one_line(f"{reasons.count((code, text))} frames: {text}"))
        for code, text in dict.fromkeys(reason for reason in reasons if reason is not None)
    )
    return tuple(header for header, reason in zip(headers, reasons, strict=True) if reason is None), aside


def _series_of(alike: list[Header]) -> list[Series]:
    """The stacks among slices that share SeriesInstanceUID, modality and size."""
    people = by_patient(alike)
    series = []
    for i, person in enumerate(people):
        for flat in by_plane(person):
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


def _say_planes(series: Iterable[Series]) -> list[Series]:
    """Note in stacks of one SeriesInstanceUID that they differ in size, orientation or pixel spacing.

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
            known = (
                i for i, plane in enumerate(planes) if size_of(first) == size_of(plane) and is_same_plane(first, plane)
            )
            which.append(next(known, len(planes)))
            planes += [first] * (which[-1] == len(planes))
        if len(planes) == 1:
            continue
        names = [
            name
            for name, is_same in (
                ("size", all(size_of(plane) == size_of(planes[0]) for plane in planes)),
                ("orientation", all(is_same_orientation(plane, planes[0]) for plane in planes)),
                ("pixel spacing", all(is_same_spacing(plane, planes[0]) for plane in planes)),
            )
            if not is_same
        ]
        for at, number in zip(alike, which, strict=True):
            told = f"part {number + 1} of {len(planes)}, by {' and '.join(names)}"
            said[at] = replace(said[at], told_apart="; ".join(filter(None, (told, said[at].told_apart))))
    return said
