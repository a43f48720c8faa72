"""Reports series that a store leaves out: in its ``rejects.csv`` and on the terminal."""

import itertools
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ichformer.cohorts.tables import write_table
from ichformer.ct.known_words import known_words
from ichformer.errors import InputError, one_line
from ichformer.faults import explain_failure
from ichformer.pipeline.store.index_file import REJECTS_NAME

_MOST_SHOWN, _MOST_FOLDERS = 20, 1000

_USUAL = ("data", "file", "files", "folder", "image", "images", "pixels", "scan", "scans", "study", "studies", "dicom")
"""Names of folders and files that say nothing, and would take words out of sentences."""

_FILE = r"[^\s/\\]+\.(?:dcm|ima|nii|gz|hdr|img|zip|tar|tgz|bz2|xz|png|jpe?g|tiff?|csv)\b(?:#\d+)?"
_HIDDEN = (
    (r"\(([A-Za-z_]\w*): .*\)", r"(\1)"),  # what a library says may quote anything
    (r"'[^']*'|\"[^\"]*\"", "'...'"),
    (r"\S*[^\s/\\(][/\\][^\s/\\)]\S*|(?<!\S)[/\\]\S+", "..."),
    (_FILE, "a file"),
    (r"(?<![\d.])\d+(?:\.\d+){3,}", "a UID"),
    (r"\d{6,}", "..."),
)
"""What in a reason may be a name of a file, folder or person, a UID, a number or a date; and what stands for it."""


@dataclass(frozen=True, kw_only=True)
class Reject:
    """A series that was left out.

    Attributes:
      name: of the series, as the store would call it.
      number: of its row in the Study index, from 1. For a folder that is its number in ``ichformer inspect``.
      path: where it lies.
      reason: why it was left out; may name files.
      reason_without_names: the same for others; "" where the table may say everything.
    """

    name: str
    number: int
    path: str
    reason: str
    reason_without_names: str


def full_reason(error: Exception, path: Path) -> str:
    """Returns why a series is left out, in one line that may name files."""
    return one_line(explain_failure(error, where=path), max_chars=1200)


def reason_without_names(error: Exception, path: Path) -> str:
    """Returns why a series is left out, in one line without names of files, UIDs or words of a header.

    Args:
      error: the reason.
      path: of the series; the names of its folders and files are taken out.
    """
    known = explain_failure(error, where=path)
    if not isinstance(known, InputError):
        return f"the scan: cannot be read, a fault of ichformer ({type(error).__name__}); see `ichformer inspect`"
    return one_line(f"the scan: {hide_names(f'{known.what}; {known.fix}', path)}", max_chars=1000)


def hide_names(text: str, path: Path) -> str:
    """Takes out of a text the names on the path of a scan and in it, other files, UIDs, and what is quoted."""
    for name in sorted(_names(path), key=len, reverse=True):
        text = re.sub(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])", "...", text)
    for pattern, stands_for in _HIDDEN:
        text = re.sub(pattern, stands_for, text)
    return text


def _names(path: Path) -> set[str]:
    """Of the folders on the way to a scan and of all that lies in it, as an error may quote them."""
    names = {*path.parts, path.name.partition(".")[0]}
    for _, folders, files in itertools.islice(os.walk(path), _MOST_FOLDERS):
        names.update(folders, files)
    telling = (name for name in names if len(name) > 2 and name not in _USUAL and known_words(name) != name)
    return {one_line(name, max_chars=400) for name in telling}


def write_rejects(rejects: Sequence[Reject], paths: Sequence[str], out: Path) -> None:
    """Writes the table ``rejects.csv``.

    Args:
      rejects: what was left out.
      paths: of all series of the index; the table's paths start below what they have in common, so that it says nothing
        about the machine.
      out: the store's folder.
    """
    root = os.path.commonpath([os.path.dirname(path) for path in paths])
    rejects = sorted(rejects, key=lambda reject: reject.name)
    below = {reject.name: (os.path.relpath(reject.path, root), reject.reason) for reject in rejects}
    said = [("", r.reason_without_names) if r.reason_without_names else below[r.name] for r in rejects]
    table = pd.DataFrame(
        {
            "series": [reject.name for reject in rejects],
            "path": [path for path, _ in said],
            "reason": [reason.replace(root + os.sep, "") for _, reason in said],
            "number": [str(reject.number) for reject in rejects],
        }
    )
    write_table(table, out / REJECTS_NAME)


def say_rejects(rejects: Sequence[Reject]) -> None:
    """Prints to standard error the series whose files the table does not name: whoever prepares may see them."""
    hidden = [reject.reason for reject in sorted(rejects, key=lambda r: r.number) if reject.reason_without_names]
    for reason in hidden[:_MOST_SHOWN]:
        print(f"left out: {one_line(reason, max_chars=600)}", file=sys.stderr)  # noqa: T201
    if len(hidden) > _MOST_SHOWN:
        print(f"left out: {len(hidden) - _MOST_SHOWN} more", file=sys.stderr)  # noqa: T201
