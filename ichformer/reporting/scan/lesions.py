"""The lesions of a scan in its report: a table for readers, the same numbers for programs, and the maps to show."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from ichformer.lesions.measures import LabelMeasures, Lesion
from ichformer.lesions.midline import MidlineShift
from ichformer.lesions.volumes import COVERAGE

_SHOWN = 5
"""Lesions of each label in the table, the largest first."""

NOTE = (
    f"A volume's interval holds the true volume of {COVERAGE:.0%} of validation scans with such a prediction. ABC/2 is "
    "Kothari's estimate, beside which the volume of the map can be checked. Sides are the patient's."
)
"""Under the table."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LesionReport:
    """What a lesion map shows.

    Attributes:
      labels: the measures of each label with a frozen threshold.
      shift: of the midline.
      maps: label -> probabilities, one grid a slice that covers the slice edge to edge; of labels with a lesion.
    """

    labels: tuple[LabelMeasures, ...]
    shift: MidlineShift
    maps: Mapping[str, Float[np.ndarray, "s gh gw"]]


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
    rows = [row for label, name in names.items() if label in found for row in _rows(found[label], name)]
    return {"midline": str(report.shift), "rows": rows, "note": NOTE}


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


def _rows(one: LabelMeasures, name: str) -> list[dict[str, Any]]:
    """A row for the label, and one for each of its largest lesions where it has several."""
    interval = "" if one.interval is None else f" ({one.interval.low_ml:.1f} to {one.interval.high_ml:.1f})"
    alone = one.lesions[0] if len(one.lesions) == 1 else None
    count = f"{len(one.lesions)} lesions" if one.lesions and alone is None else ""
    whole = {"name": name, "is_label": True, "ml": f"{one.ml:.1f}{interval}", "side": one.side or ""}
    rows = [whole | (_cells(alone) if alone else {"slices": count, "diameter": "", "abc2": ""})]
    if alone is None:
        rows += [
            {"name": "", "is_label": False, "ml": f"{each.ml:.1f}", "side": each.side or "", **_cells(each)}
            for each in one.lesions[:_SHOWN]
        ]
    return rows


def _cells(each: Lesion) -> dict[str, str]:
    first, last = each.first_slice + 1, each.last_slice + 1
    return {
        "slices": str(first) if first == last else f"{first} to {last}",
        "diameter": f"{each.diameter_mm:.0f}",
        "abc2": f"{each.abc2_ml:.1f}",
    }
