"""A reading as one HTML file that opens anywhere and fetches nothing."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

from ichformer.ct.geometry.regrid import slice_origins_mm
from ichformer.ct.volume import Volume
from ichformer.ct.windows import WINDOWS
from ichformer.errors import one_line
from ichformer.labels import LabelSet
from ichformer.reporting.scan.lesions import lesion_card
from ichformer.reporting.scan.packing import BITS, pack
from ichformer.reporting.scan.reading import Reading
from ichformer.reporting.styled_page import render_styled

LABEL_NAMES = {
    "any": "Any haemorrhage",
    "epidural": "Epidural",
    "intraparenchymal": "Intraparenchymal",
    "intraventricular": "Intraventricular",
    "subarachnoid": "Subarachnoid",
    "subdural": "Subdural",
}
"""How the page writes the six labels, in the order in which it lists them; others are written as they are called."""

_SHOWN_WINDOWS = ("brain", "subdural", "bone")
_LOW_HU = -1024
_VIEWER = Path(__file__).parent / "viewer"
_SCRIPTS = ("planes.js", "ruler.js", "report.js")
"""In the order in which they run; the last one starts the page."""


def render_page(reading: Reading) -> str:
    """The report as the text of one HTML file.

    Style, script, scores and pictures are inside; a content security policy forbids the page to load anything and to
    run any script but its own, known by its hash. HU between -1024 and 3071 are carried exactly. Text from headers is
    made printable and escaped.
    """
    return render_styled(
        _VIEWER / "report.html.j2",
        styles=[_VIEWER / "report.css"],
        scripts=[_VIEWER / name for name in _SCRIPTS],
        title="Head CT report, research use only",
        description=one_line(reading.volume.audit.description),
        not_scored="" if reading.not_scored is None else one_line(reading.not_scored.text),
        remarks=[one_line(remark, max_chars=600) for remark in reading.remarks],
        heat_map_about=one_line(reading.heat_map_about, max_chars=600),
        summary=_summary(reading),
        threshold_rule=one_line(reading.threshold_rule),
        familiarity="" if reading.familiarity is None else str(reading.familiarity),
        unfamiliar=reading.familiarity is not None and reading.familiarity.is_unusual,
        scores=_score_rows(reading),
        targets=_target_rows(reading),
        lesions=None if reading.lesions is None else lesion_card(reading.lesions, _names(reading.label_set)),
        main=reading.label_set.main,
        notes=[{"code": note.code, "text": one_line(note.text, max_chars=600)} for note in reading.notes],
        geometry=_geometry(reading.volume),
        model=_printable(reading.model),
        identity=_printable(reading.identity),
        windows=_windows(),
        data=_data(reading),
        hu="\n".join(pack(reading.volume.hu, low=_LOW_HU)),
        heat=["\n".join(_packed_map(shown.values)) for all_of_label in reading.maps.values() for shown in all_of_label],
    )


def slice_z_mm(volume: Volume) -> Float64[np.ndarray, "s"]:
    """The patient's z at the middle of each slice, in mm, larger towards the vertex."""
    _, height, width = volume.hu.shape
    to_middle = volume.affine[2, 1] * (height - 1) / 2 + volume.affine[2, 2] * (width - 1) / 2
    return slice_origins_mm(volume)[:, 2] + to_middle


def _printable(facts: Mapping[str, str]) -> dict[str, str]:
    return {one_line(name): one_line(value, max_chars=400) for name, value in facts.items()}


def _windows() -> list[dict[str, Any]]:
    return [
        {"name": name, "center_hu": WINDOWS[name].center_hu, "width_hu": WINDOWS[name].width_hu}
        for name in _SHOWN_WINDOWS
    ]


def _data(reading: Reading) -> dict[str, Any]:
    """What the script needs."""
    return {
        "shape": list(reading.volume.hu.shape),
        "spacing_mm": list(reading.volume.spacing_mm),
        "z_mm": [round(float(z), 3) for z in slice_z_mm(reading.volume)],
        "low": _LOW_HU,
        "levels": 2**BITS,
        "windows": _windows(),
        "labels": list(reading.label_set.names),
        "main": _opening_label(reading),
        "names": _names(reading.label_set),
        "slice_scores": [
            [None if math.isnan(score) else round(float(score), 5) for score in row] for row in reading.slice_scores
        ],
        "slice_labels": _labels_of_slices(reading),
        "scored": reading.not_scored is None,
        "slice_thresholds": {label: float(value) for label, value in reading.slice_thresholds.items()},
        "below": [row["label"] for row in _score_rows(reading) if row["threshold"] is not None and not row["above"]],
        "heat": [
            {
                "label": label,
                "shape": list(shown.values.shape[1:]),
                "strongest": _strongest(shown.values),
                "lesions": shown.is_of_lesions,
            }
            for label, all_of_label in reading.maps.items()
            for shown in all_of_label
        ],
        "opening": _opening(reading),
    }


