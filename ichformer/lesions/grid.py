"""Where the voxels of a lesion map lie in the patient, and how much each holds."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64, Shaped

from ichformer.ct.geometry.regrid import affine_of_cells, slice_offsets_mm, slice_origins_mm
from ichformer.ct.volume import Volume

Box = tuple[slice, slice, slice]
"""Slices, rows and columns of a part of a grid, each with its start and stop."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """The voxels of a stack of slices, which may be uneven and sheared.

    Attributes:
      origins_mm: centre of the first voxel of each slice in the patient (LPS).
      row_step_mm: from a voxel to the one in the next row.
      column_step_mm: from a voxel to the one in the next column.
      heights_mm: along the slices' normal, half of the way to the slice below and to the slice above. The first and the
        last slice reach as far outward as inward.
    """

    origins_mm: Float64[np.ndarray, "s 3"]
    row_step_mm: Float64[np.ndarray, "3"]
    column_step_mm: Float64[np.ndarray, "3"]
    heights_mm: Float64[np.ndarray, " s"]

    @classmethod
    def of(cls, volume: Volume, cells: tuple[int, int] | None = None) -> "Grid":
        """The grid of ``cells`` (rows, columns) over the slices of ``volume``, edge to edge; its own where None."""
        affine = volume.affine if cells is None else affine_of_cells(volume.affine, volume.hu.shape[1:], cells)
        steps_mm = np.diff(slice_offsets_mm(volume))
        steps_mm = steps_mm if steps_mm.size else np.array([volume.spacing_mm[0]])
        return cls(
            origins_mm=slice_origins_mm(volume) + (affine[:3, 3] - volume.affine[:3, 3]),
            row_step_mm=affine[:3, 1],
            column_step_mm=affine[:3, 2],
            heights_mm=np.array([steps_mm[max(s - 1, 0) : s + 1].mean() for s in range(len(volume.hu))]),
        )

    def part(self, box: Box) -> "Grid":
        """The grid inside ``box``."""
        slices, rows, columns = box
        corner_mm = rows.start * self.row_step_mm + columns.start * self.column_step_mm
        return replace(self, origins_mm=self.origins_mm[slices] + corner_mm, heights_mm=self.heights_mm[slices])

    @property
    def pixel_mm(self) -> tuple[float, float]:
        """Distance of rows and of columns."""
        return float(np.linalg.norm(self.row_step_mm)), float(np.linalg.norm(self.column_step_mm))

    @property
    def voxel_ml(self) -> Float64[np.ndarray, " s"]:
        """Volume of one voxel of each slice."""
        return self.heights_mm * self.pixel_mm[0] * self.pixel_mm[1] / 1000

    def ml(self, mask: Bool[np.ndarray, "s h w"]) -> float:
        """Volume of a mask."""
        return float(mask.sum(axis=(1, 2)) @ self.voxel_ml)

    def points_mm(self, index: Shaped[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
        """Positions of voxels (slice, row, column) in the patient (LPS)."""
        in_slice = index[:, 1:].astype(np.float64) @ np.stack([self.row_step_mm, self.column_step_mm])
        return self.origins_mm[index[:, 0]] + in_slice
