"""How well a predicted mask agrees with the true one: Dice and distances of the surfaces."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64
from scipy import ndimage
from scipy.spatial import KDTree

from ichformer.lesions.grid import Grid

TOLERANCE_MM = 2.0
"""Surfaces that are no further apart agree, for the normalised surface Dice."""

_FACES = ndimage.generate_binary_structure(3, 1)


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Agreement of two masks. NaN is "not defined".

    Attributes:
      dice: 0 where one of the masks is empty, NaN where both are.
      hd95_mm: 95th percentile of the distances of the surfaces, the larger of both directions; NaN where a mask is
        empty.
      assd_mm: average symmetric surface distance; NaN where a mask is empty.
      surface_dice: share of both surfaces that lies within ``TOLERANCE_MM`` of the other one; 0 where one of the masks
        is empty, NaN where both are.
    """

    dice: float
    hd95_mm: float
    assd_mm: float
    surface_dice: float


def compare_masks(truth: Bool[np.ndarray, "s h w"], predicted: Bool[np.ndarray, "s h w"], grid: Grid) -> Overlap:
    """Compare a predicted mask with the true one.

    The surface of a mask is its voxels that miss a neighbour across a face, where beyond the picture nothing is.
    Distances are those of centres of voxels in the patient, so that slices may be uneven or sheared. On an even grid
    these are the figures of MONAI: ``compute_hausdorff_distance`` (percentile 95), ``compute_average_surface_distance``
    (symmetric) and ``compute_surface_dice``.

    Source: Dice, Ecology 1945;26:297-302; Taha, Hanbury, BMC Medical Imaging 2015;15:29 (surface distances); Nikolov
    et al., Journal of Medical Internet Research 2021;23:e26151 (surface Dice).
    """
    there, said = int(truth.sum()), int(predicted.sum())
    if not there and not said:
        return Overlap(dice=math.nan, hd95_mm=math.nan, assd_mm=math.nan, surface_dice=math.nan)
    if not there or not said:
        return Overlap(dice=0.0, hd95_mm=math.nan, assd_mm=math.nan, surface_dice=0.0)
    shared = int((truth & predicted).sum())
    from_truth, from_predicted = _surface_distances(truth, predicted, grid)
    both = np.concatenate([from_truth, from_predicted])
    return Overlap(
        dice=2 * shared / (there + said),
        hd95_mm=max(float(np.percentile(one, 95)) for one in (from_truth, from_predicted)),
        assd_mm=float(both.mean()),
        surface_dice=float((both <= TOLERANCE_MM).mean()),
    )


def _surface_distances(
    truth: Bool[np.ndarray, "s h w"], predicted: Bool[np.ndarray, "s h w"], grid: Grid
) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " m"]]:
    """From each voxel of the true surface to the predicted one, and the other way round."""
    points = [grid.points_mm(np.argwhere(_surface(mask))) for mask in (truth, predicted)]
    return KDTree(points[1]).query(points[0])[0], KDTree(points[0]).query(points[1])[0]


def _surface(mask: Bool[np.ndarray, "s h w"]) -> Bool[np.ndarray, "s h w"]:
    box = tuple(slice(max(at.start - 1, 0), at.stop + 1) for at in ndimage.find_objects(mask.astype(np.uint8))[0])
    surface = np.zeros_like(mask)
    surface[box] = mask[box] & ~ndimage.binary_erosion(np.pad(mask[box], 1), _FACES)[1:-1, 1:-1, 1:-1]
    return surface
