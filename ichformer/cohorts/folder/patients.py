"""Finds the patient of each scan of a folder."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ichformer.cohorts.spelling import one_spelling
from ichformer.ct.io.dicom.series import Series
from ichformer.ct.io.scans import Scan
from ichformer.errors import InputError, one_line

_NOBODY = re.compile(
    r"\W*|[0x]+|anon(ym(ous|i[sz]ed)?)?|de-?identified|unknown|none|null|na|n/a|(no[ _-]?)?(name|id|patient)|test"
    r"|removed|redacted",
    re.IGNORECASE,
)
"""What anonymisers leave in PatientID. No such text names a patient."""


@dataclass(frozen=True, kw_only=True)
class Owner:
    """The patient of a scan: the name, and how it is known (``patients.PATIENT_SOURCES``)."""

    name: str
    source: str


def find_owners(scans: Mapping[str, Scan], source: Path, patient_from: str) -> dict[str, Owner]:
    """Finds the patient of each scan.

    Args:
      scans: by their name.
      source: the folder.
      patient_from: "folder": the folder directly below ``source`` that holds a scan is its patient; or a regular
        expression with one group, which is searched for in the paths below ``source``. "" for what the headers say.
        Without a PatientID a study is taken for a patient, without a study a scan.

    Raises:
      InputError: ``patient_from`` is neither, or does not tell the patient of every file; or two files of one scan have
        two patients by it.
    """
    if patient_from:
        name_of = _by_folder if patient_from == "folder" else _by_pattern(patient_from)
        kind = "folder" if patient_from == "folder" else "pattern"
        return {name: Owner(name=_one_name(scan, source, name_of), source=kind) for name, scan in scans.items()}
    ids = {name: scan.headers[0].patient_id if isinstance(scan, Series) else "" for name, scan in scans.items()}
    shared = _shared_ids({name: (ids[name], scan.study_uid) for name, scan in scans.items()}.values())
    owners = {}
    for name, scan in scans.items():
        if ids[name]:
            owners[name] = Owner(name=ids[name], source="shared" if ids[name] in shared else "header")
        else:
            owners[name] = Owner(name=scan.study_uid or name, source="study" if scan.study_uid else "guessed")
    return owners


def series_cut_by_spelling(scans: Iterable[Scan]) -> int:
    """Counts the series that are read in parts because their files spell one PatientID in several ways."""
    spellings: dict[tuple[str, str], set[str]] = {}
    for scan in scans:
        if isinstance(scan, Series) and scan.uid and scan.headers[0].patient_id:
            spellings.setdefault((scan.uid, scan.study_uid), set()).add(scan.headers[0].patient_id)
    return sum(len(set(one_spelling(ids).values())) < len(ids) for ids in spellings.values())


def _shared_ids(scans: Iterable[tuple[str, str]]) -> set[str]:
    """PatientIDs that may be several patients', from (PatientID, study) of each scan.

    IDs of ``_NOBODY`` that stand in two studies or more, taken together; an ID of two studies or more that is the only
    one; an ID of three studies or more that make more than half of all.
    """
    studies: dict[str, set[str]] = {}
    for patient_id, study in scans:
        studies.setdefault(patient_id, set()).add(study)
    total = sum(map(len, studies.values()))
    nobody = {patient_id for patient_id in studies if patient_id and _NOBODY.fullmatch(patient_id)}
    if len(set().union(*(studies[patient_id] for patient_id in nobody))) < 2:
        nobody = set()
    most = {
        patient_id
        for patient_id, own in studies.items()
        if patient_id and len(own) > 1 and (len(own) == total or (len(own) > 2 and 2 * len(own) > total))
    }
    return nobody | most


def _by_folder(below: PurePosixPath) -> str:
    return below.parts[0] if len(below.parts) > 1 else ""


def _by_pattern(pattern: str) -> Callable[[PurePosixPath], str]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise InputError(
            f"{one_line(pattern)!r} is no regular expression ({error})", where="--patient-from", fix=_FIX
        ) from None
    if expression.groups != 1:
        raise InputError(f"{one_line(pattern)!r} has {expression.groups} groups", where="--patient-from", fix=_FIX)

    def name_of(below: PurePosixPath) -> str:
        match = expression.search(str(below))
        return (match[1] or "") if match else ""

    return name_of


_FIX = r"write folder, or a pattern with one group in brackets, such as 'sub-(\d+)'"


def _one_name(scan: Scan, source: Path, name_of: Callable[[PurePosixPath], str]) -> str:
    first = ""
    for file in scan.files:
        below = PurePosixPath(file.relative_to(source).as_posix())
        name = name_of(below)
        if not name or (first and name != first):
            what = "belongs to another patient than other files of its series" if name else "has no patient by that"
            raise InputError(f"{what}: {one_line(below)}", where="--patient-from", fix=_FIX)
        first = name
    return first
