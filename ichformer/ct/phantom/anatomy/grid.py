"""Where the anatomy is sampled, and smooth random fields over it.

A real stack keeps the x and y of the slices' corner fixed, so with a tilted gantry x depends on the column alone, y on
the row alone, and only z on row and slice: the anatomy is sampled along the slices themselves, and every smooth field
is three small matrix products away from a coarse lattice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float

LATTICE_MM = 6.0
"""Spacing of the coarse lattice that carries every smooth field."""

_LOW_MM, _HIGH_MM = np.array([-104.0, -130.0, -110.0]), np.array([104.0, 130.0, 118.0])  # zyx
LATTICE_SHAPE = tuple(int(n) for n in np.ceil((_HIGH_MM - _LOW_MM) / LATTICE_MM) + 1)


def lattice_points() -> Float[np.ndarray, "3 cz cy cx"]:
    """The lattice's own positions, (x, y, z) in mm of the head."""
    axes = [low + LATTICE_MM * np.arange(n) for low, n in zip(_LOW_MM, LATTICE_SHAPE, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return np.stack([x, y, z]).astype(np.float32)


def _spline(points_mm: np.ndarray, axis: int) -> np.ndarray:
    """Weights of the cubic B-spline at ``points_mm`` over the lattice's positions along ``axis`` (z, y, x)."""
    # Far outside the head the outermost cell goes on for ever.
    t = np.clip((points_mm - _LOW_MM[axis]) / LATTICE_MM, 1, LATTICE_SHAPE[axis] - 2)
    a = np.abs(t[..., None] - np.arange(LATTICE_SHAPE[axis]))
    return np.where(a < 1, 2 / 3 - a * a + a**3 / 2, np.clip(2 - a, 0, None) ** 3 / 6).astype(np.float32)


Box = tuple[slice, slice, slice]
"""A part of the grid."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """Sampling positions in mm of the head (x to the left, y to posterior, z to superior), laid out row, slice, column.

    Attributes:
      x_mm: [J], of the columns.
      y_mm: [I], of the rows.
      z_mm: [I,K], of the rows in each of the thin slices; several of these make one slice of the scan.
      edge_mm: width over which an edge is painted: the step between columns, so that edges are smooth.
      voxel_mm3: volume of a voxel; rows and thin slices shear against each other without changing it.
      weights: of the lattice's planes (z), rows (y) and columns (x) at these positions.
      frame: takes points of the standard head to those of the head that is sampled, but for its warp.
    """

    x_mm: Float[np.ndarray, "j"]
    y_mm: Float[np.ndarray, "i"]
    z_mm: Float[np.ndarray, "i k"]
    edge_mm: float
    voxel_mm3: float
    weights: tuple[Float[np.ndarray, "i k cz"], Float[np.ndarray, "i cy"], Float[np.ndarray, "j cx"]]
    frame: Float[np.ndarray, "3 3"] = field(default_factory=lambda: np.eye(3))

    @classmethod
    def spanned(
        cls, x_mm: Float[np.ndarray, "j"], y_mm: Float[np.ndarray, "i"], z_mm: Float[np.ndarray, "i k"]
    ) -> "Grid":
        """The grid of these positions, which are evenly spaced."""
        x_step_mm, thin_mm = x_mm[1] - x_mm[0], z_mm[0, 1] - z_mm[0, 0]
        return cls(
            x_mm=x_mm,
            y_mm=y_mm,
            z_mm=z_mm,
            edge_mm=float(x_step_mm),
            voxel_mm3=float(x_step_mm * (y_mm[1] - y_mm[0]) * thin_mm),
            weights=(_spline(z_mm, 0), _spline(y_mm, 1), _spline(x_mm, 2)),
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(rows, thin slices, columns)."""
        return (*self.z_mm.shape, len(self.x_mm))

    def part(self, box: Box) -> "Grid":
        """The grid inside ``box``."""
        rows, slices, columns = box
        z, y, x = self.weights
        return replace(
            self,
            x_mm=self.x_mm[columns],
            y_mm=self.y_mm[rows],
            z_mm=self.z_mm[rows, slices],
            weights=(z[rows, slices], y[rows], x[columns]),
        )

    def spread(self, values: Float[np.ndarray, "cz cy cx"]) -> Float[np.ndarray, "i k j"]:
        """Values on the lattice to values at the grid's positions, by cubic B-splines."""
        z, y, x = self.weights
        columns = values.astype(np.float32) @ x.T
        rows = np.matmul(y, columns).transpose(1, 0, 2)
        return np.matmul(z, np.ascontiguousarray(rows))

    def box(
        self, low_mm: Sequence[float] | np.ndarray, high_mm: Sequence[float] | np.ndarray, *, room_mm: float = 14.0
    ) -> Box:
        """The part of the grid that holds the standard head's box from ``low_mm`` to ``high_mm`` (x, y, z).

        ``room_mm`` is for the warp of the head, and as it stands for what moves the brain in it, too.
        """
        low, high = np.asarray(low_mm), np.asarray(high_mm)
        middle, half = self.frame @ (low + high) / 2, np.abs(self.frame) @ (high - low) / 2 + room_mm
        (x0, y0, z0), (x1, y1, z1) = middle - half, middle + half
        rows, columns = _between(self.y_mm, y0, y1), _between(self.x_mm, x0, x1)
        if rows.start == rows.stop:
            return rows, slice(0, 0), columns
        # Slices are planes: what lies between the first and the last row does so in all of them.
        z_mm = self.z_mm[rows][[0, -1]]
        first, last = np.searchsorted(z_mm.max(axis=0), z0), np.searchsorted(z_mm.min(axis=0), z1)
        return rows, slice(int(first), max(int(first), int(last))), columns

    def around(
        self, start: Sequence[float], end: Sequence[float], radii: Sequence[float], *, room_mm: float = 14.0
    ) -> Box:
        """``box`` of everything within ``radii`` of the line from ``start`` to ``end``."""
        ends = np.array([start, end])
        return self.box(ends.min(axis=0) - radii, ends.max(axis=0) + radii, room_mm=room_mm)


def _between(positions_mm: np.ndarray, low: float, high: float) -> slice:
    first, last = np.searchsorted(positions_mm, (low, high))
    return slice(int(first), int(last))


def bounds(inside: Bool[np.ndarray, "i k j"]) -> Box:
    """The smallest box that holds everything inside a mask."""
    rows, slices, columns = (_span(np.logical_or.reduce(inside, axes)) for axes in ((1, 2), (0, 2), (0, 1)))
    return rows, slices, columns


def _span(inside: np.ndarray) -> slice:
    where = np.flatnonzero(inside)
    return slice(int(where[0]), int(where[-1]) + 1) if len(where) else slice(0, 0)


def random_field(rng: np.random.Generator) -> Float[np.ndarray, "cz cy cx"]:
    """White noise on the lattice with the variance that makes ``Grid.spread`` of it have a variance of about 1."""
    return rng.standard_normal(LATTICE_SHAPE, dtype=np.float32) * np.float32(3.1)


def smooth_field(rng: np.random.Generator, *, every: int) -> Float[np.ndarray, "cz cy cx"]:
    """Noise that is ``every`` times smoother than ``random_field``, of about unit variance."""
    shape = [n // every + 4 for n in LATTICE_SHAPE]
    field = rng.standard_normal(shape, dtype=np.float32) * np.float32(3.1)
    for axis, n in enumerate(LATTICE_SHAPE):
        a = np.abs((np.arange(n) / every + 1.5)[:, None] - np.arange(shape[axis]))
        weights = np.where(a < 1, 2 / 3 - a * a + a**3 / 2, np.clip(2 - a, 0, None) ** 3 / 6).astype(np.float32)
        field = np.moveaxis(np.tensordot(weights, field, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(field)


def waves(
    rng: np.random.Generator, points_mm: Float[np.ndarray, "3 *grid"], *, wavelength_mm: float, count: int = 40
) -> Float[np.ndarray, "*grid"]:
    """A sum of plane waves of about one wavelength in random directions, of unit variance."""
    direction = rng.standard_normal((count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    length = wavelength_mm * rng.uniform(0.85, 1.2, (count, 1))
    k = (2 * np.pi * direction / length).astype(np.float32)
    phase = rng.uniform(0, 2 * np.pi, (count, 1)).astype(np.float32)
    total = np.cos(k @ points_mm.reshape(3, -1) + phase).sum(axis=0) * np.float32(np.sqrt(2 / count))
    return total.reshape(points_mm.shape[1:])
