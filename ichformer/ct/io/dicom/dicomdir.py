"""The files that a DICOMDIR lists (PS3.3 F.3, PS3.10 8.6): what a disc from a hospital starts with."""

from pathlib import Path

import pydicom
from pydicom.multival import MultiValue

from ichformer.ct.io.archives import is_archive, is_file, list_archive, open_file
from ichformer.ct.io.dicom.dicom_file import DicomFile, quiet_pydicom
from ichformer.errors import InputError, one_line


def listed_files(path: Path) -> tuple[list[Path], list[str]]:
    """The files of a DICOMDIR's records that are there, and the names of those that are not.

    Names are matched without regard to case, since discs are copied to systems that change it. A name that would
    lead out of the DICOMDIR's folder counts as not there.

    Raises:
      InputError: no readable DICOMDIR.
    """
    try:
        with quiet_pydicom(), open_file(path) as opened, DicomFile(opened) as file:
            records = pydicom.dcmread(file, force=True).get("DirectoryRecordSequence") or []
            named = [record.get("ReferencedFileID") for record in records]
    except Exception as error:  # pydicom raises whatever its parser stumbles over
        raise InputError(
            f"the DICOMDIR cannot be read ({type(error).__name__}: {one_line(error)})",
            where=path,
            fix="name its folder",
        ) from None
    found: list[Path] = []
    missing: list[str] = []
    for value in named:
        if not value:
            continue
        parts = [str(part) for part in (value if isinstance(value, MultiValue | list) else [value])]
        listed = _resolve(path.parent, parts)
        if listed is None:
            missing.append(one_line("/".join(parts)))
        else:
            found.append(listed)
    return list(dict.fromkeys(found)), missing


def _resolve(folder: Path, parts: list[str]) -> Path | None:
    if any(part in ("", ".", "..") or set(part) & set("/\\\0") for part in parts):
        return None
    plain = folder.joinpath(*parts)
    if is_file(plain):
        return plain
    at = folder
    for part in parts:
        beside = [inner.name for inner in at.iterdir()] if at.is_dir() else _inside(at)
        same = [name for name in sorted(beside) if name.lower() == part.lower()]
        if not same:
            return None
        at = at / same[0]
    return at if is_file(at) else None


def _inside(folder: Path) -> list[str]:
    """Names directly below a folder inside an archive."""
    if not any(is_archive(parent) for parent in (folder, *folder.parents) if parent.is_file()):
        return []
    depth = len(folder.parts)
    return [file.parts[depth] for file in list_archive(folder)[0] if len(file.parts) > depth]
