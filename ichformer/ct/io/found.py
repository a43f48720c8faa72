"""What was found under a path: series, and files that were set aside, each with a reason."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from ichformer.errors import InputError
from ichformer.files.folders import folder_kind

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


S = TypeVar("S", covariant=True)


@dataclass(frozen=True, kw_only=True)
class Found(Generic[S]):
    """All series under a path, in the order of their first file, and all files that were set aside."""

    path: Path
    series: tuple[S, ...]
    set_aside: tuple[SetAside, ...]


def nothing_found(found: Found[Any]) -> InputError:
    """The error for a path without any series: says why its files were set aside."""
    fix = "name a folder of DICOM slices, a NIfTI file or pictures"
    if ours := folder_kind(found.path):
        return InputError(f"is the folder of one {ours}, not a scan", where=found.path, fix=fix)
    if not found.set_aside:
        return InputError("holds no files", where=found.path, fix=fix)
    reasons = sorted({str(file) for file in found.set_aside})
    listed = "; ".join(reasons[:3]) + ("; ..." if len(reasons) > 3 else "")
    return InputError(f"no CT series among {len(found.set_aside)} files ({listed})", where=found.path, fix=fix)
