"""What a prediction is about: a key that names nobody, the files where they are asked for, and whether they changed."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from ichformer.ct.io.archives import file_size, read_start
from ichformer.ct.io.dicom.series import Series
from ichformer.ct.io.scans import Scan
from ichformer.errors import InputError
from ichformer.files.json_files import read_json
from ichformer.files.writing import path_text
from ichformer.reporting.scan.outputs import KEY_DIGITS, NUMBERS_NAME

_START_BYTES = 1 << 20
"""So much of a file tells it from others: the header and the first slices."""


def key_of_unread(scan: Scan) -> str:
    """The key of a series whose pixels were not read: 20 digits, a hash of its UIDs, or of its files where it has none.

    It is the same wherever the files lie. It differs from the key that a prediction of the series has, which is a hash
    of the pixels too (``outputs.series_key``).
    """
    uids = sorted([scan.study_uid, scan.uid, *(header.sop_uid for header in _headers(scan))])
    return _digest(uids)[:KEY_DIGITS] if any(uids) else key_of_files(scan.files)


def key_of_files(files: Sequence[Path]) -> str:
    """A hash of the sizes and the beginnings of files, 20 digits; "" where one of them cannot be read."""
    try:
        return _digest([[file_size(file), _start(file)] for file in files])[:KEY_DIGITS]
    except Exception:  # files that are set aside are broken in any way, and archives with them
        return ""


def state_of_files(scan: Scan) -> str:
    """A hash that changes when one of a series' files does; "" where it cannot be told.

    It is made of the UIDs, of every file's size and time of change, and of the beginning of the file in the middle: the
    names of the files are not in it.
    """
    files = scan.files
    try:
        state = [[file_size(file), _modified_ns(file)] for file in files]
        return _digest([scan.study_uid, scan.uid, state, _start(files[len(files) // 2])])
    except Exception:  # what is wrong with them is said when they are read
        return ""


def source_facts(scan: Scan, below: Path) -> dict[str, str]:
    """What identifies a series, for those who ask for it: path, study, series and files.

    Args:
      scan: the series.
      below: the path that was given. The path of the series starts below it, and is its name where both are one.
    """
    return {
        "path": path_below(scan.path, below),
        "study": scan.study_uid,
        "series": scan.uid,
        "files": "; ".join(path_text(file.name) for file in scan.files),
    }


def path_below(path: Path, below: Path) -> str:
    """A path as it starts below another one, as text; its own name where both are one."""
    return path_text(path.name if path == below else os.path.relpath(path, below))


def earlier_predictions(out: Path) -> dict[str, list[Path]]:
    """The predictions in a folder: what they were made from (the field ``made_from``) -> their folders."""
    found: dict[str, list[Path]] = {}
    for file in sorted(out.glob(f"*/{NUMBERS_NAME}")):
        try:
            made_from = read_json(file, dict, fix="").get("made_from")
        except InputError:
            continue  # what is damaged is predicted anew, which says so if it cannot be replaced
        if isinstance(made_from, str):
            found.setdefault(made_from, []).append(file.parent)
    return found


def _headers(scan: Scan) -> tuple:
    return scan.headers if isinstance(scan, Series) else ()


def _start(file: Path) -> str:
    return hashlib.sha256(read_start(file, _START_BYTES)).hexdigest()


def _modified_ns(file: Path) -> int:
    """When a file was changed, or the archive that it lies in."""
    at = next(place for place in (file, *file.parents) if place.exists())
    return at.stat().st_mtime_ns


def _digest(values: object) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()
