"""Implicit shapes: signed depths in mm, positive inside, and painting with them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

Point = Sequence[float]
"""(x, y, z) in mm of the head: to the left, to posterior, to superior."""


class Points(NamedTuple):
    """Coordinates of the grid in a head: three arrays of one shape, in mm."""

    x: Float[np.ndarray, "i k j"]
    y: Float[np.ndarray, "i k j"]
    z: Float[np.ndarray, "i k j"]

    def at(self, box: tuple[slice, slice, slice]) -> "Points":
        """The points inside ``box``."""
        return Points(self.x[box], self.y[box], self.z[box])


def mirrored(point: Point, side: float) -> Point:
    """The point on the left (``side`` +1) or its mirror image on the right (-1)."""
    return side * point[0], point[1], point[2]


def ellipsoid(p: Points, center: Point, radii: Point) -> Float[np.ndarray, "i k j"]:
    """Depth below the surface of an ellipsoid, exact at the surface of a sphere and close to it elsewhere."""
    square = ((p.x - center[0]) * (1 / radii[0])) ** 2
    square += ((p.y - center[1]) * (1 / radii[1])) ** 2
    square += ((p.z - center[2]) * (1 / radii[2])) ** 2
    return (1 - np.sqrt(square)) * float(np.prod(radii) ** (1 / 3))


def capsule(p: Points, start: Point, end: Point, radii: Sequence[float]) -> Float[np.ndarray, "i k j"]:
    """Depth below the surface of a tube from ``start`` to ``end`` whose radius goes from one value to the other."""
    # Plain floats: NumPy's own would make doubles of all.
    ax, ay, az = (float(b - a) for a, b in zip(start, end, strict=True))
    dx, dy, dz = (axis - float(a) for axis, a in zip(p, start, strict=True))
    t = np.clip((dx * ax + dy * ay + dz * az) * (1 / (ax * ax + ay * ay + az * az)), 0, 1)
    square = (dx - t * ax) ** 2 + (dy - t * ay) ** 2 + (dz - t * az) ** 2
    return radii[0] + t * (radii[1] - radii[0]) - np.sqrt(square)


def coverage(
    depth_mm: Float[np.ndarray, "*grid"], edge_mm: float | Float[np.ndarray, "*grid"]
) -> Float[np.ndarray, "*grid"]:
    """How much of a voxel lies inside: 0 to 1 over ``edge_mm`` round the surface."""
    return np.clip(depth_mm * (1 / edge_mm) + 0.5, 0, 1)


def edges_across(depth_mm: Float[np.ndarray, "i k j"], edge_mm: float) -> Float[np.ndarray, "i k j"]:
    """Edges of ``edge_mm``; as wide as a thin slice where the surface lies along it, which would show as steps."""
    steps = np.abs(np.diff(depth_mm, axis=1))
    edges = np.full(depth_mm.shape, edge_mm, np.float32)
    np.maximum(edges[:, 1:], steps, out=edges[:, 1:])
    np.maximum(edges[:, :-1], steps, out=edges[:, :-1])
    return edges


def paint(hu: Float[np.ndarray, "*grid"], value: object, cover: Float[np.ndarray, "*grid"]) -> None:
    """Mix ``value`` (HU) into ``hu`` in place, as much as ``cover`` says."""
    hu += (np.asarray(value, np.float32) - hu) * cover
