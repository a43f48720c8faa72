"""Grids and ellipsoids to measure."""

import numpy as np

from ichformer.ct.audit import Audit
from ichformer.ct.volume import Volume
from ichformer.lesions.grid import Grid


def volume(
    shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], steps_mm: tuple[float, ...] = ()
) -> Volume:
    """An empty scan whose first voxel lies at the origin."""
    z, y, x = spacing_mm
    affine = np.array([[0, 0, x, 0], [0, y, 0, 0], [z, 0, 0, 0], [0, 0, 0, 1]], np.float64)
    source = tuple(map(str, range(shape[0])))
    audit = Audit(steps_mm=steps_mm)
    return Volume(hu=np.zeros(shape, np.int16), spacing_mm=spacing_mm, affine=affine, source=source, audit=audit)


def ellipsoid(
    scan: Volume, radii_mm: tuple[float, float, float], *, turn_deg: float = 0.0, center_mm: tuple | None = None
) -> np.ndarray:
    """The voxels whose centres lie in an ellipsoid with semi-axes (z, y, x), turned about z, amid a scan."""
    grid = Grid.of(scan)
    points = grid.points_mm(np.argwhere(np.ones(scan.hu.shape, bool)))
    x, y, z = (points - (points.mean(axis=0) if center_mm is None else np.array(center_mm))).T
    c, s = np.cos(np.deg2rad(turn_deg)), np.sin(np.deg2rad(turn_deg))
    inside = (z / radii_mm[0]) ** 2 + ((c * y + s * x) / radii_mm[1]) ** 2 + ((c * x - s * y) / radii_mm[2]) ** 2 <= 1
    return inside.reshape(scan.hu.shape)
