"""Fixing the thresholds of lesion maps, and the classes of volumes, on validation."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Float64

from ichformer.lesions.frozen import FrozenLabel
from ichformer.lesions.grid import Grid
from ichformer.lesions.measures import predicted_mask
from ichformer.lesions.volumes import fit_volume_classes

CANDIDATES = tuple(round(0.05 * step, 2) for step in range(1, 20))
"""The thresholds that are tried."""


@dataclass(frozen=True, kw_only=True)
class SeenLabel:
    """What is kept of one label of a validation scan.

    Attributes:
      patient: whose scan it is.
      true_ml: volume of the mask.
      predicted_ml: at each of ``CANDIDATES``.
      dice: at each of ``CANDIDATES``; 1 where neither mask nor map holds a lesion.
    """

    patient: str
    true_ml: float
    predicted_ml: tuple[float, ...] = field(repr=False)
    dice: tuple[float, ...] = field(repr=False)


def see_label(
    patient: str, truth: Bool[np.ndarray, "s h w"], probability: Float[np.ndarray, "s h w"], grid: Grid
) -> SeenLabel:
    """What one scan says of each threshold."""
    predicted = [predicted_mask(probability, threshold, grid) for threshold in CANDIDATES]
    both = [int(truth.sum()) + int(one.sum()) for one in predicted]
    shared = [int((truth & one).sum()) for one in predicted]
    return SeenLabel(
        patient=patient,
        true_ml=grid.ml(truth),
        predicted_ml=tuple(grid.ml(one) for one in predicted),
        dice=tuple(2 * s / b if b else 1.0 for s, b in zip(shared, both, strict=True)),
    )


def fix_label(label: str, seen: Sequence[SeenLabel]) -> FrozenLabel | None:
    """Choose the threshold with the highest mean Dice over the scans, and learn how far its volumes are off.

    A scan without a lesion counts 1 where nothing is predicted and 0 where something is, so that false positives
    count. Of several equally good thresholds the lowest is taken. Volumes are compared in the first scan of each
    patient.

    Returns:
      None where no scan has a lesion.
    """
    n_positive = sum(one.true_ml > 0 for one in seen)
    if not n_positive:
        return None
    dice = np.array([one.dice for one in seen]).mean(axis=0)
    best = int(np.argmax(dice >= dice.max() - 1e-9))
    first = list({one.patient: one for one in reversed(seen)}.values())
    return FrozenLabel(
        label=label,
        threshold=CANDIDATES[best],
        dice=float(dice[best]),
        n=len(seen),
        n_positive=n_positive,
        volume_classes=fit_volume_classes(
            _array([one.true_ml for one in first]), _array([one.predicted_ml[best] for one in first])
        ),
    )


def _array(values: Sequence[float]) -> Float64[np.ndarray, " n"]:
    return np.asarray(values, np.float64)
