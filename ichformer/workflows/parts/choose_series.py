"""Which of the series that were found are predicted, and what is said of the others."""

from dataclasses import dataclass
from pathlib import Path

from ichformer.ct.io.dicom.series import Series
from ichformer.ct.io.found import SetAside, nothing_found
from ichformer.ct.io.scans import Scan, find_scans
from ichformer.ct.known_words import known_words
from ichformer.ct.selection import REFUSAL_CODES, choices
from ichformer.errors import InputError, one_line
from ichformer.reporting.scan.results import LeftOut

_QUOTING = ("bone_kernel", "contrast", "not_ct")
"""Codes of ``selection.REFUSAL_CODES`` whose text quotes a field of the header."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A series to predict: its number among those found, and what speaks against its scores, "" where nothing does."""

    number: int
    scan: Scan
    doubt: str


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What is predicted, what is not, and the files that belong to no series."""

    wanted: tuple[Wanted, ...]
    left_out: tuple[LeftOut, ...]
    set_aside: tuple[SetAside, ...]


def choose(path: Path, *, series: str | None, all_series: bool) -> Choice:
    """The series to predict among all under a path.

    Of each study it is the one that ``ct.selection`` chooses, as ``ichformer inspect`` names it. A study of one series
    is predicted whatever it is, as nobody can have meant another one; what speaks against it is said. NIfTI files and
    pictures tell nothing to choose by, so all of them are predicted.

    Args:
      path: DICOM (a folder, a file, an archive, a DICOMDIR), NIfTI or pictures.
      series: SeriesInstanceUID, or number in the order of ``find_scans`` from 1, of the only series wanted.
      all_series: predict every series.

    Raises:
      InputError: nothing is found, ``series`` is none of what is found, or no series is chosen.
    """
    found = find_scans(path)
    if not found.series:
        raise nothing_found(found)
    said, numbered = choices(found), tuple(enumerate(found.series, start=1))
    studies = [scan.study_uid for _, scan in numbered if isinstance(scan, Series)]
    wanted, left_out = [], []
    for number, scan in numbered:
        words = said[scan] if isinstance(scan, Series) else ""
        is_first = words.startswith("chosen") or not words
        if series is not None:
            is_wanted = series in (str(number), scan.uid)
        else:
            is_alone = isinstance(scan, Series) and studies.count(scan.study_uid) == 1
            is_wanted = is_first or all_series or is_alone
        if is_wanted:
            doubt = "" if is_first or words.startswith("second_choice") else _without_header_text(words)
            wanted.append(Wanted(number=number, scan=scan, doubt=doubt))
        elif series is None:
            left_out.append(LeftOut(number=number, code="not_chosen", text=one_line(words)))
    if series is not None and not wanted:
        raise InputError(
            f"is none of the {len(numbered)} series there",
            where=f"--series {series}",
            fix=f"name a number from 1 to {len(numbered)}, in the order of `ichformer inspect`, or a UID",
        )
    if not wanted:
        reasons = "; ".join(f"{one.number}: {one.text}" for one in left_out)
        raise InputError(
            f"none of {len(numbered)} series is a plain axial head CT ({one_line(reasons, max_chars=600)})",
            where=path,
            fix="name one with --series, or predict them all with --all-series",
        )
    return Choice(wanted=tuple(wanted), left_out=tuple(left_out), set_aside=found.set_aside)


def _without_header_text(reason: str) -> str:
    """A reason of ``selection`` for the report: what it quotes of the header keeps known words alone."""
    code, _, text = reason.partition(": ")
    said = (known_words(text) or REFUSAL_CODES[code]) if code in _QUOTING else one_line(text)
    return f"{code}: {said}"
