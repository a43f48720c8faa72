"""``ichformer.predict``: scans in, a report and numbers for each out, and a table of all."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from ichformer.ct.io.display import WindowHU
from ichformer.errors import InputError
from ichformer.faults import Fault
from ichformer.files.writing import check_folder
from ichformer.inference.trained import open_trained
from ichformer.reporting.scan.results import PredictionResult
from ichformer.reporting.scan.scores_table import GrowingTable, Row, as_columns, predicted_row, table_columns
from ichformer.reporting.scan.sources import earlier_predictions
from ichformer.settings import as_path, fit
from ichformer.training.runs.opening.run_folder import DEFAULT_RUN
from ichformer.workflows.prediction.choose_series import choose
from ichformer.workflows.prediction.dicom_results import check_can_write
from ichformer.workflows.prediction.left_out import failed, not_chosen, rows_set_aside, without_series
from ichformer.workflows.prediction.predict_series import Job, divide, predict_one, read_all
from ichformer.workflows.prediction.read_scan import Failure, ReadScan
from ichformer.workflows.prediction.score_scan import open_reader


def predict(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    out: str | os.PathLike[str],
    run: str | os.PathLike[str] = DEFAULT_RUN,
    csv: str | os.PathLike[str] | None = None,
    report: bool = True,
    dicom: bool = False,
    skip_existing: bool = False,
    workers: int = 0,
    series: str | None = None,
    all_series: bool = False,
    window_hu: WindowHU | None = None,
    with_identity: bool = False,
    with_uids: bool = False,
    progress: bool = True,
) -> PredictionResult:
    """Predicts the head scan of every study under some paths, and writes a folder for each.

    A folder holds ``prediction.json`` and, unless it is left out, ``report.html``. It appears whole or not at all, and
    takes the place of an earlier prediction of the same series. Where one series fails, the others are still predicted.
    A scan in which no brain is found is not scored: its report shows the pictures and the reason.

    Example:
      >>> import ichformer as ich
      >>> result = ich.predict("scan/", run="runs/first", out="out")
      >>> result.series[0].numbers.name, result.series[0].report.name
      ('prediction.json', 'report.html')
      >>> result.table["number"].tolist()
      [1]

    Args:
      paths: DICOM (folders, files, archives, a DICOMDIR), NIfTI or pictures; one path or several.
      out: folder for the predictions, made where it is not there.
      run: folder of a run or of an ensemble; the weights that come with ichformer by default.
      csv: a file for the table of all series, also of those that were left out or failed. It appears at the end; until
        then, its rows are in a file of this name with ``.part`` behind it, as they come.
      report: write ``report.html``. Without it a prediction takes a fraction of the time.
      dicom: write DICOM objects about each series beside its numbers (``reporting.dicom.objects``): a structured
        report, segmentations, a map of the explanation, key images and a presentation state. They carry the patient's
        identity as the series has it. Only DICOM series have some; other scans fail before they are read.
      skip_existing: leave out what ``out`` holds already: a prediction of the same files by the same model with the
        same options.
      workers: processes that read the next scans while this one predicts; with 0 this one does both.
      series: SeriesInstanceUID, or number in the order of ``ichformer inspect`` from 1, of the only series wanted. With
        several paths, the number counts through all of them.
      all_series: predict every series, not only the one that is chosen in each study.
      window_hu: for display pictures, the HU that black and white stand for; estimated where None.
      with_identity: show the patient's name, birth date and ID and the study's date on the page; never elsewhere.
      with_uids: write each series' path, UIDs and names of files into ``prediction.json`` and the table.
      progress: show a bar with an ETA on standard error.

    Returns:
      What was written about each series, what was left out and why, and the table.

    Raises:
      InputError: there is no usable run, no CT series that is chosen and can be read, options do not go together, or
        ``out`` or ``csv`` cannot be written.
      Fault: no series was predicted, and a fault of ours kept one of them from it.
    """
    given, out = _as_paths(paths), as_path(out, where="out", fix="name a folder")
    table = None if csv is None else as_path(csv, where="csv", fix="name a file")
    _check_places(out, table)
    if series is not None and all_series:
        raise InputError("goes with --series or --all-series, not both", where="predict", fix="leave one of them out")
    if dicom:
        check_can_write()
    job = Job(
        reader=open_reader(open_trained(run)),
        out=out,
        report=report,
        dicom=dicom,
        window_hu=fit(WindowHU | None, window_hu, where="window_hu"),
        with_identity=with_identity,
        with_uids=with_uids,
    )
    if fit(int, workers, where="workers") < 0:
        raise InputError(f"found {workers}", where="--workers", fix="give 0 or more")
    choice = choose(given, series=series, all_series=all_series, progress=progress)
    done, todo = divide(job, choice.wanted, earlier_predictions(out) if skip_existing else {})
    lost = [without_series(*one, job) for one in choice.without_series]
    errors: list[InputError | Fault] = [error for _, _, error in choice.without_series]
    rows: list[Row] = [predicted_row(one.number, one.folder.name, one.values, None) for one in done]
    rows += [one.row for one in lost]
    names = table_columns(job.reader.run.objective.label_set, with_uids=with_uids)
    growing = None if table is None else GrowingTable(table, names, rows)
    taken = {one.folder.name for one in done}
    bar = tqdm(total=len(todo), desc="predict", unit="scan", disable=not progress or len(todo) < 2, file=sys.stderr)
    with bar:
        for one, read in read_all(job, todo, workers=workers):
            written = predict_one(job, one, read, taken) if isinstance(read, ReadScan) else read
            if isinstance(written, Failure):
                lost.append(failed(one, written, job))
                errors.append(written.error)
                rows.append(lost[-1].row)
                bar.set_postfix(failed=len(lost), refresh=False)
            else:
                done.append(written[0])
                rows.append(written[1])
            if growing is not None:
                growing.add(rows[-1])
            bar.update()
    others = [not_chosen(one, job) for one in choice.candidates if series is None and not one.is_wanted]
    left_out = sorted((one.left_out for one in (*lost, *others)), key=lambda one: one.number)
    rows = sorted((*rows, *(one.row for one in others)), key=lambda row: row["number"])
    columns = as_columns([*rows, *rows_set_aside(choice, job)], names)
    if growing is not None:
        growing.finish(columns)
    if not done:
        raise _refusal(given, errors)
    return PredictionResult(
        series=tuple(sorted(done, key=lambda one: one.number)),
        left_out=tuple(left_out),
        set_aside=tuple(aside for _, aside in choice.set_aside),
        columns=columns,
        csv=table,
    )


def _as_paths(paths: object) -> tuple[Path, ...]:
    several = paths if isinstance(paths, list | tuple) else (paths,)
    if not several:
        raise InputError("names no scan", where="predict", fix="name a scan, or a folder of scans")
    return tuple(as_path(path, where="paths", fix="give the path of a scan, or several") for path in several)


def _check_places(out: Path, table: Path | None) -> None:
    """InputError where what will be written has no place."""
    check_folder(out)
    if table is not None:
        check_folder(table.parent)
        if table.is_dir():
            raise InputError("is a folder", where=table, fix="name a file, such as scores.csv")


def _refusal(paths: Sequence[Path], errors: list[InputError | Fault]) -> InputError | Fault:
    """A fault before what is wrong with the input: it must not be taken for that."""
    faults = [error for error in errors if isinstance(error, Fault)]
    if len(errors) == 1:
        return errors[0]
    if faults:
        return Fault(f"none of {len(errors)} series can be predicted; the first fault: {faults[0]}")
    return InputError(
        f"none of {len(errors)} series can be read; the first: {errors[0]}",
        where=paths[0] if len(paths) == 1 else f"{len(paths)} paths",
        fix="fix or leave out what is named",
    )
