"""Folders of reports: named without identity, written whole or not at all."""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

from ichformer.ct.io.dicom.series import Series
from ichformer.ct.io.scans import Scan
from ichformer.ct.known_words import known_words
from ichformer.ct.volume import Volume
from ichformer.errors import InputError
from ichformer.files.json_files import read_json
from ichformer.files.writing import write_bytes

REPORT_NAME, NUMBERS_NAME = "report.html", "prediction.json"
FORMAT = "ichformer prediction 2"
"""First field of ``prediction.json``; in version 1 every score was a number."""

DICOM_SUFFIX = ".dcm"
"""Of the names of DICOM objects."""

KEY_DIGITS = 20
"""Of a series' key."""

_OUR_FORMATS = ("ichformer prediction 1", FORMAT)

_FIX = "name another folder for the reports"


def series_key(series: Scan, volume: Volume) -> str:
    """The key of a series: 20 digits that tell it from others and say nothing about the patient.

    They are a hash of the UIDs of study, series and every slice, or of the files' paths where there are none, and of
    the pixels: anonymisers give one UID to scans of different people. They are the same whenever the series is read
    again.
    """
    uids = [series.study_uid, series.uid, *(h.sop_uid for h in series.headers)] if isinstance(series, Series) else []
    known = uids if any(uids) else [os.fsencode(file.absolute()).hex() for file in series.files]
    pixels = [str(volume.hu.shape), hashlib.sha256(volume.hu.tobytes()).hexdigest()]
    digest = hashlib.sha256(json.dumps([*sorted(known), *pixels]).encode()).hexdigest()
    return digest[:KEY_DIGITS]


def folder_name(series: Scan, key: str) -> str:
    """A name for a series' folder: known words of its description, and its key."""
    words = re.sub(r"[^a-z0-9]+", "-", known_words(series.description).lower()).strip("-")[:40].rstrip("-")
    return f"{words or 'series'}-{key}"


def free_name(name: str, taken: Collection[str]) -> str:
    """``name``, with a number behind it where it is taken: the same pixels with the same UIDs may be there twice."""
    names = (name, *(f"{name}-{number}" for number in range(2, len(taken) + 3)))
    return next(one for one in names if one not in taken)


def write_folder(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Write the files into a new folder beside the place and move it there; an earlier prediction is replaced.

    Raises:
      InputError: something else is at the place, or it cannot be written to.
    """
    if folder.is_symlink() or (folder.exists() and not _is_ours(folder)):
        raise InputError("is there and is no earlier prediction", where=folder, fix=_FIX)
    made = _missing_parents(folder)
    temporary = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".prediction-", dir=folder.parent))
        whole = temporary / "whole"
        whole.mkdir()
        for name, content in files.items():
            write_bytes(content.encode() if isinstance(content, str) else content, whole / name)
        if folder.exists():
            os.replace(folder, temporary / "earlier")
        os.replace(whole, folder)
    except OSError as error:
        raise InputError(
            f"cannot be written ({error.strerror})", where=folder, fix="free some space or name another folder"
        ) from None
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        for parent in made:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()


def _is_ours(folder: Path) -> bool:
    """Whether a folder is an earlier prediction and nothing but that, or empty."""
    if not folder.is_dir():
        return False
    names = {file.name for file in folder.iterdir()}
    if not names:
        return True
    ours = {REPORT_NAME, NUMBERS_NAME}
    # The report may have been left out, and DICOM objects may lie there.
    if NUMBERS_NAME not in names or any(name not in ours and not name.endswith(DICOM_SUFFIX) for name in names):
        return False
    try:
        return read_json(folder / NUMBERS_NAME, dict, fix=_FIX).get("format") in _OUR_FORMATS
    except InputError:
        return False


def _missing_parents(folder: Path) -> list[Path]:
    """Parents that would have to be made, the innermost first."""
    return [parent for parent in folder.parents if not parent.exists()]
