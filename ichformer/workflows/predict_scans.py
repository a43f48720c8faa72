"""A folder of DICOM and a Run in, one report a study out."""

import json
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from jaxtyping import Float

from ichformer import __version__
from ichformer.ct.anatomy.coverage import note_head
from ichformer.ct.io.archives import open_file
from ichformer.ct.io.dicom.dicom_file import quiet_pydicom
from ichformer.ct.io.dicom.series import Series
from ichformer.ct.io.display import WindowHU
from ichformer.ct.io.scans import Scan, read_volume
from ichformer.ct.known_words import without_free_text
from ichformer.ct.volume import Volume
from ichformer.errors import InputError, one_line
from ichformer.evaluation.ood import OOD_NAME, FeatureDistance, describe, read_ood
from ichformer.evaluation.scorable import check_numbers, why_not_scored
from ichformer.evaluation.thresholds import THRESHOLDS_NAME, Thresholds, read_thresholds
from ichformer.explain.heat_map import heat_map
from ichformer.faults import Fault, explain_failure
from ichformer.files.writing import check_folder
from ichformer.inference.scoring import score
from ichformer.inference.trained import Trained, open_trained
from ichformer.pipeline.preparation.recipe import even_volume, prepare_volume
from ichformer.reporting.scan.numbers import prediction_values
from ichformer.reporting.scan.outputs import (
    NUMBERS_NAME,
    REPORT_NAME,
    folder_name,
    free_name,
    write_folder,
)
from ichformer.reporting.scan.page import Familiarity, Reading, render_page
from ichformer.reporting.scan.results import LeftOut, PredictionResult, SeriesPrediction
from ichformer.training.runs.outputs import OutputLevel, describe_outputs
from ichformer.training.runs.run import Run
from ichformer.workflows.parts.choose_series import Wanted, choose

_RAISED_WITHOUT_THRESHOLD = 0.5
_IDENTITY_TAGS = {"Name": "PatientName", "Birth date": "PatientBirthDate", "ID": "PatientID", "Study date": "StudyDate"}


def predict(
    run_path: str | os.PathLike[str],
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    with_identity: bool = False,
    series: str | None = None,
    all_series: bool = False,
    window_hu: WindowHU | None = None,
) -> PredictionResult:
    """Predict the head scan of every study under ``path`` and write ``out/<name>/`` for each.

    ``choosing.choose`` says which series that is. A folder holds ``report.html`` and ``prediction.json``;
    ``outputs.folder_name`` names it. It appears whole or not at all, and takes the place of an earlier prediction of
    the same series. Where one series fails, the others still get their reports.

    A scan in which no brain is found is not scored: its report shows the pictures and the reason.

    Args:
      run_path: folder of a Run or of an ensemble.
      path: DICOM (a folder, a file, an archive, a DICOMDIR), NIfTI or pictures.
      out: folder for the reports, made where it is not there.
      with_identity: show the patient's name, birth date and ID and the study's date on the page; never in the JSON.
      series: SeriesInstanceUID, or number in the order of ``find_scans`` from 1, of the only series wanted.
      all_series: predict every series, not only the one that is chosen in each study.
      window_hu: for display pictures, the HU that black and white stand for; estimated where None.

    Raises:
      InputError: there is no usable run, no CT series that is chosen and can be read, both ``series`` and
        ``all_series`` are given, or ``out`` holds something else in its place.
      Fault: no series got a report, and a fault of ours kept one of them from it.
    """
    out = Path(out)
    check_folder(out)
    run = open_trained(run_path)
    if series is not None and all_series:
        raise InputError("goes with --series or --all-series, not both", where="predict", fix="leave one of them out")
    choice = choose(Path(path), series=series, all_series=all_series)
    thresholds = _thresholds(run)
    usual = read_ood(run.path / OOD_NAME, model=run.fingerprint) if (run.path / OOD_NAME).exists() else None
    done: list[SeriesPrediction] = []
    failed: list[tuple[LeftOut, Exception]] = []
    taken: set[str] = set()
    for wanted in choice.wanted:
        try:
            one = _predict_one(
                run, thresholds, usual, wanted, out, window_hu=window_hu, with_identity=with_identity, taken=taken
            )
            done.append(one)
        except InputError as error:
            failed.append((LeftOut(number=wanted.number, code="unreadable", text=str(error)), error))
        except Exception as error:  # whatever happens to one series, the others get their reports
            said = explain_failure(error, where=wanted.scan.path)
            code = "failed" if isinstance(said, Fault) else "no_memory"
            failed.append((LeftOut(number=wanted.number, code=code, text=str(said)), said))
    if not done:
        raise _refusal(Path(path), [error for _, error in failed])
    left_out = sorted((*choice.left_out, *(one for one, _ in failed)), key=lambda one: one.number)
    return PredictionResult(series=tuple(done), left_out=tuple(left_out), set_aside=choice.set_aside)


