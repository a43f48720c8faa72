"""Skull base and face as a table of simple parts, in mm of the standard head, painted from its top to its bottom."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ichformer.ct.phantom.anatomy.grid import Box, Grid
from ichformer.ct.phantom.anatomy.head import Head
from ichformer.ct.phantom.anatomy.shapes import Point, Points, capsule, coverage, ellipsoid, mirrored, paint

_BONE, _BONE_GRAIN, _AIR, _CELLS, _FLUID, _MUSCLE = 950.0, 230.0, -1000.0, -900.0, 25.0, 52.0


@dataclass(frozen=True, kw_only=True)
class Part:
    """An ellipsoid at ``at`` with ``radii``, or a tube from ``at`` to ``to`` with the radii of its ends.

    ``hu`` is its tissue, ``grain_hu`` how much the fine texture adds; ``split_mm`` leaves a septum half as thick
    again in the midline; parts that are ``both`` are painted on both sides. Where ``cells_mm`` is given, walls of
    ``wall_hu`` stand about so far apart in it. ``airy`` parts are as large as the head's pneumatisation makes them.
    """

    at: Point
    radii: tuple[float, ...]
    hu: float
    to: Point | None = None
    grain_hu: float = 0.0
    split_mm: float = 0.0
    both: bool = True
    cells_mm: float = 0.0
    wall_hu: float = 0.0
    airy: bool = False

    def depth(self, p: Points, side: float, size: float) -> Float[np.ndarray, "i k j"]:
        """Depth below the part's surface on one side of the head (+1 left, -1 right), ``size`` times as large."""
        radii = tuple(radius * size for radius in self.radii)
        if self.to is None:
            depth = ellipsoid(p, mirrored(self.at, side), radii)
        else:
            depth = capsule(p, mirrored(self.at, side), mirrored(self.to, side), radii)
        return np.minimum(depth, np.abs(p.x) - self.split_mm) if self.split_mm else depth

    def tissue(self, p: Points, texture: Float[np.ndarray, "i k j"], opacified: float) -> Float[np.ndarray, "i k j"]:
        """HU in it, where fluid has taken the place of the share ``opacified`` of the air."""
        value = self.hu + self.grain_hu * texture
        if self.hu <= _CELLS and opacified:
            value = value + (_FLUID - value) * np.clip(2 * (opacified - 0.5 + 0.4 * texture) + 0.5, 0, 1)
        if self.cells_mm:
            # A gyroid, whose sheets part the space into cells, bent by the texture.
            x, y, z = (axis * (np.pi / self.cells_mm) + 0.6 * texture for axis in p)
            sheet = np.abs(np.sin(x) * np.cos(y) + np.sin(y) * np.cos(z) + np.sin(z) * np.cos(x))
            value = value + (self.wall_hu - value) * np.clip(1.6 - 3.2 * sheet, 0, 1)
        return np.clip(value, -1000, 1900)

    def box(self, grid: Grid, side: float) -> Box:
        """The part of the grid that holds the part."""
        radii = self.radii if self.to is None else [max(self.radii)] * 3
        return grid.around(mirrored(self.at, side), mirrored(self.to or self.at, side), radii, room_mm=8)


