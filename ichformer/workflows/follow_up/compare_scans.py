"""``ichformer.follow_up``: two scans of a patient in, how much the bleeds grew out, as a page, numbers and DICOM."""

import hashlib
import importlib.util
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ichformer.ct.geometry.registration import register_heads
from ichformer.errors import InputError
from ichformer.files.sets import write_set
from ichformer.files.writing import check_folder, path_text
from ichformer.inference.trained import open_trained
from ichformer.lesions.follow_up.followed import follow_bleeds
from ichformer.reporting.follow_up.compared import Compared
from ichformer.reporting.follow_up.numbers import follow_up_values
from ichformer.reporting.follow_up.page import render_follow_up
from ichformer.settings import as_path
from ichformer.training.runs.opening.run_folder import DEFAULT_RUN
from ichformer.workflows.follow_up.two_scans import OneScan, brain_of, check_measures, check_pair, read_one, score_one
from ichformer.workflows.prediction.dicom_results import check_can_write, made_of
from ichformer.workflows.prediction.score_scan import Reader, open_reader

NUMBERS_NAME, PAGE_NAME, REPORT_NAME = "follow_up.json", "follow_up.html", "follow_up.dcm"


@dataclass(frozen=True, kw_only=True, eq=False)
class FollowUpResult:
    """What was found out about two scans, and where it was written.

    Attributes:
      compared: the scans, the growth of each label and what became of each bleed.
      page, numbers: the files.
      report: the structured report; None unless it was asked for.
    """

    compared: Compared
    page: Path
    numbers: Path
    report: Path | None

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON: the files and what ``follow_up.json`` holds."""
        places = {
            "page": path_text(self.page),
            "numbers": path_text(self.numbers),
            "report": None if self.report is None else path_text(self.report),
        }
        return places | follow_up_values(self.compared)


def follow_up(
    earlier: str | os.PathLike[str],
    later: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    run: str | os.PathLike[str] = DEFAULT_RUN,
    dicom: bool = False,
) -> FollowUpResult:
    """Compares two scans of a patient: how much each kind of bleed grew, and which bleeds are new or gone.

    Both are read and scored as ``predict`` does it. The heads are laid over each other by a rigid motion. Where that
    fits poorly, the volumes are reported and the bleeds are not compared one by one. For research only.

    Example:
      >>> import ichformer as ich
      >>> result = ich.follow_up("monday/", "tuesday/", out="follow_up")  # doctest: +SKIP
      >>> [(one.label, round(one.growth.ml, 1)) for one in result.compared.labels]  # doctest: +SKIP
      [('intraparenchymal', 3.2), ('any', 3.4)]

    Args:
      earlier, later: the scans, each DICOM (a folder, a file, an archive), NIfTI or pictures. Of several series of a
        study, the one is taken that ``predict`` takes.
      out: folder for ``follow_up.json``, ``follow_up.html`` and ``follow_up.dcm``, made where it is not there.
      run: folder of a run or of an ensemble with frozen thresholds of its lesion map; the weights that come with
        ichformer by default.
      dicom: write a structured report (Comprehensive 3D SR) that belongs to the later study and refers to both. It
        carries the patient's identity as the later series has it.

    Raises:
      InputError: a scan cannot be read or scored, both are the same, they stand in the wrong order, the run measures no
        lesions, a library is missing, or ``out`` cannot be written.
    """
    paths = [as_path(path, where=name, fix="give a path") for path, name in ((earlier, "earlier"), (later, "later"))]
    folder = as_path(out, where="out", fix="name a folder")
    check_folder(folder)
    if importlib.util.find_spec("SimpleITK") is None:
        raise InputError("needs SimpleITK", where="follow-up", fix="pip install 'ichformer[clinic]'")
    if dicom:
        check_can_write()
    reader = open_reader(open_trained(run))
    check_measures(reader)
    first, second = (read_one(path, reader) for path in paths)
    hours, remarks = check_pair(first, second, dicom=dicom)
    before, after = score_one(first, reader), score_one(second, reader)
    registration = register_heads(
        first.read.volume,
        second.read.volume,
        earlier_brain=brain_of(first),
        later_brain=brain_of(second),
    )
    scored = _of_scans(before.reading.remarks, after.reading.remarks)
    compared = Compared(
        earlier=before,
        later=after,
        hours=hours,
        registration=registration,
        followed=follow_bleeds(before.bleeds, after.bleeds, registration.motion) if registration.is_good else None,
        remarks=remarks + scored,
    )
    files: dict[str, bytes] = {}
    if dicom:
        compared, files[REPORT_NAME] = _with_report(compared, first, second, reader)
    files[PAGE_NAME] = render_follow_up(compared).encode(errors="backslashreplace")
    numbers = json.dumps(follow_up_values(compared), indent=1, allow_nan=False) + "\n"
    write_set(files | {NUMBERS_NAME: numbers.encode()}, folder, what="follow-up")
    return FollowUpResult(
        compared=compared,
        page=folder / PAGE_NAME,
        numbers=folder / NUMBERS_NAME,
        report=folder / REPORT_NAME if dicom else None,
    )


def _of_scans(earlier: tuple[str, ...], later: tuple[str, ...]) -> tuple[str, ...]:
    """The remarks on scores, with the scan that they are about; once where they are about both."""
    return (
        *(f"Both scans: {said}" for said in earlier if said in later),
        *(f"Earlier scan: {said}" for said in earlier if said not in later),
        *(f"Later scan: {said}" for said in later if said not in earlier),
    )


def _with_report(compared: Compared, earlier: OneScan, later: OneScan, reader: Reader) -> tuple[Compared, bytes]:
    """The structured report, and remarks where it cannot refer to the UIDs that the series have."""
    from ichformer.reporting.dicom.follow_up_report import follow_up_report
    from ichformer.reporting.dicom.objects import as_files

    said = json.dumps([earlier.read.key, later.read.key, reader.fingerprint])
    made_from = hashlib.sha256(said.encode()).hexdigest()
    name = compared.later.reading.model.get("Name", "")
    (before, of_earlier), (after, of_later) = (
        made_of(one.chosen.scan, made_from=made_from, name=name, model=reader.fingerprint) for one in (earlier, later)
    )
    compared = replace(compared, remarks=compared.remarks + _of_scans(of_earlier, of_later))
    return compared, as_files({REPORT_NAME: follow_up_report(before, after, compared)})[REPORT_NAME]
