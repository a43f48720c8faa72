"""Folders of reports: named without identity, written whole or not at all."""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ichformer.ct.scans import Scan
from ichformer.ct.series import Series
from ichformer.errors import InputError

REPORT_NAME, NUMBERS_NAME = "report.html", "prediction.json"
FORMAT = "ichformer prediction 1"
"""First field of ``prediction.json``."""

_MEND = "name another folder for the reports"


def folder_name(series: Scan) -> str:
    """A name for a series' folder: its description in plain letters, and 8 digits that tell series apart.

    The digits are a hash of the series' UID and its first slice's, or of the first file's path where there are none.
    They are the same whenever the series is read again, and say nothing about the patient.
    """
    words = re.sub(r"[^a-z0-9]+", "-", series.description.lower()).strip("-")[:40].rstrip("-")
    first_uid = series.headers[0].sop_uid if isinstance(series, Series) else ""
    key = f"{series.uid} {first_uid}".strip() or str(series.files[0].absolute())
    return f"{words or 'series'}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def check_out(out: Path) -> None:
    """InputError where no folder can be made at ``out`` because a file is there, or at one of its parents."""
    nearest = next(place for place in (out, *out.absolute().parents) if place.exists())
    if not nearest.is_dir():
        raise InputError("is there and is no folder", where=nearest, mend=_MEND)


def write_folder(folder: Path, files: Mapping[str, str]) -> None:
    """Write the files into a new folder beside the place and move it there; an earlier prediction is replaced.

    Raises:
      InputError: something else is at the place, or it cannot be written to.
    """
    if folder.is_symlink() or (folder.exists() and not _is_ours(folder)):
        raise InputError("is there and is no earlier prediction", where=folder, mend=_MEND)
    made = _missing_parents(folder)
    temporary = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".prediction-", dir=folder.parent))
        whole = temporary / "whole"
        whole.mkdir()
        for name, text in files.items():
            (whole / name).write_text(text, encoding="utf-8")
        if folder.exists():
            os.replace(folder, temporary / "earlier")
        os.replace(whole, folder)
    except OSError as error:
        raise InputError(
            f"cannot be written ({error.strerror})", where=folder, mend="free some space or name another folder"
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
    try:
        numbers = json.loads((folder / NUMBERS_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return names == {REPORT_NAME, NUMBERS_NAME} and isinstance(numbers, dict) and numbers.get("format") == FORMAT


def _missing_parents(folder: Path) -> list[Path]:
    """Parents that would have to be made, the innermost first."""
    return [parent for parent in folder.parents if not parent.exists()]