def _predict_one(
    run: Trained,
    thresholds: Thresholds | None,
    usual: FeatureDistance | None,
    wanted: Wanted,
    out: Path,
    *,
    window_hu: WindowHU | None,
    with_identity: bool,
    taken: set[str],
) -> SeriesPrediction:
    """One series read, scored and written; the name of its folder is added to ``taken``."""
    volume = note_head(read_volume(wanted.scan, missing=run.prepare.missing, window_hu=window_hu))
    volume = even_volume(replace(volume, audit=without_free_text(volume.audit)), run.prepare)
    identity = _identity(wanted.scan) if with_identity else {}
    reading = _read(run, thresholds, usual, volume, doubt=wanted.doubt, identity=identity)
    values = prediction_values(run, reading)
    name = free_name(folder_name(wanted.scan, volume), taken)
    folder = out / name
    numbers = json.dumps(values, indent=1, allow_nan=False) + "\n"
    write_folder(folder, {REPORT_NAME: render_page(reading), NUMBERS_NAME: numbers})
    taken.add(name)
    return SeriesPrediction(
        number=wanted.number,
        report=folder / REPORT_NAME,
        numbers=folder / NUMBERS_NAME,
        values=values,
        familiarity=reading.familiarity,
    )


def _refusal(path: Path, errors: list[Exception]) -> Exception:
    """A fault before what is wrong with the input: it must not be taken for that."""
    faults = [error for error in errors if isinstance(error, Fault)]
    if len(errors) == 1:
        return errors[0]
    if faults:
        return Fault(f"none of {len(errors)} series can be predicted; the first fault: {faults[0]}")
    return InputError(
        f"none of {len(errors)} series can be read; the first: {errors[0]}",
        where=path,
        fix="fix or leave out what is named",
    )


def _read(
    run: Trained,
    thresholds: Thresholds | None,
    usual: FeatureDistance | None,
    volume: Volume,
    *,
    doubt: str,
    identity: Mapping[str, str],
) -> Reading:
    prepared, outputs, label_set = prepare_volume(volume, run.prepare), run.trained_outputs, run.objective.label_set
    scan_scores, slice_scores, features = score(run.objective, run.variables, prepared)
    reason = why_not_scored(prepared, run.prepare) or check_numbers(scan_scores, slice_scores)
    levels: tuple[OutputLevel, ...] = ("scan", "slice")
    is_given = {level: np.full(len(label_set.columns), reason is None) for level in levels}
    remarks = [f"This may be no plain head CT, and then its scores mean nothing. {doubt}"] if doubt else []
    if reason is None and outputs is not None:
        for level, given in is_given.items():
            given &= [name not in outputs.missing(level) for name in label_set.columns]
        remarks += [said for level in levels if (said := outputs.reason(level))]
    scan_scores = np.where(is_given["scan"], scan_scores, np.nan)
    slice_scores = np.where(is_given["slice"], slice_scores, np.nan)
    named = {level: {*np.array(label_set.columns)[is_given[level]].tolist()} for level in levels}
    frozen = _frozen(thresholds, "scan", named["scan"])
    count = len(label_set.names)
    return Reading(
        volume=volume,
        label_set=label_set,
        scan_scores=scan_scores[:count],
        slice_scores=slice_scores[:, :count],
        scan_targets=scan_scores[count:],
        slice_targets=slice_scores[:, count:],
        not_scored=reason,
        remarks=tuple(remarks),
        thresholds=frozen,
        slice_thresholds=_frozen(thresholds, "slice", named["slice"]),
        threshold_rule=_rule(thresholds),
        familiarity=None if usual is None or reason is not None else _familiarity(usual, features, prepared),
        heat_maps={
            label: heat_map(
                run.objective,
                run.variables,
                prepared,
                volume,
                label=label,
                level="slice" if label in named["slice"] else "scan",
            )
            for label in _labels_to_map(dict(zip(label_set.names, scan_scores[:count].tolist(), strict=True)), frozen)
        },
        # What was done to make the model's input belongs to what the reader has to know.
        notes=prepared.audit.notes,
        model=_model_facts(run),
        identity=identity,
    )


