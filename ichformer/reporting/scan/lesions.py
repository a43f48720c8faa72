"""The lesions of a scan in its report: a table for readers, the same numbers for programs, and the maps to show."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from ichformer.lesions.grid import Grid
from ichformer.lesions.measures import LabelMeasures
from ichformer.lesions.midline import MidlineShift
from ichformer.lesions.volumes import COVERAGE

_SHOWN = 5
"""Lesions of each label in the table, the largest first; ``prediction.json`` has all."""

NOTE = (
    f"A volume's interval holds the true volume of {COVERAGE:.0%} of validation scans with such a prediction. It is "
    "made for each label by itself, and there is none where such scans were too few. ABC/2 is Kothari's estimate, "
    "beside which the volume of the map can be checked. Sides are the patient's."
)
"""Under the table."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LesionReport:
    """What a lesion map shows.

    Attributes:
      labels: the measures of each label with a frozen threshold.
      shift: of the midline.
      maps: label -> probabilities, one grid a slice that covers the slice edge to edge; of labels with a lesion.
      probabilities: as the model gives them, with the labels in the order of the label set.
      grid: where these lie in the patient.
    """

    labels: tuple[LabelMeasures, ...]
    shift: MidlineShift
    maps: Mapping[str, Float[np.ndarray, "s gh gw"]]
    probabilities: Float32[np.ndarray, "s rows columns labels"]
    grid: Grid


def lesion_values(report: LesionReport | None) -> dict[str, Any]:
    """What ``prediction.json`` says of lesions; nothing where the model has no lesion map.

    ``ml`` has the volume of each label. ``lesions`` has the shift of the midline (positive to the patient's left, null
    with a reason where it was not measured), and for each label its threshold, its volume with the interval, its side
    and each lesion. Slices are counted from 1.
    """
    if report is None:
        return {}
    return {
        "ml": {one.label: round(one.ml, 3) for one in report.labels},
        "lesions": {
            "midline_shift_mm": None if report.shift.shift_mm is None else round(report.shift.shift_mm, 2),
            "midline_reason": report.shift.reason,
            "labels": {one.label: _label_values(one) for one in report.labels},
        },
    }


def lesion_card(report: LesionReport, names: Mapping[str, str]) -> dict[str, Any]:
    """What the page shows of lesions, as text in cells.

    Args:
      report: what a lesion map shows.
      names: label -> how the page writes it, in the order in which it lists them.
    """
    found = {one.label: one for one in report.labels}
    labels = [
        {"name": name, "ml": _volume(found[label]), "side": found[label].side or "", "rows": _rows(found[label])}
        for label, name in names.items()
        if label in found
    ]
    return {"midline": str(report.shift), "labels": labels, "note": NOTE}


def _label_values(one: LabelMeasures) -> dict[str, Any]:
    return {
        "threshold": one.threshold,
        "ml": round(one.ml, 3),
        "low_ml": None if one.interval is None else round(one.interval.low_ml, 3),
        "high_ml": None if one.interval is None else round(one.interval.high_ml, 3),
        "side": one.side,
        "lesions": [
            {
                "ml": round(each.ml, 3),
                "side": each.side,
                "slices": [each.first_slice + 1, each.last_slice + 1],
                "diameter_mm": round(each.diameter_mm, 1),
                "abc2_ml": round(each.abc2_ml, 3),
                "peak": round(each.peak, 4),
            }
            for each in one.lesions
        ],
    }


def _volume(one: LabelMeasures) -> str:
    found = one.interval
    return f"{one.ml:.1f} ml ({'no interval' if found is None else f'{found.low_ml:.1f} to {found.high_ml:.1f}'})"


def _rows(one: LabelMeasures) -> list[list[str]]:
    """The cells of the largest lesions: ml, side, slices, diameter, ABC/2."""
    return [
        [
            *(f"{each.ml:.1f}", each.side or "", _slices(each.first_slice + 1, each.last_slice + 1)),
            *(f"{each.diameter_mm:.0f}", f"{each.abc2_ml:.1f}"),
        ]
        for each in one.lesions[:_SHOWN]
    ]


def _slices(first: int, last: int) -> str:
    return str(first) if first == last else f"{first} to {last}"
