"""``follow_up.json``: the numbers of a follow-up for programs, without identity."""

from typing import Any

from ichformer import __version__
from ichformer.lesions.follow_up.followed import Followed
from ichformer.lesions.follow_up.growth import Growth
from ichformer.lesions.measures import LabelMeasures
from ichformer.lesions.volumes import interval_ml
from ichformer.reporting.dicom.codes import RESEARCH_ONLY
from ichformer.reporting.follow_up.compared import Compared, ComparedScan

FORMAT = "ichformer follow-up 1"
"""First field of the file."""


def follow_up_values(compared: Compared) -> dict[str, Any]:
    """What the file holds. Slices are counted from 1; ``bleeds`` is null where the scans could not be compared."""
    found = compared.registration
    return {
        "format": FORMAT,
        "use": RESEARCH_ONLY,
        "remarks": list(compared.remarks),
        "hours_between": compared.hours,
        "earlier": _scan_values(compared.earlier),
        "later": _scan_values(compared.later),
        "registration": {
            "is_good": found.is_good,
            "dice": round(found.dice, 4),
            "likeness": round(found.likeness, 4),
            "turned_deg": round(found.motion.angle_deg, 3),
            "earlier_to_later_lps_mm": found.motion.matrix.round(6).tolist(),
        },
        "labels": {
            one.label: {
                "threshold": one.earlier.threshold,
                "earlier": _volume_values(one.earlier),
                "later": _volume_values(one.later),
                "growth": _growth_values(one.growth),
            }
            for one in compared.labels
        },
        "bleeds": None if compared.followed is None else [_bleed_values(one, compared) for one in compared.followed],
        "model": dict(compared.later.reading.model),
        "ichformer": __version__,
    }


def _scan_values(scan: ComparedScan) -> dict[str, Any]:
    volume = scan.reading.volume
    scores = zip(scan.reading.label_set.names, scan.reading.scan_scores.tolist(), strict=True)
    return {
        "key": scan.key,
        "shape": list(volume.hu.shape),
        "spacing_mm": list(volume.spacing_mm),
        "scores": {label: None if score != score else round(score, 6) for label, score in scores},
    }


def _volume_values(measures: LabelMeasures) -> dict[str, Any]:
    interval = measures.interval
    return {
        "ml": round(measures.ml, 3),
        "low_ml": None if interval is None else round(interval.low_ml, 3),
        "high_ml": None if interval is None else round(interval.high_ml, 3),
        "lesions": len(measures.lesions),
    }


def _growth_values(growth: Growth) -> dict[str, Any]:
    return {
        "ml": round(growth.ml, 3),
        "low_ml": None if growth.low_ml is None else round(growth.low_ml, 3),
        "high_ml": None if growth.high_ml is None else round(growth.high_ml, 3),
        "percent": None if growth.percent is None else round(growth.percent, 1),
        "change": growth.change,
        "exceeds_6_ml_or_33_percent": growth.exceeds_definition,
    }


def _bleed_values(one: Followed, compared: Compared) -> dict[str, Any]:
    sides: dict[str, Any] = {}
    for name, bleeds, scan, ml in (
        ("earlier", one.earlier, compared.earlier, one.earlier_ml),
        ("later", one.later, compared.later, one.later_ml),
    ):
        interval = interval_ml(ml, scan.bleeds.classes)
        sides[name] = {
            "ml": round(ml, 3),
            "low_ml": None if interval is None else round(interval.low_ml, 3),
            "high_ml": None if interval is None else round(interval.high_ml, 3),
            "pieces": [
                {
                    "ml": round(each.ml, 3),
                    "slices": [each.first_slice + 1, each.last_slice + 1],
                    "side": each.side,
                    "subtypes": list(each.subtypes),
                }
                for each in bleeds
            ],
        }
    return {
        "number": one.number,
        "fate": one.fate,
        **sides,
        "growth": _growth_values(one.growth),
        "peak_in_the_other_scan": None if one.peak_elsewhere is None else round(one.peak_elsewhere, 4),
    }
