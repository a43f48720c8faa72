"""One series after the other: skipped where it was predicted before, read, scored and written."""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ichformer.ct.io.display import WindowHU
from ichformer.ct.io.pictures import PictureStack
from ichformer.ct.io.scans import Scan
from ichformer.errors import InputError
from ichformer.pipeline.preparation.workers import run_all
from ichformer.reporting.scan.numbers import prediction_values
from ichformer.reporting.scan.outputs import NUMBERS_NAME, REPORT_NAME, folder_name, free_name, write_folder
from ichformer.reporting.scan.page import render_page
from ichformer.reporting.scan.results import SeriesPrediction
from ichformer.reporting.scan.scores_table import Row, predicted_row
from ichformer.reporting.scan.sources import source_facts, state_of_files
from ichformer.workflows.prediction.choose_series import Candidate
from ichformer.workflows.prediction.dicom_results import series_of, with_dicom
from ichformer.workflows.prediction.read_scan import Failure, ReadScan, ScanTask, explained, read_scan
from ichformer.workflows.prediction.score_scan import Reader, score_scan

_KILLED = "its process was killed whenever it was tried; the memory may not suffice for it"
_LESS = "predict it with fewer --workers, or on a larger machine"


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """What all series of a call have in common; the attributes are arguments of ``predict``."""

    reader: Reader
    out: Path
    report: bool
    dicom: bool
    window_hu: WindowHU | None
    with_identity: bool
    with_uids: bool

    def source(self, scan: Scan, below: Path) -> dict[str, str]:
        """What identifies a series, where it is asked for."""
        return source_facts(scan, below) if self.with_uids else {}

    def made_from(self, one: Candidate, state: str) -> str:
        """A hash of all that the prediction of a series depends on; "" where the state of its files is not known."""
        options = [self.window_hu, self.with_identity, self.source(one.scan, one.below), one.doubt, self.dicom]
        said = json.dumps([state, self.reader.fingerprint, options])
        return hashlib.sha256(said.encode()).hexdigest() if state else ""


def divide(
    job: Job, wanted: Sequence[Candidate], earlier: Mapping[str, list[Path]]
) -> tuple[list[SeriesPrediction], list[Candidate]]:
    """The series of which there is an earlier prediction, and those to predict.

    Args:
      job: what all series have in common.
      wanted: the series.
      earlier: what predictions were made from -> their folders (``sources.earlier_predictions``).
    """
    done: list[SeriesPrediction] = []
    todo: list[Candidate] = []
    taken: set[Path] = set()
    for one in wanted:
        folders = earlier.get(job.made_from(one, state_of_files(one.scan)), []) if earlier else []
        whole = (folder for folder in folders if not job.report or (folder / REPORT_NAME).exists())
        folder = next((folder for folder in whole if folder not in taken), None)
        if folder is None:
            todo.append(one)
        else:
            taken.add(folder)
            report = folder / REPORT_NAME if job.report else None
            done.append(SeriesPrediction(number=one.number, folder=folder, report=report, is_new=False))
    return done, todo


def read_all(job: Job, todo: Sequence[Candidate], *, workers: int) -> Iterator[tuple[Candidate, ReadScan | Failure]]:
    """Every series with what was read of it, as they come; with workers, the next ones are read meanwhile.

    Those to which no DICOM results could belong come first, unread, where such results are asked for.
    """
    has_pictures = any(isinstance(one.scan, PictureStack) for one in todo)
    by_number = {one.number: one for one in todo}
    for one in todo:
        if (refusal := _refusal(job, one)) is not None:
            yield by_number.pop(one.number), refusal
    tasks = [
        ScanTask(
            number=one.number,
            scan=one.scan,
            config=job.reader.run.prepare,
            # Beside pictures, scans with a scale of their own do not need the window that was given.
            window_hu=job.window_hu if isinstance(one.scan, PictureStack) or not has_pictures else None,
            with_identity=job.with_identity,
            with_midline=job.reader.lesions is not None,
        )
        for one in by_number.values()
    ]
    if not workers or not tasks:
        yield from ((by_number[task.number], read_scan(task)) for task in tasks)
        return
    for task, outcome in run_all(read_scan, tasks, executor=None, workers=min(workers, len(tasks))):
        killed = Failure(code="no_memory", error=InputError(_KILLED, where=task.scan.path, fix=_LESS))
        yield by_number[task.number], outcome or killed


def _refusal(job: Job, one: Candidate) -> Failure | None:
    """Why a series need not be read, as its DICOM results could not be written."""
    try:
        if job.dicom:
            series_of(one.scan)
    except InputError as error:
        return explained(error, one.scan)
    return None


def predict_one(job: Job, one: Candidate, scan: ReadScan, taken: set[str]) -> tuple[SeriesPrediction, Row] | Failure:
    """One series scored and written; the name of its folder is added to ``taken``."""
    started = time.perf_counter()
    try:
        reading = score_scan(job.reader, scan, doubt=one.doubt, with_heat_maps=job.report or job.dicom)
        made_from = job.made_from(one, scan.state)
        files: dict[str, str | bytes] = {}
        if job.dicom:
            # Of the pixels and UIDs, not of the state of the files: a copy of the study gives the same objects.
            of_scan = job.made_from(one, scan.key)
            reading, objects = with_dicom(one.scan, reading, made_from=of_scan, model=job.reader.fingerprint)
            files |= objects
        values = prediction_values(
            job.reader.run, reading, key=scan.key, made_from=made_from, source=job.source(one.scan, one.below)
        )
        if job.report:
            files[REPORT_NAME] = render_page(reading)
    except Exception as error:  # whatever happens to one series, the others are predicted
        return explained(error, one.scan)
    name = free_name(folder_name(one.scan, scan.key), taken)
    folder = job.out / name
    write_folder(folder, files | {NUMBERS_NAME: json.dumps(values, indent=1, allow_nan=False) + "\n"})
    taken.add(name)
    seconds = scan.seconds + time.perf_counter() - started
    report = folder / REPORT_NAME if job.report else None
    return SeriesPrediction(number=one.number, folder=folder, report=report), predicted_row(
        one.number, name, values, seconds
    )
