"""A scanner at work: where its slices lie, and what it makes of the anatomy."""

from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.ndimage as ndi
from jaxtyping import Float, Float64

from ichformer.ct.phantom.acquisition.sites import Site
from ichformer.ct.phantom.anatomy.grid import Grid


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
    slices = int(np.ceil((88 + rng.uniform(-3, 4) - low_mm) / table_mm))
    pixel_mm = site.fov_mm / site.pixels
    from_center = (np.arange(site.pixels) - (site.pixels - 1) / 2) * pixel_mm
    rows, columns = from_center + rng.uniform(-4, 4), from_center + rng.uniform(-5, 5)

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
    columns = values @ linear_weights(stack.columns_mm, stack.grid.x_mm.astype(np.float64)).T
    rows = linear_weights(stack.rows_mm, stack.grid_rows_mm)
    flat = rows @ columns.reshape(len(columns), -1)
    return np.ascontiguousarray(flat.reshape(len(rows), stack.slices, -1).transpose(1, 0, 2))


def linear_weights(
    to_mm: Float[np.ndarray, "to"], from_mm: Float[np.ndarray, "from_"]
) -> Float[np.ndarray, "to from_"]:
    """Linear interpolation between evenly spaced positions as a matrix; 0 outside them."""
    distance = np.abs(to_mm[:, None] - from_mm[None, :]) / (from_mm[1] - from_mm[0])
    return np.clip(1 - distance, 0, 1).astype(np.float32)


def acquire(
    hu: Float[np.ndarray, "i k j"],
    stack: Stack,
    site: Site,
    rng: np.random.Generator,
    *,
    added_hu: Float[np.ndarray, "s h w"] | None,
) -> Float[np.ndarray, "s h w"]:
    """The slices that a scanner makes of the anatomy, in HU: partial volume, hardening, point spread, noise.

    ``added_hu`` are artefacts to lay over the slices before the kernel.
    """
    dense = average(hu + 1000, stack)
    hardening, bone = _hardening(dense, stack)
    picture = to_pixels(dense + hardening, stack)
    if added_hu is not None:
        picture += added_hu
    picture = np.maximum(picture, _head_rest(stack))
    frequency = _frequency(site)
    soft = np.exp(-((frequency * site.blur_mm) ** 2) * (np.pi**2 / (4 * np.log(2)))).astype(np.float32)
    response = soft * (1 + site.edge_boost * (frequency * site.blur_mm) ** 2 * 4)
    picture = _filter(picture, response)

    # Ramp-filtered projections: the noise has little power at low frequencies and what the kernel leaves at high ones.
    texture = np.sqrt(frequency + 0.01) * soft ** (0.8 - 0.4 * site.edge_boost)
    noise = _filter(rng.standard_normal(picture.shape, dtype=np.float32), texture)
    noise *= 1 / noise.std()
    y, x = stack.rows_mm[:, None] / 95, stack.columns_mm[None, :] / 80
    within = (0.45 + 0.55 * np.exp(-0.9 * (x * x + y * y))).astype(np.float32)
    # Dose and the day's calibration differ from scan to scan, as the patient's size and the water scan do.
    noise_hu = site.noise_hu * np.exp(rng.normal(0, 0.3))
    offset_hu = site.offset_hu + rng.normal(0, 1.5)
    by_slice = noise_hu * (0.85 + 0.45 * bone / bone.mean()).astype(np.float32)
    picture += noise * within * by_slice[:, None, None]
    return site.gain * picture - 1000 + offset_hu


def _hardening(dense: np.ndarray, stack: Stack) -> tuple[np.ndarray, np.ndarray]:
    """HU that beam hardening adds: brighter brain under the skull, dark and bright bars between dense bones."""
    bone = np.clip(dense - 1300, 0, 1500)
    step_mm = stack.grid.edge_mm
    near = ndi.uniform_filter(bone, (max(1, round(22 / step_mm)), 0, max(1, round(22 / step_mm))), mode="constant")
    near *= 0.018
    across = bone.sum(axis=2) * (step_mm / 1000)
    bars = across - ndi.gaussian_filter1d(across, 9 / step_mm, axis=0)
    bars = -0.55 * np.clip(bars, -12, 22) * np.clip(across / 45, 0, 1)
    between = np.clip(1.35 - np.abs(stack.grid.x_mm) / 45, 0, 1)
    soft = (dense > 900) & (dense < 1150)
    added = (near - 3.0 + bars[:, :, None] * between) * soft
    return added.astype(np.float32), bone.sum(axis=(0, 2))


def _head_rest(stack: Stack) -> np.ndarray:
    """A cup of carbon fibre with foam in it, the same in all slices; HU + 1000."""
    y, x = stack.rows_mm[:, None], stack.columns_mm[None, :]
    off = np.abs(np.sqrt((x / 108) ** 2 + ((y - 8) / 102) ** 2) - 1) * 105
    cup = np.clip(1.8 - off, 0, 1) * np.clip((y - 20) / 4, 0, 1)
    return (cup * 850).astype(np.float32)


def _frequency(site: Site) -> np.ndarray:
    """Spatial frequency of the real FFT of a slice, cycles per mm."""
    pixel_mm = site.fov_mm / site.pixels
    fy, fx = np.fft.fftfreq(site.pixels, pixel_mm), np.fft.rfftfreq(site.pixels, pixel_mm)
    return np.hypot(fy[:, None], fx[None, :]).astype(np.float32)


def _filter(picture: np.ndarray, response: np.ndarray) -> np.ndarray:
    return scipy.fft.irfft2(scipy.fft.rfft2(picture) * response, s=picture.shape[1:])
