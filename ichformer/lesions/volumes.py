"""The interval of a predicted volume: what the true volumes of validation scans with such a prediction were."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

COVERAGE = 0.9
"""Share of scans whose true volume lies in the interval."""

UP_TO_ML = (0.0, 1.0, 5.0, None)
"""Predictions are told apart by their volume: none, up to 1 ml, up to 5 ml, and more. Large bleeds are measured with a
smaller relative error."""

_OFFSET_ML = 0.1
"""Added before ratios are taken, as volumes may be 0."""


@dataclass(frozen=True, kw_only=True)
class VolumeClass:
    """What validation says of predictions of about one volume.

    Attributes:
      up_to_ml: the largest prediction of the class; None for the last one. The first class holds predictions of 0.
      n: scans of validation, one a patient, that the factors rest on.
      low_factor, high_factor: the ends of the interval are these times (predicted + 0.1 ml), less 0.1 ml; None where
        there are too few scans.
    """

    up_to_ml: float | None
    n: int
    low_factor: float | None
    high_factor: float | None


@dataclass(frozen=True, kw_only=True)
class VolumeInterval:
    """The interval that holds the true volume of ``COVERAGE`` of the scans with such a prediction."""

    low_ml: float
    high_ml: float


def fit_volume_classes(
    true_ml: Float64[np.ndarray, " n"], predicted_ml: Float64[np.ndarray, " n"]
) -> tuple[VolumeClass, ...]:
    """Learn from validation scans how far true volumes are from predicted ones.

    Split conformal prediction with the ratio (true + 0.1 ml) / (predicted + 0.1 ml) as the score, by class of the
    predicted volume (Mondrian). Each end leaves out half of 1 - ``COVERAGE``; the upper end of a prediction of 0 leaves
    out all of it. A class with too few scans takes those of all predictions above 0. The coverage holds for scans that
    are exchangeable with those of validation, so give one scan a patient.

    Source: Vovk, Gammerman, Shafer, Algorithmic Learning in a Random World 2005, section 4.5; Lei et al., Journal of
    the American Statistical Association 2018;113:1094-1111; Romano et al., NeurIPS 2019 (both ends apart).

    Args:
      true_ml: one scan a patient.
      predicted_ml: of the same scans.
    """
    ratios = (true_ml + _OFFSET_ML) / (predicted_ml + _OFFSET_ML)
    member = np.searchsorted([edge for edge in UP_TO_ML if edge is not None], predicted_ml, "left")
    pooled = ratios[member > 0]
    return tuple(
        _volume_class(up_to_ml, ratios[member == i], pooled if i else ratios[:0]) for i, up_to_ml in enumerate(UP_TO_ML)
    )


def interval_ml(predicted_ml: float, classes: Sequence[VolumeClass]) -> VolumeInterval | None:
    """The interval of a predicted volume; None where validation had too few scans with such a prediction."""
    fitting = (one for one in classes if one.up_to_ml is None or predicted_ml <= one.up_to_ml)
    one = next(fitting, None)
    if one is None or one.low_factor is None or one.high_factor is None:
        return None
    low, high = (factor * (predicted_ml + _OFFSET_ML) - _OFFSET_ML for factor in (one.low_factor, one.high_factor))
    return VolumeInterval(low_ml=max(0.0, low), high_ml=max(0.0, high))


def _volume_class(
    up_to_ml: float | None, ratios: Float64[np.ndarray, " n"], pooled: Float64[np.ndarray, " m"]
) -> VolumeClass:
    none_predicted = up_to_ml == 0
    left_out = (1 - COVERAGE) * (1.0 if none_predicted else 0.5)
    # Of n scans the k-th smallest ratio lies above a new one with a chance of k / (n + 1).
    least = round(1 / left_out) - 1
    ratios = np.sort(ratios if ratios.size >= least else pooled)
    n = ratios.size
    tail = int(left_out * (n + 1) + 1e-9)
    if not tail:
        return VolumeClass(up_to_ml=up_to_ml, n=n, low_factor=None, high_factor=None)
    low = 0.0 if none_predicted else float(ratios[tail - 1])
    return VolumeClass(up_to_ml=up_to_ml, n=n, low_factor=low, high_factor=float(ratios[n - tail]))
