"""``ichformer predict``."""

from pathlib import Path

from ichformer.cli.printing import print_result
from ichformer.errors import InputError
from ichformer.faults import Fault


def predict(
    paths: tuple[Path, ...],
    /,
    *,
    out: Path,
    run: Path = Path("default"),
    csv: Path | None = None,
    report: bool = True,
    dicom: bool = False,
    skip_existing: bool = False,
    workers: int = 0,
    series: str | None = None,
    all_series: bool = False,
    window: tuple[float, float] | None = None,
    with_identity: bool = False,
    with_uids: bool = False,
    json: bool = False,
) -> None:
    """Scores head CT with a trained run and writes a report for each scan. Research use only.

    In each study one series is scored: the plain axial head CT that `ichformer inspect` marks as chosen. The only
    series of a study is scored whatever it is, and what speaks against it is said. A scan in which no brain is found
    is not scored, and its report says so. If a series cannot be read, the others are still predicted, and the exit code
    is 2 (1 if it is a fault of ichformer).

    Args:
      paths: Scans and folders of scans, one or more. Each is DICOM (a folder, a file, a zip or tar, a DICOMDIR), a
        NIfTI file or pictures.
      out: Folder for the predictions. Each series gets a folder with report.html and prediction.json.
      run: Folder of a run or of an ensemble. The word default stands for the weights that come with ichformer.
      csv: File for a table with a row for each series, such as OUT/scores.csv, where `ichformer worklist OUT` looks for
        it. It has the scores, and the reason where there are none. It is written at the end. Until then its rows are in
        scores.csv.part beside it, as they come.
      report: Write report.html. With --no-report a scan takes a fraction of the time.
      dicom: Write DICOM objects beside the numbers: a structured report (report.dcm), bleeds and their probabilities
        as segmentations, the explanation as a parametric map, key images and a presentation state. They have the
        patient's identity as the series has it. Only DICOM series have some; other scans fail. It needs the extra
        "clinic".
      skip_existing: Leave out the series that --out holds already. It continues where an earlier call was interrupted.
        Series whose files, model or options have changed are predicted again.
      workers: Number of processes that read the next scans while this one predicts. By default this one does both.
        Give as many as there are cores for many scans, and fewer where memory is short.
      series: SeriesInstanceUID, or number as `ichformer inspect` gives it, of the only series to score. Use it where
        the wrong series was chosen. With several paths, the number counts through all of them.
      all_series: Score every series, also those that were not chosen.
      window: The HU that are black and white in display pictures (PNG, JPEG, TIFF), such as 0 80. By default they are
        estimated from the pictures. Give them where you know them.
      with_identity: Show the patient's name, birth date and ID and the date of the study in report.html. By default
        the report names nobody.
      with_uids: Write the path, the StudyInstanceUID, the SeriesInstanceUID and the file names of each series into the
        table and prediction.json. By default a key that names nobody stands for the series.
      json: Print one JSON object in place of text.
    """
    from ichformer.reporting.scan.terminal import format_prediction, result_values
    from ichformer.training.process import own_process
    from ichformer.workflows.predict_scans import predict as predict_scans

    own_process()
    result = predict_scans(
        paths,
        out=out,
        run=run,
        csv=csv,
        report=report,
        dicom=dicom,
        skip_existing=skip_existing,
        workers=workers,
        series=series,
        all_series=all_series,
        window_hu=window,
        with_identity=with_identity,
        with_uids=with_uids,
    )
    print_result(result_values(result), format_prediction(result), as_json=json)
    text = f"{len(result.lost)} of {len(result.lost) + len(result.series)} series were not predicted"
    if failed := [one for one in result.lost if one.code == "failed"]:
        raise Fault(f"{text}; series {failed[0].number}: {failed[0].text}")
    if result.lost:
        raise InputError(
            f"{text}; series {result.lost[0].number}: {result.lost[0].text}",
            where=paths[0] if len(paths) == 1 else f"{len(paths)} paths",
            fix="the others were predicted",
        )