PARTS = (
    # Muscles at the back of the neck, beside it and before it; of the jaw; parotid gland, tongue and palate.
    Part(at=(19, 70, -78), radii=(17, 17, 36), hu=_MUSCLE),
    Part(at=(13, 56, -66), radii=(12, 8, 14), hu=_MUSCLE + 4),
    Part(at=(60, 34, -48), to=(48, 10, -115), radii=(8, 9), hu=_MUSCLE),
    Part(at=(9, 6, -85), radii=(8, 5, 42), hu=_MUSCLE),
    Part(at=(60, -28, -70), radii=(7, 19, 26), hu=_MUSCLE + 4),
    Part(at=(36, -24, -62), radii=(9, 17, 18), hu=_MUSCLE + 4),
    Part(at=(60, 4, -68), radii=(8, 13, 17), hu=15, grain_hu=25),
    Part(at=(0, -40, -100), radii=(26, 36, 17), hu=_MUSCLE, both=False),
    # Clivus, dorsum sellae.
    Part(at=(0, -14, -32), to=(0, 16, -62), radii=(9, 8), both=False, hu=_BONE, grain_hu=_BONE_GRAIN),
    Part(at=(0, -3, -24), radii=(9, 3, 6), both=False, hu=_BONE, grain_hu=_BONE_GRAIN),
    # Occipital condyles, atlas with its arches, dens.
    Part(at=(20, 16, -60), radii=(7, 10, 8), hu=_BONE, grain_hu=_BONE_GRAIN),
    Part(at=(24, 20, -74), radii=(11, 8, 7), hu=_BONE, grain_hu=_BONE_GRAIN),
    Part(at=(0, 9, -74), radii=(17, 4, 6), both=False, hu=_BONE, grain_hu=_BONE_GRAIN),
    Part(at=(22, 34, -75), to=(0, 50, -75), radii=(4, 4), hu=_BONE, grain_hu=_BONE_GRAIN),
    Part(at=(0, 15, -66), to=(0, 17, -100), radii=(4.5, 7), both=False, hu=_BONE, grain_hu=_BONE_GRAIN),
    # Pharynx.
    Part(at=(0, -8, -66), to=(0, -4, -115), radii=(9, 7), hu=_AIR, both=False),
    # Orbit: fat, optic nerve, muscles, lacrimal gland, then the globe with its wall and lens, and the lids.
    Part(at=(31, -62, -33), radii=(18, 29, 16), hu=-85, grain_hu=18),
    Part(at=(31, -64, -33), to=(10, -30, -28), radii=(2.2, 2.2), hu=42),
    Part(at=(20, -68, -33), to=(13, -36, -29), radii=(2.4, 1.6), hu=50),
    Part(at=(43, -68, -33), to=(17, -38, -30), radii=(2.4, 1.6), hu=50),
    Part(at=(31, -72, -21), to=(15, -36, -25), radii=(2.4, 1.6), hu=50),
    Part(at=(31, -72, -45), to=(15, -36, -33), radii=(2.4, 1.6), hu=50),
    Part(at=(44, -74, -26), radii=(3.5, 7, 5), hu=45),
    Part(at=(32, -77, -33), radii=(15.5, 15.5, 15.5), hu=40, grain_hu=12),
    Part(at=(32, -77, -33), radii=(12.4, 12.4, 12.4), hu=52),
    Part(at=(32, -77, -33), radii=(11.2, 11.2, 11.2), hu=12),
    Part(at=(32, -85.5, -33), radii=(4.5, 2.2, 4.5), hu=90),
    # Lateral wall of the orbit, sphenoid wing, zygoma and its arch, jaw with teeth.
    Part(at=(52, -72, -33), to=(26, -36, -30), radii=(2.6, 2.0), hu=_BONE, grain_hu=_BONE_GRAIN),
    Part(at=(14, -24, -18), to=(56, -38, -14), radii=(3.0, 4.5), hu=_BONE, grain_hu=_BONE_GRAIN),
    Part(at=(54, -66, -48), to=(67, -5, -47), radii=(3.2, 2.2), hu=_BONE, grain_hu=_BONE_GRAIN),
    Part(at=(53, -4, -50), to=(50, -20, -100), radii=(4, 5), hu=_BONE, grain_hu=_BONE_GRAIN),
    Part(at=(50, -20, -100), to=(10, -86, -112), radii=(5, 6), hu=_BONE, grain_hu=_BONE_GRAIN),
    Part(at=(30, -56, -88), to=(7, -84, -88), radii=(5, 5), hu=1100, grain_hu=300, cells_mm=7, wall_hu=1900),
    # Petrous bone with its inner ear and canal, mastoid cells, ear canal.
    Part(at=(13, 0, -37), to=(58, 21, -33), radii=(4.5, 8), hu=1200, grain_hu=200),
    Part(at=(26, 8, -36), to=(34, 11, -35), radii=(2.4, 2.8), hu=150),
    Part(at=(57, 24, -40), radii=(12, 13, 17), hu=_BONE, grain_hu=150),
    Part(at=(57, 24, -40), radii=(10.5, 11.5, 15), hu=-900, cells_mm=6, wall_hu=1900, airy=True),
    Part(at=(46, 12, -36), radii=(5, 6, 6), hu=-900, cells_mm=6, wall_hu=1500),
    Part(at=(50, 10, -40), to=(90, 12, -42), radii=(2.5, 3.5), hu=_AIR),
    # Maxillary sinus with its wall, hard palate.
    Part(at=(29, -60, -66), radii=(17, 20, 17), hu=_BONE, grain_hu=_BONE_GRAIN),
    Part(at=(29, -60, -66), radii=(15.6, 18.6, 15.6), hu=_AIR),
    Part(at=(0, -56, -84), radii=(24, 34, 3), hu=_BONE, grain_hu=_BONE_GRAIN, both=False),
    # Ethmoid cells, sphenoid sinus, nasal cavity with its conchae, frontal sinus.
    Part(at=(0, -54, -37), radii=(12, 29, 15), hu=-950, cells_mm=8, wall_hu=350, both=False),
    Part(at=(0, -26, -38), radii=(18, 16, 11.5), both=False, hu=_BONE, grain_hu=_BONE_GRAIN),
    Part(at=(1, -27, -38), radii=(16, 14, 10), split_mm=0.8, both=False, hu=_AIR, airy=True),
    Part(at=(0, -52, -66), radii=(13, 36, 17), split_mm=2, both=False, hu=-950, cells_mm=12, wall_hu=45),
    Part(at=(0, -88, -13), radii=(27, 5.5, 17), split_mm=0.8, both=False, hu=_AIR, cells_mm=22, wall_hu=500, airy=True),
)


def paint_base(
    p: Points,
    grid: Grid,
    hu: Float[np.ndarray, "i k j"],
    head: Head,
    *,
    texture: Float[np.ndarray, "i k j"],
    free: Float[np.ndarray, "i k j"],
) -> None:
    """Paint ``PARTS`` into ``hu``, in place, as far as the space between cavity and skin is ``free`` for them."""
    for part in PARTS:
        size = head.pneumatisation if part.airy else 1.0
        for side in (1.0, -1.0) if part.both else (1.0,):
            box = part.box(grid, side)
            if hu[box].size:
                q = p.at(box)
                cover = coverage(part.depth(q, side, size), grid.edge_mm) * free[box]
                paint(hu[box], part.tissue(q, texture[box], head.opacified), cover)
