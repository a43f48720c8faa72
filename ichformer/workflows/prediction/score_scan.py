"""What a model says about a scan that was read: scores, thresholds, familiarity and heat maps."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ichformer import __version__
from ichformer.ct.volume import Volume
from ichformer.evaluation.ood import OOD_NAME, FeatureDistance, describe, read_ood
from ichformer.evaluation.scorable import check_numbers
from ichformer.evaluation.thresholds import RAISED_AT, THRESHOLDS_NAME, Thresholds, read_thresholds, thresholds_json
from ichformer.explanations.checked import EXPLANATIONS_NAME, CheckedExplanations, checked_values, read_checked
from ichformer.explanations.heat_map import heat_map
from ichformer.explanations.registry import DEFAULT_METHOD, EXPLANATIONS
from ichformer.inference.recipes import UNKNOWN_RECIPE, check_new_scans
from ichformer.inference.scoring import score_with_lesions
from ichformer.inference.trained import Trained
from ichformer.lesions.frozen import LESIONS_NAME, FrozenLesions, read_frozen_lesions
from ichformer.pipeline.preparation.config import RECIPE_VERSION
from ichformer.reporting.scan.reading import Familiarity, Reading
from ichformer.training.runs.outputs import OutputLevel, describe_outputs
from ichformer.training.runs.run import Run, seen_scans
from ichformer.workflows.prediction.read_scan import ReadScan
from ichformer.workflows.prediction.report_lesions import NO_LESION_THRESHOLDS, report_lesions

SEEN = "The model was trained on this scan, so its scores are better than those of new scans."

_WRONG = ("head_size_doubtful", "range_suspicious")
"""Notes of the audit that distances or values are not what they say, so that a model sees no head as it knows them."""

SLICES_BY_SCANS = (
    "This model learned from labels of whole scans only. A scan's score is made of those of its slices, so slices "
    "have scores, but no label of a slice was known that they could have been checked against."
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Reader:
    """A model with what was frozen for it.

    Attributes:
      run: the model.
      thresholds: None where the run has none.
      usual: the distribution of its training scans; None where the run does not know it.
      lesions: the thresholds of its lesion map; None where it has none.
      checked: which of its explanations are true; None where that was not checked.
      seen: fingerprints of the pixels that it was trained on.
    """

    run: Trained
    thresholds: Thresholds | None
    usual: FeatureDistance | None
    lesions: FrozenLesions | None
    checked: CheckedExplanations | None
    seen: frozenset[str] = frozenset()

    @cached_property
    def fingerprint(self) -> str:
        """A hash of everything that its predictions are made from, except the scan."""
        thresholds = "" if self.thresholds is None else thresholds_json(self.thresholds).hex()
        usual = [] if self.usual is None else [self.usual.mean.tolist(), self.usual.usual.tolist()]
        lesions = None if self.lesions is None else asdict(self.lesions)
        prepare = [asdict(self.run.prepare), RECIPE_VERSION]
        checked = None if self.checked is None else checked_values(self.checked)
        said = [_model_facts(self.run), self.run.fingerprint, prepare, thresholds, usual, lesions, checked]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def open_reader(run: Trained) -> Reader:
    """The model of a run with what was frozen for it in its folder.

    Raises:
      InputError: one of these is damaged or of another model, or the run cannot score new scans (``check_new_scans``).
    """
    check_new_scans(run)
    thresholds, usual, lesions, checked = (
        run.path / name for name in (THRESHOLDS_NAME, OOD_NAME, LESIONS_NAME, EXPLANATIONS_NAME)
    )
    labels = run.objective.label_set.names
    return Reader(
        run=run,
        thresholds=read_thresholds(thresholds, labels=labels, model=run.fingerprint) if thresholds.exists() else None,
        usual=read_ood(usual, model=run.fingerprint) if usual.exists() else None,
        lesions=read_frozen_lesions(lesions, model=run.fingerprint) if lesions.exists() else None,
        checked=read_checked(checked, model=run.fingerprint) if checked.exists() else None,
        seen=frozenset(_seen_pixels(run)),
    )


def _seen_pixels(run: Trained) -> Iterator[str]:
    for member in run.members:
        if (seen := seen_scans(member.path)) is not None:
            yield from seen["pixels"][seen["pixels"] != ""]


def score_scan(reader: Reader, scan: ReadScan, *, doubt: str, with_heat_maps: bool) -> Reading:
    """Score a scan.

    Args:
      reader: the model.
      scan: what was read.
      doubt: what speaks against its scores; "" where nothing does.
      with_heat_maps: whether they are made, which takes most of the time. A page needs them.
    """
    run, volume, prepared = reader.run, scan.volume, scan.prepared
    outputs, label_set = run.trained_outputs, run.objective.label_set
    scan_scores, slice_scores, features, maps = score_with_lesions(run.objective, run.variables, prepared)
    reason = scan.not_scored or check_numbers(scan_scores, slice_scores)
    levels: tuple[OutputLevel, ...] = ("scan", "slice")
    is_given = {level: np.full(len(label_set.columns), reason is None) for level in levels}
    remarks = [] if check_new_scans(run) else [UNKNOWN_RECIPE]
    remarks += [f"This may be no plain head CT, and then its scores mean nothing. {doubt}"] if doubt else []
    wrong = [note.text for note in volume.audit.notes if note.code in _WRONG]
    remarks += [f"Its scores may mean nothing: {text}." for text in wrong]
    remarks += [SEEN] * (scan.pixels in reader.seen)
    if reason is None and outputs is not None:
        for level, given in is_given.items():
            given &= [name not in outputs.missing(level) for name in label_set.columns]
        remarks += [said for level in levels if (said := outputs.reason(level))]
        if is_given["slice"].any() and not any(one.objective.labels_with_loss("slice") for one in run.members):
            remarks.append(SLICES_BY_SCANS)
    scan_scores = np.where(is_given["scan"], scan_scores, np.nan)
    slice_scores = np.where(is_given["slice"], slice_scores, np.nan)
    named = {level: {*np.array(label_set.columns)[is_given[level]].tolist()} for level in levels}
    frozen = _frozen(reader.thresholds, "scan", named["scan"])
    count = len(label_set.names)
    by_label = dict(zip(label_set.names, scan_scores[:count].tolist(), strict=True))
    usual = reader.usual if reason is None else None
    to_map = _labels_to_map(by_label, frozen) if with_heat_maps else []
    lesions = None
    if maps is not None and reason is None:
        lesions = report_lesions(maps, scan, reader.lesions, label_set, shown=to_map)
        remarks += [NO_LESION_THRESHOLDS] * (lesions is None)
    method, found_out = _heat_map_method(reader.checked)
    remarks += [found_out] if to_map and not method else []
    heat_maps: dict[str, Float[np.ndarray, "s gh gw"]] = {}
    about = ""
    for label in to_map if method else []:
        # Beside lesion maps one heat map is enough: each takes as long as several predictions.
        if lesions is None or label not in lesions.maps or label == to_map[0]:
            of: OutputLevel = "slice" if label in named["slice"] else "scan"
            heat_maps[label], (rows, columns) = heat_map(
                run.objective, run.variables, prepared, volume, label=label, level=of, method=method
            )
            about = f"{method} of the score of each {of}, from {rows} x {columns} cells a slice. {found_out}"
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
        slice_thresholds=_frozen(reader.thresholds, "slice", named["slice"]),
        threshold_rule=_rule(reader.thresholds),
        familiarity=None if usual is None else _familiarity(usual, features, prepared),
        heat_maps=heat_maps,
        heat_map_about=about,
        lesions=lesions,
        # What was done to make the model's input belongs to what the reader has to know.
        notes=prepared.audit.notes,
        model=_model_facts(run),
        identity=scan.identity,
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
        if label == first or value >= thresholds.get(label, RAISED_AT)
    ]


def _heat_map_method(checked: CheckedExplanations | None) -> tuple[str, str]:
    """The method of the heat maps, "" where none deserves to be drawn, and what is known of it."""
    if checked is None:
        return DEFAULT_METHOD, "Nobody has checked for this model whether it says more than noise would."
    scans = f"{checked.n_scans} scans of the split {checked.split!r}"
    best = next((one for one in checked.better if one.method.partition("@")[0] in EXPLANATIONS), None)
    if best is None:
        return "", f"No heat map is drawn: in {scans} no method said more of this model than noise and edges did."
    in_lesion = (
        "" if best.in_lesion is None else f", and its highest voxel lay in the lesion in {best.in_lesion.value:.0%}"
    )
    return best.method, (
        f"In {scans} it was better than noise and edges: taking out what it names lowered the score sooner, by "
        f"{best.gain} logits on average{in_lesion}."
    )


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
        "Trained on": of_each(_trained_on),
        "Input": of_each(lambda m: f"{m.prepare.size} x {m.prepare.size} pixels, {m.config.objective.channels}"),
    }


def _trained_on(member: Run) -> str:
    """The store, which an exported run does not name."""
    store = Path(member.config.data.store).name or "a store that is not named"
    return f"{store}, split {member.config.data.split!r}"
