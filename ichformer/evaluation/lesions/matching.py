"""Which true lesions a lesion map finds, and which of its lesions are none."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int32

from ichformer.lesions.components import connected
from ichformer.lesions.grid import Grid

HIT_SHARE = 0.1
"""A true lesion is found where predicted lesions cover at least this share of it. A predicted lesion is a false
positive where less than this share of it lies in true lesions."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Matched:
    """The true and the predicted lesions of one label in one scan.

    Attributes:
      true_numbers: the true lesions, numbered from 1.
      predicted_numbers: the predicted ones.
      true_ml: of each true lesion.
      found_score: for each true lesion, the highest threshold at which predicted lesions with such a peak cover
        ``HIT_SHARE`` of it; 0 where they never do.
      predicted_ml: of each predicted lesion.
      peak: of each predicted lesion, its highest probability.
      is_false: whether each predicted lesion is a false positive.
      touches: [true, predicted] which share a voxel.
    """

    true_numbers: Int32[np.ndarray, "s h w"]
    predicted_numbers: Int32[np.ndarray, "s h w"]
    true_ml: Float64[np.ndarray, " t"]
    found_score: Float64[np.ndarray, " t"]
    predicted_ml: Float64[np.ndarray, " p"]
    peak: Float64[np.ndarray, " p"]
    is_false: Bool[np.ndarray, " p"]
    touches: Bool[np.ndarray, "t p"]


def match_lesions(
    truth: Bool[np.ndarray, "s h w"],
    predicted: Bool[np.ndarray, "s h w"],
    probability: Float[np.ndarray, "s h w"],
    grid: Grid,
) -> Matched:
    """Match the connected lesions of two masks by the volume that they share (``HIT_SHARE``).

    Several predicted lesions may find one true lesion together, and one may find several.
    """
    true_numbers, n_true = connected(truth)
    predicted_numbers, n_predicted = connected(predicted)
    # Volumes of every pair of a true and a predicted lesion; 0 stands for "none".
    pair = true_numbers.astype(np.int64) * (n_predicted + 1) + predicted_numbers
    flat = np.zeros((n_true + 1) * (n_predicted + 1))
    for part, voxel_ml in zip(pair, grid.voxel_ml, strict=True):
        flat += np.bincount(part.ravel(), minlength=flat.size) * voxel_ml
    ml = flat.reshape(n_true + 1, n_predicted + 1)
    ml[0, 0] = 0.0
    true_ml, predicted_ml, shared = ml.sum(axis=1)[1:], ml.sum(axis=0)[1:], ml[1:, 1:]
    peak = np.zeros(n_predicted + 1)
    np.maximum.at(peak, predicted_numbers.ravel(), probability.ravel().astype(np.float64))
    peak = peak[1:]
    order = np.argsort(-peak, kind="stable")
    covered = np.cumsum(shared[:, order], axis=1) >= HIT_SHARE * true_ml[:, None] * (1 - 1e-9)
    scores = peak[order]
    found = np.array([scores[one.argmax()] if one.any() else 0.0 for one in covered], np.float64)
    return Matched(
        true_numbers=true_numbers,
        predicted_numbers=predicted_numbers,
        true_ml=true_ml,
        found_score=found,
        predicted_ml=predicted_ml,
        peak=peak,
        is_false=shared.sum(axis=0) < HIT_SHARE * predicted_ml * (1 - 1e-9),
        touches=shared > 0,
    )
