"""The table of lesions: a row for each label of a scan, for each true and for each predicted lesion.

Every figure of ``evaluation.lesions.summary`` is computed from these rows alone. A row's ``kind`` is ``scan``, ``true``
or ``predicted``. What a kind does not have is NaN.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from ichformer.evaluation.lesions.matching import Matched, match_lesions
from ichformer.evaluation.lesions.overlap import compare_masks
from ichformer.lesions.components import boxes_of
from ichformer.lesions.frozen import FrozenLabel
from ichformer.lesions.grid import Box, Grid
from ichformer.lesions.measures import predicted_mask
from ichformer.lesions.volumes import interval_ml

ID_COLUMNS = ("patient", "study", "series", "site", "split")
"""Columns of text that say which scan a row is about."""

NUMBERS: dict[str, str] = {
    "lesion": "number of the lesion in its scan and label, from 1; 0 in the row of a scan",
    "threshold": "of the probabilities, frozen on validation",
    "true_ml": "true volume",
    "predicted_ml": "predicted volume",
    "low_ml": "lower end of the interval of the predicted volume",
    "high_ml": "upper end of the interval of the predicted volume",
    "dice": "Dice of scan, or of a true lesion with the predicted lesions that touch it",
    "hd95_mm": "95th percentile of the surface distances",
    "assd_mm": "average symmetric surface distance",
    "surface_dice": "share of the surfaces within 2 mm of each other",
    "score": "highest probability: of the map, or of the predicted lesion; of a true lesion, that at which it is found",
    "found": "1 where a true lesion is found",
    "false_positive": "1 where a predicted lesion is none",
    "pointed": "1 where the highest probability of the scan lies in a true lesion",
    "slices_found": "true slices in which the map reaches the threshold",
    "slices_pointed": "of these, those in which the highest probability lies in a true lesion",
}
"""Columns of numbers and what they say. Volumes are in ml, distances in mm."""

COLUMNS = (*ID_COLUMNS, "label", "kind", *NUMBERS, "not_scored")
"""The columns of the table, in order. ``not_scored`` says why a scan's row has no figures."""


def lesion_rows(
    ids: Mapping[str, str],
    truth: Bool[np.ndarray, "s h w"],
    probability: Float[np.ndarray, "s h w"],
    grid: Grid,
    frozen: FrozenLabel,
) -> Iterator[dict[str, Any]]:
    """The rows of one label of one scan.

    Args:
      ids: the scan's ``ID_COLUMNS``.
      truth: its mask.
      probability: its lesion map, on the same grid.
      grid: where the voxels lie.
      frozen: the threshold.
    """
    predicted = predicted_mask(probability, frozen.threshold, grid)
    matched = match_lesions(truth, predicted, probability, grid)
    ml = float(matched.predicted_ml.sum())
    interval = interval_ml(ml, frozen.volume_classes)
    start = {**ids, "label": frozen.label, "threshold": frozen.threshold}
    found, pointed = _pointing(truth, probability, frozen.threshold)
    yield _row(
        **start,
        kind="scan",
        lesion=0,
        true_ml=float(matched.true_ml.sum()),
        predicted_ml=ml,
        low_ml=math.nan if interval is None else interval.low_ml,
        high_ml=math.nan if interval is None else interval.high_ml,
        score=float(probability.max()),
        pointed=_points_in(truth, probability) if truth.any() and ml > 0 else math.nan,
        slices_found=found,
        slices_pointed=pointed,
        **vars(compare_masks(truth, predicted, grid)),
    )
    yield from _true_rows(start, matched, grid)
    for i, (one_ml, peak, is_false) in enumerate(
        zip(matched.predicted_ml, matched.peak, matched.is_false, strict=True), 1
    ):
        yield _row(
            **start, kind="predicted", lesion=i, predicted_ml=float(one_ml), score=float(peak),
            false_positive=float(is_false),
        )  # fmt: skip


def row_without_figures(ids: Mapping[str, str], label: str, reason: str) -> dict[str, Any]:
    """The row of a scan that has no figures for a label, with the reason."""
    return _row(**ids, label=label, kind="scan", lesion=0, not_scored=reason)


def _true_rows(start: dict[str, Any], matched: Matched, grid: Grid) -> Iterator[dict[str, Any]]:
    predicted_boxes = boxes_of(matched.predicted_numbers)
    for i, true_box in enumerate(boxes_of(matched.true_numbers)):
        touching = np.flatnonzero(matched.touches[i])
        box = _round([true_box, *(predicted_boxes[j] for j in touching)])
        mask, predicted = matched.true_numbers[box] == i + 1, np.isin(matched.predicted_numbers[box], 1 + touching)
        yield _row(
            **start,
            kind="true",
            lesion=i + 1,
            true_ml=float(matched.true_ml[i]),
            predicted_ml=float(matched.predicted_ml[touching].sum()),
            score=float(matched.found_score[i]),
            found=float(matched.found_score[i] > 0),
            **vars(compare_masks(mask, predicted, grid.part(box))),
        )


def _round(boxes: Sequence[Box]) -> Box:
    """The smallest box round several."""
    z, y, x = (slice(min(at.start for at in axis), max(at.stop for at in axis)) for axis in zip(*boxes, strict=True))
    return z, y, x


def _points_in(truth: Bool[np.ndarray, "*grid"], probability: Float[np.ndarray, "*grid"]) -> float:
    """1 where the highest probability lies in the mask; of several highest voxels the first counts."""
    return float(truth.ravel()[int(probability.argmax())])


def _pointing(
    truth: Bool[np.ndarray, "s h w"], probability: Float[np.ndarray, "s h w"], threshold: float
) -> tuple[int, int]:
    """How many true slices reach the threshold, and in how many of them the highest probability lies in the mask."""
    reached = [s for s in np.flatnonzero(truth.any(axis=(1, 2))) if probability[s].max() >= threshold]
    return len(reached), sum(int(_points_in(truth[s], probability[s])) for s in reached)


def _row(**values: Any) -> dict[str, Any]:
    return {name: values.get(name, "" if name in (*ID_COLUMNS, "not_scored") else math.nan) for name in COLUMNS}
