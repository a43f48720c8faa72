"""Finding DICOM series: everything under a path, told apart, and what is no head CT set aside with a reason."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

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
    "colour": "colour pictures, such as dose reports and screen captures",
    "dicomdir": "a DICOMDIR: an index of other files",
    "localizer": "a localizer (scout, surview, topogram)",
    "multi_frame": "an object of many frames; one file for each slice is read",
    "no_picture": "DICOM without a picture, such as reports and presentation states",
    "not_dicom": "no DICOM file",
    "not_hu": "a map of something else than HU, such as perfusion",
    "secondary_capture": "a secondary capture: a picture of pictures",
    "unreadable": "a broken DICOM file; the text says how",
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


@dataclass(frozen=True, kw_only=True)
class Found:
    """All series under a path, in the order of their first file, and all files that were set aside."""

    path: Path
    series: tuple[Series, ...]
    set_aside: tuple[SetAside, ...]


def find_series(path: Path | str) -> Found:
    """Find every series under a file or a folder. Reads headers only.

    Series are told apart by SeriesInstanceUID (by study and folder where it is absent), then by size, pixel spacing and
    orientation, so that a folder may hold several studies and a series may hold reformats.

    Raises:
      InputError: the path does not exist.
    """
    path = Path(path)
    if path.is_file():
        return group_files([path], path=path)
    if not path.is_dir():
        raise InputError("does not exist", where=path, mend="name a DICOM file or a folder of them")
    folders = sorted((Path(folder), sorted(names)) for folder, _, names in os.walk(path))
    files = [folder / name for folder, names in folders for name in names if (folder / name).is_file()]
    return group_files(files, path=path)


def group_files(files: Iterable[Path], *, path: Path) -> Found:
    """Sort the given files into series, as ``find_series`` does; ``path`` is what messages call them all."""
    series: list[list[Header]] = []
    set_aside: list[SetAside] = []
    by_key: dict[tuple, list[list[Header]]] = {}
    with quiet_pydicom():
        for file in files:
            try:
                header = read_header(file)
            except InputError as error:
                code = "not_dicom" if error.what == NOT_DICOM else "unreadable"
                set_aside.append(SetAside(path=file, code=code, text=one_line(error.what)))
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
        series=tuple(Series(uid=group[0].series_uid, headers=tuple(group)) for group in series),
        set_aside=tuple(set_aside),
    )


def nothing_found(found: Found) -> InputError:
    """The error for a path without any series: says why its files were set aside."""
    mend = "name a folder of DICOM slices"
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
    """Same orientation and pixel spacing. What is absent goes with anything: the reader then names the gap."""
    return _near(header.orientation, other.orientation) and _near(header.spacing_mm, other.spacing_mm)


def _near(a: tuple[float, ...] | None, b: tuple[float, ...] | None) -> bool:
    return a is None or b is None or all(abs(x - y) < 1e-3 for x, y in zip(a, b, strict=True))