def _packed_map(maps: Float[np.ndarray, "s gh gw"]) -> list[str]:
    return pack(np.rint(255 * maps).astype(np.int32), low=0)


def _labels_of_slices(reading: Reading) -> list[str]:
    """The labels for which slices have scores."""
    names = enumerate(reading.label_set.names)
    return [label for i, label in names if not np.isnan(reading.slice_scores[:, i]).any()]


def _names(label_set: LabelSet) -> dict[str, str]:
    """Label -> how the page writes it, in the order in which it lists them."""
    if label_set.has_subtypes:
        return LABEL_NAMES
    order = sorted(label_set.names, key=lambda label: label != label_set.main)
    return {label: LABEL_NAMES.get(label, label) for label in order}


def _opening_label(reading: Reading) -> str:
    """The label that is shown first: "any", or in a label set without it the one with the highest score."""
    names = reading.label_set.names
    if "any" in names or np.isnan(reading.scan_scores).all():
        return reading.label_set.main
    return names[int(np.nanargmax(reading.scan_scores))]


def _strongest(maps: Float[np.ndarray, "s gh gw"]) -> int:
    """The slice in which the heat map is strongest."""
    return int(maps.max(axis=(1, 2)).argmax())


def _opening(reading: Reading) -> int:
    """The slice that is shown first: the most suspicious one, or the middle one where nothing tells which that is."""
    first = _opening_label(reading)
    if first in _labels_of_slices(reading):
        return int(reading.slice_scores[:, reading.label_set.names.index(first)].argmax())
    return _strongest(reading.maps[first][0].values) if first in reading.maps else len(reading.slice_scores) // 2


def _score_rows(reading: Reading) -> list[dict[str, Any]]:
    rows = []
    for label, name in _names(reading.label_set).items():
        value = float(reading.scan_scores[reading.label_set.names.index(label)])
        threshold = reading.thresholds.get(label)
        score = None if math.isnan(value) else value
        above = score is not None and threshold is not None and score >= threshold
        row = {"label": label, "name": name, "score": score, "threshold": threshold, "above": above}
        digits = _digits(score, threshold)
        score_text, threshold_text = ("" if one is None else f"{one:.{digits}f}" for one in (score, threshold))
        rows.append({**row, "score_text": score_text, "threshold_text": threshold_text})
    return rows


def _digits(score: float | None, threshold: float | None) -> int:
    """Three, or as many as show that a score is not its threshold."""
    if score is None or threshold is None or score == threshold:
        return 3
    return next(n for n in range(3, 18) if n == 17 or f"{score:.{n}f}" != f"{threshold:.{n}f}")


def _target_rows(reading: Reading) -> list[dict[str, str]]:
    values = zip(reading.label_set.targets, reading.scan_targets, strict=True)
    return [{"name": name, "value": "not given" if np.isnan(value) else f"{value:.4g}"} for name, value in values]


def _summary(reading: Reading) -> str:
    if not reading.label_set.names:
        return ""
    first = next(row for row in _score_rows(reading) if row["label"] == _opening_label(reading))
    if first["score"] is None:
        return f"{first['name']}: not scored."
    said = f"{first['name']}: {first['score_text']}"
    if first["threshold"] is not None:
        said += f", {'above' if first['above'] else 'below'} the threshold of {first['threshold_text']}"
    if first["label"] in _labels_of_slices(reading):
        said += f". Highest in slice {_opening(reading) + 1}"
    return f"{said}."


def _geometry(volume: Volume) -> dict[str, str]:
    (slices, height, width), (z, y, x), audit = volume.hu.shape, volume.spacing_mm, volume.audit
    steps = audit.steps_mm
    between = f"{z:.2f} mm" if not steps else f"{min(steps):.2f} to {max(steps):.2f} mm, median {z:.2f} mm"
    pixel = f"{y:.3f} mm" if math.isclose(x, y, rel_tol=1e-4) else f"{y:.3f} x {x:.3f} mm (row x column)"
    thick = f"{'median ' if steps else ''}{audit.thickness_mm:.2f} mm"
    facts = {
        "Slices": f"{slices} of {height} x {width} pixels",
        "Between slices": between,
        "Thickness": "unknown" if math.isnan(audit.thickness_mm) else thick,
        "Pixel": pixel,
        "Field of view": f"{width * x:.0f} x {height * y:.0f} mm",
        "Tilt": f"{audit.tilt_deg:.1f} degrees",
        "Missing slices": str(audit.missing_slices),
        "Modality": audit.modality or "unknown",
        "Scanner": audit.manufacturer or "unknown",
        "Kernel": audit.kernel or "unknown",
    }
    return _printable(facts)
