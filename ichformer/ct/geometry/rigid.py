"""Rigid motions of the patient, and the values of a scan at any points of the patient."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Real, Shaped
from scipy import ndimage

from ichformer.ct.geometry.orientation import slice_normal
from ichformer.ct.geometry.regrid import slice_offsets_mm
from ichformer.ct.volume import Volume


@dataclass(frozen=True, kw_only=True, eq=False)
class Motion:
    """A rigid motion: it takes points of one scan's patient (LPS, mm) to those of another's.

    Example:
      >>> quarter = np.array([[0.0, -1, 0, 5], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
      >>> motion = Motion(matrix=quarter)
      >>> motion.points_mm(np.array([[1.0, 0, 0]])).tolist(), round(motion.angle_deg)
      ([[5.0, 1.0, 0.0]], 90)

    Attributes:
      matrix: on (x, y, z, 1).
    """

    matrix: Float64[np.ndarray, "4 4"]

    def points_mm(self, points_mm: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
        """Where points come to lie."""
        return points_mm @ self.matrix[:3, :3].T + self.matrix[:3, 3]

    @property
    def inverse(self) -> "Motion":
        """The way back."""
        return Motion(matrix=np.linalg.inv(self.matrix))

    @property
    def angle_deg(self) -> float:
        """The angle of its rotation."""
        return float(np.degrees(np.arccos(np.clip((np.trace(self.matrix[:3, :3]) - 1) / 2, -1, 1))))


def voxels_of(volume: Volume, points_mm: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "3 n"]:
    """Where points of the patient lie among the voxels (slice, row, column) of a scan, in fractions of a voxel.

    Between slices it is linear, for uneven steps and for a tilted gantry too, and so it is beyond the first and the
    last slice.

    Args:
      volume: the scan.
      points_mm: in the patient (LPS).
    """
    normal = slice_normal(volume.affine)
    direction = volume.affine[:3, 0] / (volume.affine[:3, 0] @ normal)
    from_first = points_mm - volume.affine[:3, 3]
    heights_mm = from_first @ normal
    in_slice = (from_first - heights_mm[:, None] * direction) @ np.linalg.pinv(volume.affine[:3, 1:3]).T
    offsets_mm = slice_offsets_mm(volume)
    slices = np.interp(heights_mm, offsets_mm, np.arange(len(offsets_mm), dtype=np.float64))
    first_mm, last_mm = (offsets_mm[1], offsets_mm[-1] - offsets_mm[-2]) if len(offsets_mm) > 1 else (1.0, 1.0)
    slices += np.minimum(heights_mm, 0) / first_mm + np.maximum(heights_mm - offsets_mm[-1], 0) / last_mm
    return np.concatenate([slices[None], in_slice.T])


def values_at(
    values: Shaped[np.ndarray, "s h w"], volume: Volume, points_mm: Float64[np.ndarray, "n 3"], *, outside: float
) -> Real[np.ndarray, " n"]:
    """Values on the grid of a scan at points of the patient, by linear interpolation.

    Args:
      values: HU, a mask or a map.
      volume: the scan whose grid it is.
      points_mm: in the patient (LPS).
      outside: of points that the scan does not hold.
    """
    at = voxels_of(volume, points_mm)
    return np.where(_held(at, values.shape), _interpolated(values, at), np.float32(outside))


def holds(volume: Volume, points_mm: Float64[np.ndarray, "n 3"]) -> Shaped[np.ndarray, " n"]:
    """Whether each point of the patient lies in a voxel of a scan."""
    return _held(voxels_of(volume, points_mm), volume.hu.shape)


def _held(at: Float64[np.ndarray, "3 n"], shape: tuple[int, ...]) -> Shaped[np.ndarray, " n"]:
    """The voxels reach half of one beyond the centres of the outermost."""
    return np.all((at >= -0.5) & (at <= np.array(shape)[:, None] - 0.5), axis=0)


def _interpolated(values: Shaped[np.ndarray, "s h w"], at: Float64[np.ndarray, "3 n"]) -> Real[np.ndarray, " n"]:
    return ndimage.map_coordinates(values.astype(np.float32), at, order=1, mode="nearest")
