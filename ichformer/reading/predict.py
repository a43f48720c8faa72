"""A folder of DICOM and a Run in, one report a series out."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pydicom
from jaxtyping import Float

from ichformer import LABELS, __version__
from ichformer.ct.archives import open_file
from ichformer.ct.display import WindowHU
from ichformer.ct.headers import quiet_pydicom
from ichformer.ct.scans import Scan, find_scans, read_volume
from ichformer.ct.series import Series, nothing_found
from ichformer.ct.volume import Volume
from ichformer.errors import InputError, one_line
from ichformer.evaluation.ood import OOD_NAME, FeatureDistance, describe, read_ood
from ichformer.evaluation.thresholds import THRESHOLDS_NAME, Thresholds, read_thresholds
from ichformer.pipeline.prepare import even_volume, prepare_volume
from ichformer.reading.outputs import FORMAT, NUMBERS_NAME, REPORT_NAME, check_out, folder_name, write_folder
from ichformer.reading.page import Familiarity, Reading, render_page, slice_z_mm
from ichformer.reading.scoring import heat_map, score
from ichformer.training.ensemble import Trained, open_trained
from ichformer.training.run import Run

_RAISED_WITHOUT_THRESHOLD = 0.5
_IDENTITY_TAGS = {"Name": "PatientName", "Birth date": "PatientBirthDate", "ID": "PatientID", "Study date": "StudyDate"}


@dataclass(frozen=True, kw_only=True)
class SeriesPrediction:
    """What was written about one series.

    Attributes:
      number: its place in what ``find_scans`` finds, from 1.
      report: the page.
      numbers: the JSON file beside it.
      values: what stands in ``numbers``.
      familiarity: None where the run does not know what its training looked like.
    """

    number: int
    report: Path
    numbers: Path
    values: dict[str, Any]
    familiarity: Familiarity | None


@dataclass(frozen=True, kw_only=True)
class PredictionResult:
    """The series that got a report, and the number and the reason of each that could not be read."""

    series: tuple[SeriesPrediction, ...]
    left_out: tuple[tuple[int, str], ...]


def predict(
    run_path: str | os.PathLike[str],
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    with_identity: bool = False,
    series: str | None = None,
    window_hu: WindowHU | None = None,
) -> PredictionResult:
    """Predict every readable scan under ``path``, or one of them, and write ``out/<name>/`` for each.

    A folder holds ``report.html`` and ``prediction.json``; ``outputs.folder_name`` names it. It appears whole or not at
    all, and takes the place of an earlier prediction of the same series.

    Args:
      run_path: folder of a Run or of an ensemble.
      path: DICOM (a folder, a file, an archive, a DICOMDIR), NIfTI or pictures.
      out: folder for the reports, made where it is not there.
      with_identity: show the patient's name, birth date and ID and the study's date on the page; never in the JSON.
      series: SeriesInstanceUID, or number in the order of ``find_scans`` from 1, of the only series wanted.
      window_hu: for display pictures, the HU that black and white stand for; estimated where None.

    Raises:
      InputError: there is no usable run, no readable CT series, or ``out`` holds something else in its place.
    """
    out = Path(out)
    check_out(out)
    run = open_trained(run_path)
    wanted = _choose(Path(path), series)
    thresholds = _thresholds(run)
    usual = read_ood(run.path / OOD_NAME) if (run.path / OOD_NAME).exists() else None
    done: list[SeriesPrediction] = []
    errors: list[tuple[int, InputError]] = []
    for number, found in wanted:
        try:
            volume = even_volume(read_volume(found, missing=run.prepare.missing, window_hu=window_hu), run.prepare)
        except InputError as error:
            errors.append((number, error))
            continue
        reading = _read(run, thresholds, usual, volume, identity=_identity(found) if with_identity else {})
        values = _values(run, thresholds, reading)
        folder = out / folder_name(found)
        numbers = json.dumps(values, indent=1, allow_nan=False) + "\n"
        write_folder(folder, {REPORT_NAME: render_page(reading), NUMBERS_NAME: numbers})
        done.append(
            SeriesPrediction(
                number=number,
                report=folder / REPORT_NAME,
                numbers=folder / NUMBERS_NAME,
                values=values,
                familiarity=reading.familiarity,
            )
        )
    if not done:
        _refuse(Path(path), [error for _, error in errors])
    return PredictionResult(series=tuple(done), left_out=tuple((number, str(error)) for number, error in errors))


def _choose(path: Path, asked: str | None) -> list[tuple[int, Scan]]:
    found = find_scans(path)
    if not found.series:
        raise nothing_found(found)
    numbered = list(enumerate(found.series, start=1))
    if asked is None:
        return numbered
    chosen = [(number, series) for number, series in numbered if asked in (str(number), series.uid)]
    if not chosen:
        raise InputError(
            f"is none of the {len(numbered)} series there",
            where=f"--series {asked}",
            mend=f"name a number from 1 to {len(numbered)}, in the order of `ichformer inspect`, or a UID",
        )
    return chosen


def _refuse(path: Path, errors: list[InputError]) -> None:
    if len(errors) == 1:
        raise errors[0]
    raise InputError(
        f"none of {len(errors)} series can be read; the first: {errors[0]}",
        where=path,
        mend="mend or leave out what is named",
    )


def _read(
    run: Trained,
    thresholds: Thresholds | None,
    usual: FeatureDistance | None,
    volume: Volume,
    *,
    identity: Mapping[str, str],
) -> Reading:
    prepared = prepare_volume(volume, run.prepare)
    scan_scores, slice_scores, features = score(run.objective, run.variables, prepared)
    frozen = _frozen(thresholds, "scan")
    return Reading(
        volume=volume,
        scan_scores=scan_scores,
        slice_scores=slice_scores,
        thresholds=frozen,
        slice_thresholds=_frozen(thresholds, "slice"),
        threshold_rule=_rule(thresholds),
        familiarity=None if usual is None else _familiarity(usual, features, prepared),
        heat_maps={
            label: heat_map(run.objective, run.variables, prepared, volume, label=label)
            for label in _labels_to_map(scan_scores, frozen)
        },
        # What was done to make the model's input belongs to what the reader has to know.
        notes=prepared.audit.notes,
        model=_model_facts(run),
        identity=identity,
    )


def _familiarity(usual: FeatureDistance, features: Float[Any, "d"], prepared: Volume) -> Familiarity:
    described = describe(features, prepared.hu, prepared.spacing_mm)[None]
    return Familiarity(percentile=float(usual.percentiles(described)[0]), scans=usual.usual.size)


def _labels_to_map(scan_scores: Float[Any, "labels"], thresholds: Mapping[str, float]) -> list[str]:
    """ "any", and every subtype that reaches its threshold."""
    raised = [
        label
        for label, value in zip(LABELS, scan_scores, strict=True)
        if value >= thresholds.get(label, _RAISED_WITHOUT_THRESHOLD)
    ]
    return ["any", *(label for label in raised if label != "any")]


def _thresholds(run: Trained) -> Thresholds | None:
    file = run.path / THRESHOLDS_NAME
    return read_thresholds(file) if file.exists() else None


def _frozen(thresholds: Thresholds | None, level: Any) -> dict[str, float]:
    """Label -> threshold of the first rule, for the labels for which it could be fixed."""
    if thresholds is None:
        return {}
    first = {label: next(iter(thresholds.of(level, label)), None) for label in LABELS}
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


def _values(run: Trained, thresholds: Thresholds | None, reading: Reading) -> dict[str, Any]:
    """What ``prediction.json`` holds: numbers and facts, no UIDs and no identity."""
    volume = reading.volume
    return {
        "format": FORMAT,
        "notice": "Research use only. Not for diagnosis.",
        "scan": _by_label(reading.scan_scores),
        "slices": [
            {"slice": s + 1, "z_mm": round(float(z_mm), 3), "scores": _by_label(scores)}
            for s, (z_mm, scores) in enumerate(zip(slice_z_mm(volume), reading.slice_scores, strict=True))
        ],
        "thresholds": {
            "rule": _rule(thresholds),
            "scan": dict(reading.thresholds),
            "slice": dict(reading.slice_thresholds),
        },
        "familiarity": None if reading.familiarity is None else asdict(reading.familiarity),
        "shape": list(volume.hu.shape),
        "spacing_mm": list(volume.spacing_mm),
        "audit": _without_patient(volume.audit.to_json()) | {"notes": [vars(note) for note in reading.notes]},
        "model": {"name": run.name, "run": run.path.absolute().name, **_trained(run)},
        "ichformer": __version__,
    }


def _without_patient(audit: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in audit.items() if name not in ("age_years", "sex")}


def _trained(run: Trained) -> dict[str, Any]:
    found = [
        {"step": m.step, "commit": m.facts.get("commit", ""), "versions": m.facts.get("versions", {})}
        for m in run.members
    ]
    if isinstance(run, Run):
        return found[0]
    weighed = zip(run.members, run.weights, found, strict=True)
    return {"members": [{"name": m.name, "weight": weight, **values} for m, weight, values in weighed]}


def _by_label(scores: Float[Any, "labels"]) -> dict[str, float]:
    return {label: round(float(value), 6) for label, value in zip(LABELS, scores, strict=True)}
