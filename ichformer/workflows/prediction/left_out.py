"""What is said of series that are not predicted: for the result, and as rows of the table."""

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from ichformer.errors import InputError
from ichformer.files.writing import path_text
from ichformer.pipeline.preparation.rejects import full_reason, reason_without_names
from ichformer.reporting.scan.results import LeftOut
from ichformer.reporting.scan.scores_table import ANOTHER_CHOSEN, Row, row_without_scores
from ichformer.reporting.scan.sources import key_of_files, key_of_unread, path_below
from ichformer.workflows.prediction.choose_series import Candidate, Choice
from ichformer.workflows.prediction.predict_series import Job
from ichformer.workflows.prediction.read_scan import Failure

_NO_SCANS = ("broken_copy", "dicomdir", "not_dicom", "resource_fork")
"""Codes of ``found.SET_ASIDE_CODES`` for files that are never a scan of their own: they have no row."""


@dataclass(frozen=True, kw_only=True)
class NotPredicted:
    """One series without a prediction: for the result, and for the table."""

    left_out: LeftOut
    row: Row


def failed(one: Candidate, failure: Failure, job: Job) -> NotPredicted:
    """A series that could not be read or scored."""
    source = job.source(one.scan, one.below)
    return _lost(one.number, key_of_unread(one.scan), failure, one.scan.path, source, job)


def without_series(number: int, path: Path, error: InputError, job: Job) -> NotPredicted:
    """A path that holds no series."""
    source = {"path": path_text(path.name)} if job.with_uids else {}
    return _lost(number, "", Failure(code="unreadable", error=error), path, source, job)


def not_chosen(one: Candidate, job: Job) -> NotPredicted:
    """A series that is not the plain head scan of its study; the table says where another one is."""
    beside = f"; {ANOTHER_CHOSEN}" if one.is_beside_chosen else ""
    row = row_without_scores(
        one.number,
        key_of_unread(one.scan),
        not_scored=f"not_chosen: {one.against_without_header}{beside}",
        source=job.source(one.scan, one.below),
    )
    return NotPredicted(left_out=LeftOut(number=one.number, code="not_chosen", text=one.against), row=row)


def rows_set_aside(choice: Choice, job: Job) -> list[Row]:
    """Rows of files that belong to no series of slices, such as localizers: one for each folder and reason."""
    files = [(below, aside) for below, aside in choice.set_aside if aside.code not in _NO_SCANS]
    places = [(below, aside.path.parent, aside.code) for below, aside in files]
    order = sorted(range(len(files)), key=lambda i: tuple(map(str, places[i])))
    rows = []
    for (below, folder, code), group in groupby(order, key=lambda i: places[i]):
        paths = [files[i][1].path for i in group]
        names = {"path": path_below(folder, below), "files": "; ".join(path_text(path.name) for path in paths)}
        said = f"{code}: {len(paths)} file{'s' * (len(paths) > 1)}"
        rows.append(
            row_without_scores(None, key_of_files(paths), not_scored=said, source=names if job.with_uids else {})
        )
    return rows


def _lost(number: int, key: str, failure: Failure, path: Path, source: dict[str, str], job: Job) -> NotPredicted:
    hidden = reason_without_names if not job.with_uids else full_reason
    row = row_without_scores(number, key, error=f"{failure.code}: {hidden(failure.error, path)}", source=source)
    left_out = LeftOut(number=number, code=failure.code, text=str(failure.error))
    return NotPredicted(left_out=left_out, row=row)
