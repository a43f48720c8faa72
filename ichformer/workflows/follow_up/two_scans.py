"""Both scans of a follow-up, read and scored as ``predict`` does it, and what is refused or doubtful about the pair."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from ichformer.ct.anatomy.brain import brain_mask
from ichformer.ct.io.dicom.series import Series
from ichformer.ct.io.scans import Scan
from ichformer.errors import InputError
from ichformer.evaluation.scorable import NO_BRAIN, Reason
from ichformer.inference.lesions import lay_lesions
from ichformer.lesions.follow_up.bleeds import bleeds_of
from ichformer.reporting.follow_up.compared import ComparedScan
from ichformer.workflows.follow_up.times import hours_between, taken
from ichformer.workflows.prediction.choose_series import Candidate, choose
from ichformer.workflows.prediction.read_scan import Failure, ReadScan, ScanTask, read_scan
from ichformer.workflows.prediction.score_scan import Reader, score_scan

_DOUBTFUL = {
    "head_cut_off": "does not show the whole head, so its volumes may lack a part",
    "head_size_doubtful": "has distances that are wrong, so its volumes are wrong too",
    "spacing_assumed": "does not say its distances, so its volumes rest on usual ones",
}
"""Notes of the audit under which volumes mean less."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OneScan:
    """A scan that was read.

    Attributes:
      path: where it was looked for.
      chosen: its series.
      read: what was read of it.
    """

    path: Path
    chosen: Candidate
    read: ReadScan


def check_measures(reader: Reader) -> None:
    """InputError where a run measures no lesions."""
    if reader.lesions is None:
        raise InputError(
            "measures no lesions: no threshold was fixed for its lesion map on scans with masks",
            where=reader.run.path,
            fix="name a run that was trained with --model.lesions on scans with masks",
        )


def read_one(path: Path, reader: Reader) -> OneScan:
    """Read the one scan under a path.

    Raises:
      InputError: there is not exactly one scan to choose there, it cannot be read, or it may not be scored.
    """
    wanted = choose([path], series=None, all_series=False, progress=False).wanted
    if len(wanted) > 1:
        raise InputError(f"holds {len(wanted)} scans to choose from", where=path, fix="name the folder or file of one")
    read = read_scan(
        ScanTask(
            number=wanted[0].number,
            scan=wanted[0].scan,
            config=reader.run.prepare,
            window_hu=None,
            with_identity=False,
            with_midline=True,
        )
    )
    if isinstance(read, Failure):
        raise read.error
    _check_scored(read.not_scored, path)
    return OneScan(path=path, chosen=wanted[0], read=read)


def score_one(one: OneScan, reader: Reader) -> ComparedScan:
    """Score a scan and find its bleeds.

    Raises:
      InputError: its scores are no numbers, or the run measures no lesions.
    """
    reading = score_scan(reader, one.read, doubt=one.chosen.doubt, with_heat_maps=False)
    _check_scored(reading.not_scored, one.path)
    check_measures(reader if reading.lesions is not None else replace(reader, lesions=None))
    assert reading.lesions is not None
    assert reader.lesions is not None
    prepared, midline, frozen = one.read.prepared, one.read.midline, reader.lesions.by_label
    names = [name for name in reading.label_set.names if name in frozen]
    kept = [reading.label_set.names.index(name) for name in names]
    bleeds = bleeds_of(
        lay_lesions(reading.lesions.probabilities[..., kept], prepared, prepared),
        names,
        frozen,
        prepared,
        None if midline is None else midline.plane,
    )
    return ComparedScan(key=one.read.key, reading=reading, bleeds=bleeds)


def brain_of(one: OneScan) -> Bool[np.ndarray, "s h w"]:
    """The inside of the skull of a scan, on its own voxels; InputError where there is none."""
    brain = brain_mask(one.read.volume)
    _check_scored(None if brain.any() else NO_BRAIN, one.path)
    return brain


def _check_scored(reason: Reason | None, path: Path) -> None:
    if reason is not None:
        raise InputError(f"is not scored: {reason.text}", where=path, fix="compare two scans that `predict` scores")


def check_pair(earlier: OneScan, later: OneScan, *, dicom: bool) -> tuple[float | None, tuple[str, ...]]:
    """Refuse two scans that cannot be earlier and later; say what is doubtful about the others.

    Returns:
      The hours between them, None where they are not known; and remarks. Neither names a patient or a date.

    Raises:
      InputError: both are the same scan, the order is the wrong one, or ``dicom`` is asked for and the scans belong to
        two patients or one is no DICOM series.
    """
    before, after = earlier.read.volume, later.read.volume
    if earlier.read.key == later.read.key or np.array_equal(before.hu, after.hu):
        raise InputError("is the same scan as the earlier one", where=later.path, fix="name two scans")
    hours = hours_between(taken(earlier.chosen.scan), taken(later.chosen.scan))
    if hours is not None and hours < 0:
        raise InputError(
            "was taken before the scan that was named as the earlier one",
            where=later.path,
            fix="name the earlier scan first",
        )
    remarks = []
    if hours is None:
        remarks.append("The time of a scan is not known, so nothing tells whether they stand in the right order.")
    elif hours == 0:
        remarks.append("Both scans have the same time, so nothing tells whether they stand in the right order.")
    remarks += _of_patients(earlier.chosen.scan, later.chosen.scan, dicom=dicom)
    for name, one in (("earlier", earlier), ("later", later)):
        codes = {note.code for note in one.read.prepared.audit.notes}
        remarks += [f"The {name} scan {said}." for code, said in _DOUBTFUL.items() if code in codes]
    return hours, tuple(remarks)


def _of_patients(earlier: Scan, later: Scan, *, dicom: bool) -> list[str]:
    """What the headers say of whose scans they are; no ID is named."""
    if not isinstance(earlier, Series) or not isinstance(later, Series):
        if dicom:
            wrong = later if isinstance(earlier, Series) else earlier
            raise InputError(
                "is no DICOM series, to which results could belong", where=wrong.path, fix="leave out --dicom"
            )
        return ["Nothing tells whether both scans are of one patient."]
    ids = earlier.headers[0].patient_id, later.headers[0].patient_id
    if not all(ids):
        return ["A scan has no PatientID, so nothing tells whether both are of one patient."]
    if ids[0] == ids[1]:
        return []
    if dicom:
        raise InputError(
            "has another PatientID than the earlier scan, and a DICOM object belongs to one patient",
            where=later.path,
            fix="leave out --dicom, or export both under one PatientID",
        )
    return ["The scans have different PatientIDs. Make sure that both are of one patient."]
