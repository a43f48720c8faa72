"""The figures of lesion maps as tables, for the terminal and for pages."""

from collections.abc import Iterator, Sequence

import pandas as pd

from ichformer.errors import one_line
from ichformer.evaluation.lesions.results import LesionFigures, VolumeSensitivity
from ichformer.evaluation.lesions.summary import OVER_ML, RATES, VOLUMES_ML
from ichformer.evaluation.targets import said, text_table
from ichformer.lesions.volumes import COVERAGE

OVERLAP_HEADER = ("label", "with lesion", "missed", "false alarms", "Dice", "surface Dice", "HD95, mm", "ASSD, mm")
"""Of the rows of ``overlap_rows``."""

VOLUME_HEADER = (
    *(
        "label",
        "compared",
        "bias, ml",
        "limits of agreement, ml",
        "median error, ml",
        f"median error over {OVER_ML:g} ml",
    ),
    *("ICC", f"within the {COVERAGE:.0%} interval"),
)
"""Of the rows of ``volume_rows``."""


def _class_name(above_ml: float, up_to_ml: float | None) -> str:
    return f"over {above_ml:g} ml" if up_to_ml is None else f"{above_ml:g} to {up_to_ml:g} ml"


DETECTION_HEADER = (
    *("label", "lesions", "sensitivity", "false positives a scan"),
    *(_class_name(*ends) for ends in VOLUMES_ML),
    *("peak in a lesion, scans", "peak in a lesion, slices"),
)
"""Of the rows of ``detection_rows``."""

FROC_HEADER = ("label", *(f"at {rate:g} a scan" for rate in RATES))
"""Of the rows of ``froc_rows``."""


def overlap_rows(found: Sequence[LesionFigures]) -> list[list[str]]:
    """How well masks agree, with 95 % intervals."""
    return [
        [
            *(one_line(one.label), f"{one.n_with_lesion}/{one.n}", str(one.n_missed), str(one.n_false_alarms)),
            *map(said, (one.dice, one.surface_dice, one.hd95_mm, one.assd_mm)),
        ]
        for one in found
    ]


def volume_rows(found: Sequence[LesionFigures]) -> list[list[str]]:
    """How well volumes agree, with 95 % intervals; each limit of agreement has its own."""
    return [
        [
            *(one_line(one.label), str(one.n_volumes), said(one.bias_ml)),
            f"{said(one.lower_limit_ml)} to {said(one.upper_limit_ml)}",
            said(one.median_error_ml),
            f"{said(one.median_error_over_1_ml)}, n = {one.n_over_1_ml}",
            *(said(one.icc), said(one.coverage)),
        ]
        for one in found
    ]


def detection_rows(found: Sequence[LesionFigures]) -> list[list[str]]:
    """Which lesions are found, by their volume, and where the map is highest; with 95 % intervals."""
    return [
        [
            *(one_line(one.label), str(one.n_lesions), said(one.sensitivity), said(one.false_positives)),
            *map(_of_class, one.by_volume),
            *(said(one.pointed_scans), said(one.pointed_slices)),
        ]
        for one in found
    ]


def froc_rows(found: Sequence[LesionFigures]) -> list[list[str]]:
    """Sensitivity at so many false positives a scan, with 95 % intervals."""
    return [[one_line(one.label), *map(said, one.froc)] for one in found]


def format_lesions(found: Sequence[LesionFigures]) -> str:
    """Three tables for the terminal; "" where there are no figures of lesions."""
    if not found:
        return ""
    tables = (
        ("Lesion maps: agreement of masks by scan", OVERLAP_HEADER, overlap_rows(found)),
        ("Lesion maps: volumes by scan", VOLUME_HEADER, volume_rows(found)),
        ("Lesion maps: lesions found at the frozen threshold", DETECTION_HEADER, detection_rows(found)),
    )
    return "\n\n".join(text_table(title, [header, *rows]) for title, header, rows in tables)


def lesion_warnings(table: pd.DataFrame) -> Iterator[str]:
    """How many scans have no figures of lesions, and why."""
    without = table[(table["kind"] == "scan") & (table["not_scored"] != "")]
    for (label, reason), rows in without.groupby(["label", "not_scored"], sort=False):
        yield f"Lesion map, {one_line(label)}: {len(rows)} scans have no figures: {one_line(reason)}."


def _of_class(one: VolumeSensitivity) -> str:
    return f"{one.n_found}/{one.n}" + (f", {said(one.sensitivity)}" if one.n else "")