def _familiarity(usual: FeatureDistance, features: Float[Any, "d"], prepared: Volume) -> Familiarity:
    described = describe(features, prepared.hu, prepared.spacing_mm)[None]
    return Familiarity(percentile=float(usual.percentiles(described)[0]), scans=usual.usual.size)


def _labels_to_map(scores: Mapping[str, float], thresholds: Mapping[str, float]) -> list[str]:
    """The labels that get a heat map: one whatever its score, and every other that reaches its threshold.

    The first is "any", or in a label set without it the label with the highest score. Labels without a score get none.
    """
    given = {label: value for label, value in scores.items() if not np.isnan(value)}
    first = "any" if "any" in scores else max(given, key=given.__getitem__, default="")
    return [
        label
        for label, value in sorted(given.items(), key=lambda pair: pair[0] != first)
        if label == first or value >= thresholds.get(label, _RAISED_WITHOUT_THRESHOLD)
    ]


def _thresholds(run: Trained) -> Thresholds | None:
    file = run.path / THRESHOLDS_NAME
    labels = run.objective.label_set.names
    return read_thresholds(file, labels=labels, model=run.fingerprint) if file.exists() else None


def _frozen(thresholds: Thresholds | None, level: OutputLevel, given: Collection[str]) -> dict[str, float]:
    """Label -> threshold of the first rule, for the labels with a score for which it could be fixed."""
    if thresholds is None:
        return {}
    labels = (label for label in dict.fromkeys(one.label for one in thresholds.thresholds) if label in given)
    first = {label: next(iter(thresholds.of(level, label)), None) for label in labels}
    return {label: found.value for label, found in first.items() if found is not None and found.value is not None}


def _rule(thresholds: Thresholds | None) -> str:
    if thresholds is None or not thresholds.thresholds:
        return ""
    patients = f"{thresholds.n_patients} patients of the split {thresholds.split!r}"
    return f"{thresholds.thresholds[0].rule}, frozen on {patients}"


def _model_facts(run: Trained) -> dict[str, str]:
    members = run.members

    def of_each(said: Callable[[Run], str]) -> str:
        return "; ".join(dict.fromkeys(map(said, members)))

    return {
        "Name": run.name,
        "Run": f"{run.path.absolute().name}, {of_each(lambda m: f'{m.step} steps')}",
        "Version": f"ichformer {__version__}",
        "Trained with": of_each(lambda m: f"ichformer {m.facts.get('versions', {}).get('ichformer', 'unknown')}"),
        "Commit": of_each(lambda m: m.facts.get("commit") or "unknown"),
        "Trained outputs": describe_outputs(run.trained_outputs),
        "Trained on": of_each(lambda m: f"{Path(m.config.data.store).name}, split {m.config.data.split!r}"),
        "Input": of_each(lambda m: f"{m.prepare.size} x {m.prepare.size} pixels, {m.config.objective.channels}"),
    }


def _identity(series: Scan) -> dict[str, str]:
    if not isinstance(series, Series):
        return dict.fromkeys(_IDENTITY_TAGS, "not given")
    with quiet_pydicom(), open_file(series.files[0]) as file:
        header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(_IDENTITY_TAGS.values()), force=True)
        found = {name: one_line(header.get(tag) or "") for name, tag in _IDENTITY_TAGS.items()}
    return {name: value or "not given" for name, value in found.items()}
