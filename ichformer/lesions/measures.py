"""What a lesion map says of a scan: for each label its volume with an interval, and every lesion with its measures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from ichformer.lesions.components import boxes_of, connected, without_specks
from ichformer.lesions.frozen import FrozenLabel
from ichformer.lesions.grid import Grid
from ichformer.lesions.midplane import Midplane
from ichformer.lesions.shape import abc2_ml, axial_diameter_mm
from ichformer.lesions.sides import Side, side_of
from ichformer.lesions.volumes import VolumeInterval, interval_ml


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """One connected lesion.

    Attributes:
      ml: its volume.
      side: of the patient; None where the midline is not known.
      first_slice, last_slice: from 0, both included.
      diameter_mm: the largest axial diameter.
      abc2_ml: the volume by ABC/2 (``shape.abc2_ml``).
      peak: the highest probability in it.
    """

    ml: float
    side: Side | None
    first_slice: int
    last_slice: int
    diameter_mm: float
    abc2_ml: float
    peak: float


@dataclass(frozen=True, kw_only=True)
class LabelMeasures:
    """All lesions of one label, the largest first.

    Attributes:
      label: which label.
      threshold: of the probabilities, frozen on validation.
      ml: volume of all of them.
      interval: of this volume; None where validation was too small for one.
      side: of all of them together; None where there are none or the midline is not known.
      lesions: one by one.
    """

    label: str
    threshold: float
    ml: float
    interval: VolumeInterval | None
    side: Side | None
    lesions: tuple[Lesion, ...]


def measure_lesions(
    probabilities: Float[np.ndarray, "s h w labels"],
    labels: Sequence[str],
    grid: Grid,
    frozen: Mapping[str, FrozenLabel],
    plane: Midplane | None,
) -> tuple[LabelMeasures, ...]:
    """Measure the lesions of every label that has a frozen threshold.

    Args:
      probabilities: the lesion map.
      labels: of its last axis.
      grid: where its voxels lie.
      frozen: thresholds and volume classes, by label.
      plane: between the hemispheres, where that was found.
    """
    return tuple(
        _measure_label(probabilities[..., i].astype(np.float32), frozen[label], grid, plane)
        for i, label in enumerate(labels)
        if label in frozen
    )


def predicted_mask(probability: Float[np.ndarray, "s h w"], threshold: float, grid: Grid) -> Bool[np.ndarray, "s h w"]:
    """The voxels that reach the threshold, without specks (``components.without_specks``)."""
    return without_specks(probability >= threshold, grid)


def _measure_label(
    probability: Float[np.ndarray, "s h w"], frozen: FrozenLabel, grid: Grid, plane: Midplane | None
) -> LabelMeasures:
    mask = predicted_mask(probability, frozen.threshold, grid)
    numbers, _ = connected(mask)
    lesions = [
        _measure(numbers[box] == number, probability[box], grid.part(box), plane, first_slice=box[0].start)
        for number, box in enumerate(boxes_of(numbers), 1)
    ]
    ml = grid.ml(mask)
    return LabelMeasures(
        label=frozen.label,
        threshold=frozen.threshold,
        ml=ml,
        interval=interval_ml(ml, frozen.volume_classes),
        side=side_of(mask, grid, plane) if lesions and plane is not None else None,
        lesions=tuple(sorted(lesions, key=lambda one: -one.ml)),
    )


def _measure(
    mask: Bool[np.ndarray, "s h w"],
    probability: Float[np.ndarray, "s h w"],
    grid: Grid,
    plane: Midplane | None,
    *,
    first_slice: int,
) -> Lesion:
    return Lesion(
        ml=grid.ml(mask),
        side=None if plane is None else side_of(mask, grid, plane),
        first_slice=first_slice,
        last_slice=first_slice + len(mask) - 1,
        diameter_mm=axial_diameter_mm(mask, grid),
        abc2_ml=abc2_ml(mask, grid),
        peak=float(probability[mask].max()),
    )
