"""Where the slices of a scan lie, and how what was sampled on the anatomy's grid comes to their pixels."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from ichformer.ct.phantom.acquisition.sites import Site
from ichformer.ct.phantom.anatomy.grid import Grid, bounds


@dataclass(frozen=True, kw_only=True, eq=False)
class Stack:
    """Where the slices of one scan lie.

    Attributes:
      affine: index (s, h, w, 1) to (x, y, z, 1) in mm of the head, LPS; sheared where the gantry is tilted.
      slices: their number.
      thin: thin slices of the anatomy in each.
      rows_mm, columns_mm: positions of rows and columns in the slice.
      grid: where the anatomy is sampled.
      grid_rows_mm: positions of the grid's rows in the slice.
    """

    affine: Float64[np.ndarray, "4 4"]
    slices: int
    thin: int
    rows_mm: Float64[np.ndarray, "h"]
    columns_mm: Float64[np.ndarray, "w"]
    grid: Grid
    grid_rows_mm: Float64[np.ndarray, "i"]


def lay_slices(site: Site, rng: np.random.Generator) -> Stack:
    """Slices from the foramen magnum, or below it, to the vertex, a little different every time."""
    tilt = np.deg2rad(site.tilt_deg)
    cos, sin = float(np.cos(tilt)), float(np.sin(tilt))
    table_mm = site.thickness_mm / cos
    low_mm = -57 - site.neck_mm + 42 * sin / cos + rng.uniform(-5, 5)
    # A quarter of the scans take in the jaw and the first vertebrae.
    low_mm -= rng.uniform(8, 40) * (rng.random() < 0.25)
    slices = int(np.ceil((88 + rng.uniform(-3, 4) - low_mm) / table_mm))
    pixel_mm = site.fov_mm / site.pixels
    from_center = (np.arange(site.pixels) - (site.pixels - 1) / 2) * pixel_mm
    # Some patients lie beside the middle of the circle, and some fields are cut to the head.
    away_mm = np.clip(rng.standard_t(4, 2) * 3.5, -16, 16)
    rows, columns = from_center + away_mm[0], from_center + away_mm[1]

    affine = np.eye(4)
    affine[:3, 0] = 0, 0, table_mm
    affine[:3, 1] = 0, pixel_mm * cos, -pixel_mm * sin
    affine[:3, 2] = pixel_mm, 0, 0
    affine[:3, 3] = columns[0], rows[0] * cos, low_mm - rows[0] * sin

    step_mm = max(pixel_mm, site.step_mm)
    thin = max(1, round(site.thickness_mm / max(1.7, 0.8 * step_mm)))
    grid_rows = np.arange(max(-128 / cos, rows[0]), min(116 / cos, rows[-1]), step_mm)
    grid_columns = np.arange(max(-100, columns[0]), min(100, columns[-1]), step_mm)
    heights = low_mm + (np.arange(slices * thin) - (thin - 1) / 2) / thin * table_mm
    grid = Grid.spanned(
        x_mm=grid_columns.astype(np.float32),
        y_mm=(grid_rows * cos).astype(np.float32),
        z_mm=(heights[None, :] - grid_rows[:, None] * sin).astype(np.float32),
    )
    return Stack(
        affine=affine, slices=slices, thin=thin, rows_mm=rows, columns_mm=columns, grid=grid, grid_rows_mm=grid_rows
    )


def average(values: Float[np.ndarray, "i k j"], stack: Stack) -> Float[np.ndarray, "i s j"]:
    """Mean over the thickness of each slice."""
    i, _, j = values.shape
    return values.reshape(i, stack.slices, stack.thin, j).mean(axis=2)


def to_pixels(values: Float[np.ndarray, "i s j"], stack: Stack) -> Float[np.ndarray, "s h w"]:
    """The anatomy at the pixels of the slices, by linear interpolation in the plane; 0 outside the grid."""
    pixels = np.zeros((stack.slices, len(stack.rows_mm), len(stack.columns_mm)), np.float32)
    if not values.any():
        return pixels
    # Most of a mask, and of the air, is 0.
    rows, slices, columns = bounds(values != 0)
    to_columns = linear_weights(stack.columns_mm, stack.grid.x_mm.astype(np.float64))[:, columns]
    to_rows = linear_weights(stack.rows_mm, stack.grid_rows_mm)[:, rows]
    seen_rows, seen_columns = (_reached(weights) for weights in (to_rows, to_columns))
    part = np.ascontiguousarray(values[rows, slices, columns].transpose(1, 0, 2))
    inner = np.matmul(to_rows[seen_rows], np.matmul(part, to_columns[seen_columns].T))
    pixels[slices, seen_rows, seen_columns] = inner
    return pixels


def _reached(weights: Float[np.ndarray, "to from_"]) -> slice:
    """The positions that any of these weights reach."""
    where = np.flatnonzero(weights.any(axis=1))
    return slice(int(where[0]), int(where[-1]) + 1) if len(where) else slice(0, 0)


def linear_weights(
    to_mm: Float[np.ndarray, "to"], from_mm: Float[np.ndarray, "from_"]
) -> Float[np.ndarray, "to from_"]:
    """Linear interpolation between evenly spaced positions as a matrix; 0 outside them."""
    distance = np.abs(to_mm[:, None] - from_mm[None, :]) / (from_mm[1] - from_mm[0])
    return np.clip(1 - distance, 0, 1).astype(np.float32)
