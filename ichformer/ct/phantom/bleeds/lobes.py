"""The shape of blood in the brain: ellipsoids that merge, with a ragged edge."""

import numpy as np
from jaxtyping import Float

from ichformer.ct.phantom.anatomy.grid import Box, Grid, waves
from ichformer.ct.phantom.anatomy.shapes import Points, ellipsoid
from ichformer.ct.phantom.bleeds.bleed import Bleed


def lobes(bleed: Bleed, p: Points, grid: Grid) -> tuple[Box, Float[np.ndarray, "i k j"]]:
    """The part of the grid that holds all lobes and their oedema, and the depth below their surface there, mm."""
    at, radii = np.array([part.at for part in bleed.parts]), np.array([part.radii for part in bleed.parts])
    reach = 1.3 * radii.max(axis=1) + bleed.oedema_mm + 2
    box = grid.box((at - reach[:, None]).min(axis=0), (at + reach[:, None]).max(axis=0))
    inside = np.full(p.x[box].shape, -100.0, np.float32)
    for part in bleed.parts:
        np.maximum(inside, ellipsoid(p.at(box), part.at, part.radii), out=inside)
    # Coarse bays and fine fringes, about as large as the lobes allow.
    rng = np.random.default_rng(bleed.blood.seed)
    size = float(np.cbrt(np.prod(radii, axis=1).max()))
    points = np.stack(p.at(box))
    inside += 0.16 * size * waves(rng, points, wavelength_mm=max(1.3 * size, 5.0), count=12)
    if size > 4:
        inside += 0.06 * size * waves(rng, points, wavelength_mm=max(0.5 * size, 4.0), count=12)
    return box, inside
