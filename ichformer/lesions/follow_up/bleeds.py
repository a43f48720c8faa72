"""All bleeds of one scan, whatever their label: a bleed may change its subtype from one scan to the next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int32

from ichformer.ct.volume import Volume
from ichformer.lesions.components import boxes_of, connected
from ichformer.lesions.frozen import FrozenLabel
from ichformer.lesions.grid import Grid
from ichformer.lesions.measures import predicted_mask
from ichformer.lesions.midplane import Midplane
from ichformer.lesions.sides import Side, side_of
from ichformer.lesions.volumes import VolumeClass

_LEAST_SHARE = 0.1
"""A bleed has a subtype whose mask covers at least so much of it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Bleed:
    """One connected bleed of a scan.

    Attributes:
      ml: its volume.
      points_mm: its voxels in the patient (LPS).
      first_slice, last_slice: from 0, both included.
      subtypes: labels whose own lesion map shows it.
      side: of the patient; None where the midline is not known.
    """

    ml: float
    points_mm: Float64[np.ndarray, "n 3"]
    first_slice: int
    last_slice: int
    subtypes: tuple[str, ...]
    side: Side | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Bleeds:
    """The bleeds of a scan.

    Attributes:
      volume: the scan on whose voxels they lie.
      numbers: of each voxel the number of its bleed, from 1; 0 where there is none.
      probability: the lesion map that they come from.
      bleeds: in the order of the numbers.
      classes: for intervals of volumes; () where there are none.
    """

    volume: Volume
    numbers: Int32[np.ndarray, "s h w"]
    probability: Float32[np.ndarray, "s h w"]
    bleeds: tuple[Bleed, ...]
    classes: tuple[VolumeClass, ...]


def bleeds_of(
    probabilities: Float[np.ndarray, "s h w labels"],
    labels: Sequence[str],
    frozen: Mapping[str, FrozenLabel],
    volume: Volume,
    plane: Midplane | None,
) -> Bleeds:
    """The connected bleeds of a lesion map.

    They are those of "any". Where the labels have no "any" with a threshold, they are those of all labels together.

    Args:
      probabilities: the lesion map, on the voxels of ``volume``.
      labels: of its last axis.
      frozen: thresholds and volume classes, by label.
      volume: the scan as the model sees it.
      plane: between the hemispheres, where that was found.
    """
    grid = Grid.of(volume)
    masks: dict[str, Bool[np.ndarray, "s h w"]] = {
        label: predicted_mask(probabilities[..., i].astype(np.float32), frozen[label].threshold, grid)
        for i, label in enumerate(labels)
        if label in frozen
    }
    whole = masks.pop("any", None)
    names = ["any"] if whole is not None else [*masks]
    if whole is None:
        whole = np.logical_or.reduce([*masks.values()], axis=0)
    numbers, _ = connected(whole)
    found = []
    for number, box in enumerate(boxes_of(numbers), 1):
        own, part = numbers[box] == number, grid.part(box)
        found.append(
            Bleed(
                ml=part.ml(own),
                points_mm=part.points_mm(np.argwhere(own)),
                first_slice=box[0].start,
                last_slice=box[0].stop - 1,
                subtypes=tuple(name for name, mask in masks.items() if mask[box][own].mean() >= _LEAST_SHARE),
                side=None if plane is None else side_of(own, part, plane),
            )
        )
    return Bleeds(
        volume=volume,
        numbers=numbers,
        probability=probabilities[..., [list(labels).index(name) for name in names]].max(axis=-1).astype(np.float32),
        bleeds=tuple(found),
        classes=frozen["any"].volume_classes if "any" in frozen else (),
    )
