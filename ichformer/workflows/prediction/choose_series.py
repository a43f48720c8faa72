"""Which of the series that were found are predicted, and what is said of the others."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from ichformer.ct.io.dicom.series import Series
from ichformer.ct.io.found import Found, SetAside, nothing_found
from ichformer.ct.io.scans import Scan, find_scans
from ichformer.ct.known_words import known_words
from ichformer.ct.selection import REFUSAL_CODES, choices
from ichformer.errors import InputError, one_line

_QUOTING = ("bone_kernel", "contrast", "not_ct")
"""Codes of ``selection.REFUSAL_CODES`` whose text quotes a field of the header."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A series that was found.

    Attributes:
      number: its place among all series, from 1, in the order of the paths.
      scan: the series.
      below: the path that was given, in which it was found.
      is_wanted: whether it is predicted.
      against: what speaks against its scores, or why it is not predicted; "" where nothing does.
      against_without_header: the same without free text of the header, as reports and tables may say it.
      is_beside_chosen: whether it is not the one that was chosen in its study.
    """

    number: int
    scan: Scan
    below: Path
    is_wanted: bool
    against: str
    against_without_header: str
    is_beside_chosen: bool

    @property
    def doubt(self) -> str:
        """What speaks against its scores where it is predicted all the same; "" where nothing does."""
        return "" if self.against.startswith("second_choice") else self.against_without_header


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What lies under some paths: every series, the files that belong to none, and the paths that hold no series.

    Attributes:
      candidates: in the order of the paths.
      set_aside: with the path that was given, in which each file was found.
      without_series: a path with its number, which no series has, and the reason.
    """

    candidates: tuple[Candidate, ...]
    set_aside: tuple[tuple[Path, SetAside], ...]
    without_series: tuple[tuple[int, Path, InputError], ...]

    @property
    def wanted(self) -> tuple[Candidate, ...]:
        """The series to predict."""
        return tuple(one for one in self.candidates if one.is_wanted)


def choose(paths: Sequence[Path], *, series: str | None, all_series: bool, progress: bool) -> Choice:
    """The series to predict among all under some paths.

    Of each study under a path it is the one that ``ct.selection`` chooses, as ``ichformer inspect`` names it. A study
    of one series is predicted whatever it is, as nobody can have meant another one; what speaks against it is said.
    NIfTI files and pictures tell nothing to choose by, so all of them are predicted.

    Args:
      paths: each DICOM (a folder, a file, an archive, a DICOMDIR), NIfTI or pictures.
      series: SeriesInstanceUID, or number in the order of ``find_scans`` from 1, through all paths, of the only series
        wanted.
      all_series: predict every series.
      progress: show a bar on standard error where there are several paths.

    Raises:
      InputError: nothing is found under any path, ``series`` is none of what is found, or no series is chosen.
    """
    candidates: list[Candidate] = []
    set_aside: list[tuple[Path, SetAside]] = []
    without_series: list[tuple[int, Path, InputError]] = []
    number = 1
    for path in tqdm(paths, desc="headers", unit="path", disable=not progress or len(paths) < 2, file=sys.stderr):
        try:
            found = find_scans(path)
        except InputError as error:
            without_series.append((number, path, error))
            number += 1
            continue
        set_aside += [(path, aside) for aside in found.set_aside]
        if not found.series:
            without_series.append((number, path, nothing_found(found)))
            number += 1
        candidates += _candidates(found, first=number, all_series=all_series)
        number += len(found.series)
    if not candidates:
        raise without_series[0][2]
    if series is not None:
        candidates = [replace(one, is_wanted=series in (str(one.number), one.scan.uid)) for one in candidates]
        if not any(one.is_wanted for one in candidates):
            raise InputError(
                f"is none of the {len(candidates)} series there",
                where=f"--series {series}",
                fix=f"name a number from 1 to {len(candidates)}, in the order of `ichformer inspect`, or a UID",
            )
    if not any(one.is_wanted for one in candidates):
        reasons = "; ".join(f"{one.number}: {one_line(one.against)}" for one in candidates)
        raise InputError(
            f"none of {len(candidates)} series is a plain axial head CT ({one_line(reasons, max_chars=600)})",
            where=paths[0] if len(paths) == 1 else f"{len(paths)} paths",
            fix="name one with --series, or predict them all with --all-series",
        )
    return Choice(candidates=tuple(candidates), set_aside=tuple(set_aside), without_series=tuple(without_series))


def _candidates(found: Found[Scan], *, first: int, all_series: bool) -> list[Candidate]:
    """Every series under one path; ``first`` is the number of the first."""
    said = choices(found)
    studies = [scan.study_uid for scan in found.series if isinstance(scan, Series)]
    of_chosen = {_study(series) for series, words in said.items() if words.startswith("chosen")}
    candidates = []
    for number, scan in enumerate(found.series, start=first):
        words = said[scan] if isinstance(scan, Series) else ""
        is_first = words.startswith("chosen") or not words
        is_alone = isinstance(scan, Series) and studies.count(scan.study_uid) == 1
        against = "" if is_first else words
        candidates.append(
            Candidate(
                number=number,
                scan=scan,
                below=found.path,
                is_wanted=is_first or all_series or is_alone,
                against=against,
                against_without_header=_without_header_text(against) if against else "",
                is_beside_chosen=isinstance(scan, Series) and not is_first and _study(scan) in of_chosen,
            )
        )
    return candidates


def _study(series: Series) -> tuple[str, str]:
    """Which study of whom it is: anonymisers give one StudyInstanceUID to several patients."""
    return series.study_uid, series.headers[0].patient_id


def _without_header_text(reason: str) -> str:
    """A reason of ``selection``: what it quotes of the header keeps known words alone."""
    code, _, text = reason.partition(": ")
    said = (known_words(text) or REFUSAL_CODES[code]) if code in _QUOTING else one_line(text)
    return f"{code}: {said}"
