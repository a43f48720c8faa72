"""The plane between the hemispheres, from the symmetry of the skull's inside."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64
from scipy import ndimage
from scipy.optimize import least_squares
from scipy.spatial import KDTree

from ichformer.lesions.grid import Grid

_LEAST_POINTS = 300
"""Points of the inner table that a plane needs."""

_MOST_POINTS = 4000
_SCALE_MM = 2.0
"""Distances beyond count less and less (soft L1): holes in the skull and cut heads are outliers."""

_MOST_TURN = 0.5
"""Tangent of the largest rotation of a head in its picture that is considered, about 27 degrees."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Midplane:
    """A plane in the patient (LPS, mm).

    Attributes:
      point_mm: a point of it, in the middle of the skull.
      normal: unit vector towards the patient's left.
      misfit_mm: median distance of the mirrored inner table from itself.
    """

    point_mm: Float64[np.ndarray, "3"]
    normal: Float64[np.ndarray, "3"]
    misfit_mm: float

    def left_mm(self, points_mm: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, " n"]:
        """How far points lie to the left of the plane; negative to the right."""
        return (points_mm - self.point_mm) @ self.normal


def find_midplane(inside: Bool[np.ndarray, "s h w"], grid: Grid) -> Midplane | None:
    """The plane about which the inner table of the skull is most symmetric.

    The inner table is mirrored about a plane and compared with itself; the plane's place and its two rotations are
    those with the least soft-L1 distance. Blood inside the skull belongs to its inside, so that it moves nothing.

    Source: the symmetry of the inner skull as reference of the midline as in Liao et al., Computerized Medical Imaging
    and Graphics 2010;34:640-646, here in three dimensions and as a registration of points.

    Args:
      inside: the inside of the skull (``ct.anatomy.brain.brain_mask``).
      grid: where its voxels lie.

    Returns:
      None where there is too little of a skull.
    """
    rim = inside & ~ndimage.binary_erosion(inside, _IN_SLICE, border_value=1)
    index = np.argwhere(rim)
    if len(index) < _LEAST_POINTS:
        return None
    points = grid.points_mm(index[:: -(-len(index) // _MOST_POINTS)])
    tree = KDTree(grid.points_mm(index))
    # Columns run from right to left in a Volume, so that the head's own left-right axis is near theirs.
    across = grid.column_step_mm / np.linalg.norm(grid.column_step_mm)
    back = grid.row_step_mm / np.linalg.norm(grid.row_step_mm)
    up = np.cross(across, back)
    middle = (points.max(axis=0) + points.min(axis=0)) / 2

    def plane(turn: Float64[np.ndarray, "3"]) -> tuple[Float64[np.ndarray, "3"], Float64[np.ndarray, "3"]]:
        normal = across + turn[1] * back + turn[2] * up
        return middle + turn[0] * across, normal / np.linalg.norm(normal)

    def distances(turn: Float64[np.ndarray, "3"]) -> Float64[np.ndarray, " n"]:
        point, normal = plane(turn)
        mirrored = points - 2 * ((points - point) @ normal)[:, None] * normal
        return tree.query(mirrored)[0]

    bounds = ([-60.0, -_MOST_TURN, -_MOST_TURN], [60.0, _MOST_TURN, _MOST_TURN])
    found = least_squares(
        distances, np.zeros(3), bounds=bounds, loss="soft_l1", f_scale=_SCALE_MM, x_scale=[1.0, 0.02, 0.02],
        diff_step=[1e-2, 1e-3, 1e-3], max_nfev=60,
    )  # fmt: skip
    point, normal = plane(found.x)
    return Midplane(point_mm=point, normal=normal, misfit_mm=float(np.median(distances(found.x))))


_IN_SLICE = np.zeros((3, 3, 3), bool)
_IN_SLICE[1] = ndimage.generate_binary_structure(2, 1)
