"""``ichformer predict``."""

from pathlib import Path

from ichformer.cli.printing import print_result
from ichformer.errors import InputError
from ichformer.faults import Fault


def predict(
    run: Path,
    path: Path,
    /,
    *,
    out: Path,
    series: str | None = None,
    all_series: bool = False,
    window: tuple[float, float] | None = None,
    with_identity: bool = False,
    json: bool = False,
) -> None:
    """Scores head CT with a trained run and writes a report for each scan. Research use only.

    In each study one series is scored: the plain axial head CT that `ichformer inspect` marks as chosen. A scan in
    which no brain is found is not scored, and its report says so. If a series cannot be read, the others still get
    their reports, and the exit code is 2 (1 if it is a fault of ichformer).

    Args:
      run: Folder of a run or of an ensemble.
      path: The scan or the folder of scans: DICOM (a folder, a file, a zip or tar, a DICOMDIR), a NIfTI file or
        pictures.
      out: Folder for the reports. Each series gets a folder with report.html and prediction.json.
      series: SeriesInstanceUID, or number as `ichformer inspect` gives it, of the only series to score. Use it where
        the wrong series was chosen.
      all_series: Score every series, also those that were not chosen.
      window: The HU that are black and white in display pictures (PNG, JPEG, TIFF), such as 0 80. By default they are
        estimated from the pictures. Give them where you know them.
      with_identity: Show the patient's name, birth date and ID and the date of the study in report.html. By default
        the report names nobody.
      json: Print one JSON object in place of text.
    """
    from ichformer.reporting.scan.terminal import format_prediction, result_values
    from ichformer.training.process import own_process
    from ichformer.workflows.predict_scans import predict as predict_scans

    own_process()
    result = predict_scans(
        run, path, out, with_identity=with_identity, series=series, all_series=all_series, window_hu=window
    )
    print_result(result_values(result), format_prediction(result), as_json=json)
    text = f"{len(result.lost)} of {len(result.lost) + len(result.series)} series got no report"
    if failed := [one for one in result.lost if one.code == "failed"]:
        raise Fault(f"{text}; series {failed[0].number}: {failed[0].text}")
    if result.lost:
        raise InputError(
            f"{text}; series {result.lost[0].number}: {result.lost[0].text}",
            where=path,
            fix="the others have their reports",
        )
