"""Skull base and face as a table of simple parts, in mm of the standard head, painted from its top to its bottom."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ichformer.ct.phantom.anatomy.grid import Box, Grid
from ichformer.ct.phantom.anatomy.shapes import Point, Points, capsule, coverage, ellipsoid, mirrored, paint


@dataclass(frozen=True, kw_only=True)
class Part:
    """An ellipsoid at ``at`` with ``radii``, or a tube from ``at`` to ``to`` with the radii of its ends.

    ``hu`` is its tissue, ``grain_hu`` how much the fine texture adds; ``split_mm`` leaves a septum half as thick
    again in the midline; parts that are ``both`` are painted on both sides.
    """

    at: Point
    radii: tuple[float, ...]
    hu: float
    to: Point | None = None
    grain_hu: float = 0.0
    split_mm: float = 0.0
    both: bool = True

    def depth(self, p: Points, side: float) -> Float[np.ndarray, "i k j"]:
        """Depth below the part's surface on one side of the head (+1 left, -1 right)."""
        if self.to is None:
            depth = ellipsoid(p, mirrored(self.at, side), self.radii)
        else:
            depth = capsule(p, mirrored(self.at, side), mirrored(self.to, side), self.radii)
        return np.minimum(depth, np.abs(p.x) - self.split_mm) if self.split_mm else depth

    def box(self, grid: Grid, side: float) -> Box:
        """The part of the grid that holds the part."""
        radii = self.radii if self.to is None else [max(self.radii)] * 3
        return grid.around(mirrored(self.at, side), mirrored(self.to or self.at, side), radii)


_BONE, _BONE_GRAIN, _AIR = 950.0, 230.0, -1000.0

PARTS = (
    # Clivus, dorsum sellae.
    Part(at=(0, -14, -32), to=(0, 16, -62), radii=(9, 8), both=False, hu=_BONE, grain_hu=_BONE_GRAIN),
    Part(at=(0, -3, -24), radii=(9, 3, 6), both=False, hu=_BONE, grain_hu=_BONE_GRAIN),
    # Orbit: fat, optic nerve, muscles, then the globe with its wall and lens.
    Part(at=(31, -64, -33), radii=(19, 30, 17), hu=-95),
    Part(at=(31, -64, -33), to=(10, -30, -28), radii=(2.2, 2.2), hu=42),
    Part(at=(20, -68, -33), to=(13, -36, -29), radii=(2.4, 1.6), hu=50),
    Part(at=(43, -68, -33), to=(17, -38, -30), radii=(2.4, 1.6), hu=50),
    Part(at=(32, -83, -33), radii=(13, 13, 13), hu=58),
    Part(at=(32, -83, -33), radii=(11.4, 11.4, 11.4), hu=14),
    Part(at=(32, -91, -33), radii=(4.5, 2.2, 4.5), hu=85),
    # Lateral wall of the orbit, sphenoid wing, zygoma and its arch, jaw.
    Part(at=(52, -72, -33), to=(26, -36, -30), radii=(2.6, 2.6), hu=_BONE, grain_hu=_BONE_GRAIN),
    Part(at=(14, -24, -18), to=(56, -38, -14), radii=(3.5, 5), hu=_BONE, grain_hu=_BONE_GRAIN),
    Part(at=(56, -66, -48), to=(67, -5, -47), radii=(3.5, 2.5), hu=_BONE, grain_hu=_BONE_GRAIN),
    Part(at=(53, -4, -50), to=(50, -20, -100), radii=(5, 6), hu=_BONE, grain_hu=_BONE_GRAIN),
    # Petrous bone, mastoid cells, ear canal.
    Part(at=(13, 0, -37), to=(58, 21, -33), radii=(4.5, 8), hu=1200, grain_hu=200),
    Part(at=(57, 24, -40), radii=(12, 13, 17), hu=-250, grain_hu=650),
    Part(at=(50, 10, -40), to=(90, 12, -42), radii=(2.5, 3.5), hu=_AIR),
    # Maxillary sinus with its wall.
    Part(at=(29, -62, -66), radii=(17, 20, 17), hu=_BONE, grain_hu=_BONE_GRAIN),
    Part(at=(29, -62, -66), radii=(15, 18, 15), hu=_AIR),
    # Ethmoid cells, sphenoid sinus, nasal cavity, frontal sinus.
    Part(at=(0, -54, -38), radii=(12, 30, 17), hu=-650, grain_hu=330, both=False),
    Part(at=(0, -26, -38), radii=(17, 14, 11), both=False, hu=_BONE, grain_hu=_BONE_GRAIN),
    Part(at=(0, -27, -38), radii=(14, 11, 8.5), split_mm=0.8, both=False, hu=_AIR),
    Part(at=(0, -52, -72), radii=(13, 36, 22), split_mm=2, both=False, hu=_AIR),
    Part(at=(3, -89, -14), radii=(23, 5, 15), split_mm=0.8, both=False, hu=_AIR),
)


def paint_base(
    p: Points,
    grid: Grid,
    hu: Float[np.ndarray, "i k j"],
    *,
    texture: Float[np.ndarray, "i k j"],
    closed: Float[np.ndarray, "i k j"],
) -> None:
    """Paint ``PARTS`` into ``hu``, in place, as far as the cavity is ``closed``."""
    for part in PARTS:
        for side in (1.0, -1.0) if part.both else (1.0,):
            box = part.box(grid, side)
            value = np.clip(part.hu + part.grain_hu * texture[box], -1000, 1900)
            paint(hu[box], value, coverage(part.depth(p.at(box), side), grid.edge_mm) * closed[box])
