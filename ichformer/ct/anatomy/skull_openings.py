"""The openings of the skull, and how far its inside reaches in each of them.

Seen from a point deep in the brain, a craniotomy or a fontanelle is a set of directions in which there is no bone, and
the foramen magnum a narrow one in which the bone lies farther off than all round. Both are closed as the bone round
them suggests. A ray stays a ray in a sheared stack, so that a tilted gantry does not matter.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import KDTree

_RAYS = 4000
_FIRST_MM, _LAST_MM = 5, 160
_NEIGHBOURS = 48
"""An open ray takes the length of that many rays that meet bone, the nearest counting most."""

_BULGE_MM = 3.0
"""How far the brain may stand out of a hole in the bone."""

_WINDOW_DEG = 11.0
"""Half the angle that a recess must have not to be taken for a canal; a foramen magnum of 36 x 30 mm at 80 mm
has 13 x 11."""

_DOWN_DEG = 50.0
"""The foramen magnum is searched so far round the direction of the feet: heads are bent and gantries tilted."""

_RECESS_MM, _STUMP_MM = 12.0, 8.0
"""What is deeper than its neighbourhood by the first is a canal, of which the second is kept."""

_LATITUDES, _LONGITUDES = 90, 180


@dataclass(frozen=True, kw_only=True, eq=False)
class Rays:
    """What rays from one point meet.

    Attributes:
      bone_mm: distance to the first bone, infinite where there is none.
      sideways: whether the ray leaves the picture at a side, rather than through the first or the last slice, or would
        if no bone were in its way.
      filled: part of the way to the bone that is tissue; 0 where there is no bone.
      end_mm: distance to where the scan ends in the midst of tissue, infinite where it does not.
    """

    bone_mm: Float[np.ndarray, "n"]
    sideways: Bool[np.ndarray, "n"]
    filled: Float[np.ndarray, "n"]
    end_mm: Float[np.ndarray, "n"]

    @property
    def meets_bone(self) -> Bool[np.ndarray, "n"]:
        """Whether each ray meets bone."""
        return np.isfinite(self.bone_mm)

    @property
    def enclosed(self) -> float:
        """Part of the rays that meet bone, of those that meet it or leave the picture at a side."""
        counted = self.meets_bone | self.sideways
        return float(self.meets_bone[counted].mean()) if counted.any() else 0.0


def cast_rays(
    bone: Bool[np.ndarray, "s h w"],
    tissue: Bool[np.ndarray, "s h w"],
    center: tuple[int, ...],
    cell_mm: tuple[float, ...],
) -> Rays:
    """Rays from the voxel ``center`` in directions spread evenly over the sphere."""
    along_mm = np.arange(_FIRST_MM, _LAST_MM, dtype=np.float32)
    step = _sphere().directions / np.array(cell_mm, np.float32)
    at = np.rint(np.array(center, np.float32) + step[:, None] * along_mm[:, None]).astype(np.int32)
    within = np.all((at >= 0) & (at < bone.shape), axis=-1)
    index = np.ravel_multi_index(tuple(np.moveaxis(np.where(within[..., None], at, 0), -1, 0)), bone.shape)
    hit = bone.ravel()[index] & within
    first = np.where(hit.any(1), hit.argmax(1), -1)
    last = within.sum(1) - 1
    slices, ray = at[..., 0], np.arange(len(at))
    sideways = (slices[ray, last] > 0) & (slices[ray, last] < bone.shape[0] - 1)
    before = np.arange(len(along_mm)) < first[:, None]
    soft = tissue.ravel()[index]
    filled = (soft & before).sum(1) / np.maximum(first, 1)
    return Rays(
        bone_mm=np.where(first >= 0, along_mm[first], np.inf),
        sideways=sideways,
        filled=np.where(first >= 0, filled, 0.0),
        end_mm=np.where(~sideways & soft[ray, last], along_mm[last], np.inf),
    )


def reach_mm(rays: Rays) -> Float[np.ndarray, "n"]:
    """How far the inside of the skull may reach along each ray: infinite where bone sets the limit."""
    sphere, meets = _sphere(), rays.meets_bone
    # Heads are longer than wide: what is carried over from ray to ray is how far the bone is off an ellipsoid.
    ends_mm = np.abs(sphere.directions[meets] * rays.bone_mm[meets, None])
    half_mm = np.percentile(ends_mm, 90, axis=0)
    half_mm[0] = max(half_mm[0], half_mm[1:].min())  # a scan of a few slices does not tell how high the head is
    round_mm = 1 / np.linalg.norm(sphere.directions / half_mm, axis=1)
    distance, nearest = KDTree(sphere.directions[meets]).query(sphere.directions, k=min(_NEIGHBOURS, int(meets.sum())))
    weight = 1 / (distance.reshape(_RAYS, -1) + 0.02) ** 2
    near = (rays.bone_mm / round_mm)[meets][nearest.reshape(_RAYS, -1)]
    around_mm = round_mm * (weight * near).sum(1) / weight.sum(1)
    # Where the scan ends before bone is due, it does not tell.
    limit_mm = np.where(meets, rays.bone_mm, np.where(rays.end_mm < around_mm + _RECESS_MM, np.inf, around_mm))
    reach = np.where(meets | np.isinf(limit_mm), np.inf, around_mm + _BULGE_MM)
    # A grey opening over the sphere: recesses narrower than the window are levelled.
    opened = limit_mm[sphere.around].min(1)[sphere.around].max(1)
    canal = (limit_mm > opened + _RECESS_MM) & (sphere.directions[:, 0] < -np.cos(np.deg2rad(_DOWN_DEG)))
    return np.where(canal, np.minimum(reach, opened + _STUMP_MM), reach)


def beyond(
    reach: Float[np.ndarray, "n"],
    where: Bool[np.ndarray, "s h w"],
    center: tuple[int, ...],
    cell_mm: tuple[float, ...],
) -> Bool[np.ndarray, "s h w"]:
    """The voxels of ``where`` that lie farther from ``center`` than ``reach`` (of ``reach_mm``) allows, mm."""
    z, y, x = (
        ((np.arange(size) - at) * mm)[index].astype(np.float32)
        for size, at, mm, index in zip(where.shape, center, cell_mm, np.nonzero(where), strict=True)
    )
    level = np.hypot(y, x)
    latitude = (np.arctan2(z, level) / np.pi + 0.5) * _LATITUDES
    longitude = (np.arctan2(y, x) / np.pi + 1) / 2 * _LONGITUDES
    cell = np.minimum(latitude.astype(int), _LATITUDES - 1), np.minimum(longitude.astype(int), _LONGITUDES - 1)
    far = np.zeros(where.shape, bool)
    far[where] = np.hypot(level, z) > reach[_sphere().nearest][cell]
    return far


@dataclass(frozen=True, kw_only=True, eq=False)
class _Sphere:
    """Directions as (z, y, x); for each those within the window; the nearest for each cell of latitude, longitude."""

    directions: Float[np.ndarray, "n 3"]
    around: Int[np.ndarray, "n k"]
    nearest: Int[np.ndarray, "lat lon"]


@cache
def _sphere() -> _Sphere:
    """A Fibonacci lattice: every direction stands for the same solid angle, so a window has the same count anywhere."""
    index = np.arange(_RAYS) + 0.5
    z, turn = 1 - 2 * index / _RAYS, np.pi * (1 + 5**0.5) * index
    level = np.sqrt(1 - z * z)
    directions = np.stack([z, level * np.sin(turn), level * np.cos(turn)], axis=1).astype(np.float32)
    tree = KDTree(directions)
    _, around = tree.query(directions, k=int(_RAYS * (1 - np.cos(np.deg2rad(_WINDOW_DEG))) / 2))
    latitude = ((np.arange(_LATITUDES) + 0.5) / _LATITUDES - 0.5)[:, None] * np.pi
    longitude = ((np.arange(_LONGITUDES) + 0.5) / _LONGITUDES * 2 - 1) * np.pi
    level = np.cos(latitude)
    grid = np.broadcast_arrays(np.sin(latitude), level * np.sin(longitude), level * np.cos(longitude))
    _, nearest = tree.query(np.stack(grid, axis=-1))
    return _Sphere(directions=directions, around=around, nearest=nearest)
