"""``prediction.json``: the numbers and facts of a report, for programs; no identity, and UIDs only where asked for."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from jaxtyping import Float

from ichformer import __version__
from ichformer.inference.trained import Trained
from ichformer.reporting.scan.lesions import lesion_values
from ichformer.reporting.scan.outputs import FORMAT
from ichformer.reporting.scan.page import slice_z_mm
from ichformer.reporting.scan.reading import Reading
from ichformer.training.runs.run import Run


def prediction_values(
    run: Trained, reading: Reading, *, key: str, made_from: str, source: Mapping[str, str]
) -> dict[str, Any]:
    """What ``prediction.json`` holds. A score that is not given is null, with the reason in words beside it.

    ``positive`` tells for each label with a score and a frozen threshold whether the scan's score, before rounding,
    reaches it. ``scored`` is false where no score of the scan is given, and ``reason`` says why; ``remarks`` are
    sentences on scores that are missing or doubtful; ``trained_outputs`` is null where the run does not know them.
    ``targets`` are there where the run's label set has some, each in the unit that its name says. For
    lesions see ``lesion_values``.

    Args:
      run: the model.
      reading: what it said of the series.
      key: of the series (``outputs.series_key``).
      made_from: a hash of the series' files, the model and the options, by which an earlier prediction is known.
      source: path, UIDs and names of files (``sources.source_facts``); left out where it is empty.
    """
    volume, outputs = reading.volume, run.trained_outputs
    names, targets = reading.label_set.names, reading.label_set.targets
    return {
        "format": FORMAT,
        "notice": "Research use only. Not for diagnosis.",
        "key": key,
        "made_from": made_from,
        **({"source": dict(source)} if source else {}),
        "scored": reading.not_scored is None,
        "reason": None if reading.not_scored is None else asdict(reading.not_scored),
        "remarks": list(reading.remarks),
        "scan": _by_name(names, reading.scan_scores),
        **({"targets": _by_name(targets, reading.scan_targets)} if targets else {}),
        **lesion_values(reading.lesions),
        "slices": [
            {
                "slice": s + 1,
                "z_mm": round(float(z_mm), 3),
                "scores": _by_name(names, reading.slice_scores[s]),
                **({"targets": _by_name(targets, reading.slice_targets[s])} if targets else {}),
            }
            for s, z_mm in enumerate(slice_z_mm(volume))
        ],
        "thresholds": {
            "rule": reading.threshold_rule,
            "scan": dict(reading.thresholds),
            "slice": dict(reading.slice_thresholds),
        },
        "positive": {
            label: bool(score >= reading.thresholds[label])
            for label, score in zip(names, reading.scan_scores, strict=True)
            if label in reading.thresholds
        },
        "familiarity": None if reading.familiarity is None else asdict(reading.familiarity),
        "shape": list(volume.hu.shape),
        "spacing_mm": list(volume.spacing_mm),
        "audit": _without_patient(volume.audit.to_json()) | {"notes": [vars(note) for note in reading.notes]},
        "model": {
            "name": run.name,
            "run": run.path.absolute().name,
            "trained_outputs": None if outputs is None else outputs.to_json(),
            **_trained(run),
        },
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


def _by_name(names: Sequence[str], values: Float[Any, "names"]) -> dict[str, float | None]:
    return {
        name: None if math.isnan(value) else round(float(value), 6) for name, value in zip(names, values, strict=True)
    }
