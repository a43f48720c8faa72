"""Blood in the head: how it moves the brain, and how it is painted."""

import numpy as np
from jaxtyping import Float

from ichformer.ct.phantom.anatomy.grid import Grid, lattice_points
from ichformer.ct.phantom.anatomy.head import Head
from ichformer.ct.phantom.anatomy.shapes import Points, coverage, paint
from ichformer.ct.phantom.bleeds.bleed import Bleed
from ichformer.ct.phantom.bleeds.density import blood_hu
from ichformer.ct.phantom.bleeds.kinds import KINDS, Painted, Scene

_OEDEMA_HU = 17.0


def push(bleeds: tuple[Bleed, ...], head: Head) -> Float[np.ndarray, "3 cz cy cx"]:
    """How the bleeds move the brain, mm on the lattice: a clot makes room for itself, a collection shifts the brain."""
    points = head.lattice_mm()
    moved = np.zeros_like(points)
    for bleed in bleeds:
        if push_mm := KINDS[bleed.kind].push_mm:
            moved += push_mm(bleed, points)
    # Wide spaces take up some of it, and nothing moves at the skull.
    room = 1 - 0.3 * min(head.atrophy, 1.0)
    rim = np.sqrt((lattice_points() ** 2).sum(axis=0)) / 84
    return (moved * (room * np.clip(1 - rim**4, 0, 1))).astype(np.float32)


def collection_mm(
    bleeds: tuple[Bleed, ...], p: Points, grid: Grid, head: Head
) -> dict[Bleed, Float[np.ndarray, "i k j"]]:
    """Thickness of each collection between skull and brain, mm."""
    thick = {}
    for bleed in bleeds:
        if thickness_mm := KINDS[bleed.kind].thickness_mm:
            middle, reach = 76 * np.asarray(bleed.at), 1.15 * bleed.reach_mm + 10
            box = grid.box(middle - reach, middle + reach)
            thick[bleed] = np.zeros(grid.shape, np.float32)
            thick[bleed][box] = thickness_mm(bleed, p.at(box), grid.part(box), head)
    return thick


def paint_bleeds(bleeds: tuple[Bleed, ...], scene: Scene) -> dict[str, Float[np.ndarray, "i k j"]]:
    """Paint all bleeds into the HU of the scene's brain, in place.

    Returns:
      by subtype, the share of each voxel that is blood.
    """
    cover: dict[str, np.ndarray] = {}
    for bleed in bleeds:
        painted = KINDS[bleed.kind].fill(bleed, scene)
        box, grid = painted.box, scene.grid.part(painted.box)
        if bleed.oedema_mm:
            paint(scene.brain.hu[box], _OEDEMA_HU, _oedema(bleed, painted, scene))
        hu = blood_hu(bleed.blood, scene.head_at.at(box), grid, painted.inside_mm)
        paint(scene.brain.hu[box], hu + 2.5 * grid.spread(scene.head.patches), painted.share)
        # Dura lies between blood and bone, and nobody contours the bright rim of the skull.
        share = painted.share * coverage(scene.depth[box] - 1.1, grid.edge_mm)
        whole = cover.setdefault(bleed.subtype, np.zeros(scene.grid.shape, np.float32))
        whole[box] = np.maximum(whole[box], share)
    return cover


def _oedema(bleed: Bleed, painted: Painted, scene: Scene) -> np.ndarray:
    """How much of each voxel fluid has soaked: tissue around blood, less the further away."""
    box = painted.box
    near = np.clip(1.5 + 1.5 * painted.inside_mm / bleed.oedema_mm, 0, 1)
    tissue = coverage(scene.brain.pia[box] - 1, scene.grid.edge_mm) * coverage(-scene.brain.ventricle[box], 2)
    return near * tissue * 0.85
