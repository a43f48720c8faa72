"""Blood in the head: how it moves the brain, and how it is painted."""

import numpy as np
from jaxtyping import Float

from ichformer.ct.phantom.anatomy.grid import Grid, lattice_points
from ichformer.ct.phantom.anatomy.head import Head
from ichformer.ct.phantom.anatomy.shapes import Points, coverage, paint
from ichformer.ct.phantom.findings.bleeds import Bleed
from ichformer.ct.phantom.findings.kinds import KINDS, Scene


def push(bleeds: tuple[Bleed, ...], head: Head) -> Float[np.ndarray, "3 cz cy cx"]:
    """How the bleeds move the brain, mm on the lattice: a ball makes room for itself, a collection shifts the brain."""
    points = head.lattice_mm()
    moved = np.zeros_like(points)
    for bleed in bleeds:
        if push_mm := KINDS[bleed.kind].push_mm:
            moved += push_mm(bleed, points)
    # Nothing moves at the skull.
    rim = np.sqrt((lattice_points() ** 2).sum(axis=0)) / 84
    return (moved * np.clip(1 - rim**4, 0, 1)).astype(np.float32)


def collection_mm(
    bleeds: tuple[Bleed, ...], p: Points, grid: Grid, head: Head
) -> dict[str, Float[np.ndarray, "i k j"]]:
    """Thickness of the collections between skull and brain, by subtype, mm."""
    thick = {}
    for bleed in bleeds:
        if thickness_mm := KINDS[bleed.kind].thickness_mm:
            thick[bleed.subtype] = thickness_mm(bleed, p, grid, head).astype(np.float32)
    return thick


def paint_bleeds(bleeds: tuple[Bleed, ...], scene: Scene) -> dict[str, Float[np.ndarray, "i k j"]]:
    """Paint all bleeds into the HU of the scene's brain, in place.

    Returns:
      by subtype, the share of each voxel that is blood.
    """
    cover, edge_mm = {}, scene.grid.edge_mm
    for bleed in bleeds:
        hu = bleed.hu + 2.5 * scene.grid.spread(scene.head.patches)
        if bleed.layer_hu != bleed.hu:
            hu = bleed.layer_hu + (hu - bleed.layer_hu) * np.clip((scene.p.y - 12) * 0.12 + 0.5, 0, 1)
        share = KINDS[bleed.kind].share(bleed, scene)
        paint(scene.brain.hu, hu, share)
        # Dura lies between blood and bone, and nobody contours the bright rim of the skull.
        cover[bleed.subtype] = share * coverage(scene.depth - 0.8, edge_mm)
    return cover
