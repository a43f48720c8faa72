"""The plane between the hemispheres, from the symmetry of the skull's inside."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64
from scipy import ndimage
from scipy.optimize import least_squares
from scipy.spatial import KDTree

from ichformer.lesions.grid import Grid

_LEAST_POINTS, _LEAST_SLICES = 300, 5
"""Of the inner table that a plane needs."""

_MOST_POINTS, _MOST_OF_SURFACE = 2000, 8000
"""Points that are mirrored, and points of the surface that they are compared with."""

_NEIGHBOURS = 30
"""Points from which the direction of the surface is taken; fewer lie in one slice only."""

_FIRST_SCALE_MM, _SCALE_MM = 20.0, 2.0
"""Distances beyond the scale count less and less (soft L1), as holes in the skull and cut heads are outliers. The first
scale brings a turned head near its plane."""

_UNITS = np.array([50.0, 1.0, 1.0])
"""Of what is searched: the place of the plane in mm, and the tangents of its two rotations."""

_MOST = 0.5
"""The largest of these: 25 mm and about 27 degrees."""

_DIFFERENCE = 0.01
"""For slopes: 0.5 mm and 0.6 degrees, as points of a surface lie on a lattice."""


_ENOUGH = 1e-4
"""Relative change of the sum of distances, and of the plane, at which the search ends."""


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
    those with the least soft-L1 distance along the surface's normals. Blood inside the skull belongs to its inside, so
    that it moves nothing.

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
    if len(index) < _LEAST_POINTS or len(np.unique(index[:, 0])) < _LEAST_SLICES:
        return None
    points, surface = (grid.points_mm(index[:: -(-len(index) // most)]) for most in (_MOST_POINTS, _MOST_OF_SURFACE))
    tree, facings = _surface(surface)
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
        nearest = tree.query(mirrored)[1]
        return ((mirrored - tree.data[nearest]) * facings[nearest]).sum(axis=1)

    found = np.ones(3)
    for scale_mm in (_FIRST_SCALE_MM, _SCALE_MM):
        found = least_squares(
            lambda near_one: distances((near_one - 1) * _UNITS),
            found,
            bounds=(1 - _MOST, 1 + _MOST),
            loss="soft_l1",
            f_scale=scale_mm,
            jac="3-point",
            diff_step=_DIFFERENCE,
            ftol=_ENOUGH,
            xtol=_ENOUGH,
        ).x
    turn = (found - 1) * _UNITS
    point, normal = plane(turn)
    return Midplane(point_mm=point, normal=normal, misfit_mm=float(np.median(np.abs(distances(turn)))))


_IN_SLICE = np.zeros((3, 3, 3), bool)
_IN_SLICE[1] = ndimage.generate_binary_structure(2, 1)


def _surface(points: Float64[np.ndarray, "n 3"]) -> tuple[KDTree, Float64[np.ndarray, "n 3"]]:
    """The points of a surface, and its outward normal at each: the direction in which its neighbours spread least."""
    tree = KDTree(points)
    near = points[tree.query(points, k=_NEIGHBOURS)[1]]
    apart = near - near.mean(axis=1, keepdims=True)
    normals = np.linalg.eigh(np.einsum("nki,nkj->nij", apart, apart))[1][:, :, 0]
    outward = ((points - points.mean(axis=0)) * normals).sum(axis=1, keepdims=True)
    return tree, np.where(outward < 0, -normals, normals)
