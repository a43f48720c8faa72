"""Blood in the head: how it moves the brain, and how it is painted."""

import numpy as np
from jaxtyping import Float

from ichformer.ct.phantom.anatomy.brain import Brain
from ichformer.ct.phantom.anatomy.grid import Grid, lattice_points
from ichformer.ct.phantom.anatomy.head import Head
from ichformer.ct.phantom.anatomy.shapes import Points, coverage, ellipsoid, paint
from ichformer.ct.phantom.anatomy.surface import callosum_depth, tentorium_mm
from ichformer.ct.phantom.findings.bleeds import Bleed


def push(bleeds: tuple[Bleed, ...], head: Head) -> Float[np.ndarray, "3 cz cy cx"]:
    """How the bleeds move the brain, mm on the lattice: a ball makes room for itself, a collection shifts the brain."""
    points = head.lattice_mm()
    moved = np.zeros_like(points)
    for bleed in bleeds:
        at = np.asarray(bleed.at, np.float32)[:, None, None, None]
        if bleed.kind == "ball":
            away = points - at
            r = np.sqrt((away**2).sum(axis=0)) + 1e-3
            # Tissue at distance r came from where the volume below it was smaller by a share of the blood's.
            room = 0.55 * float(np.prod(bleed.radii))
            moved += away / r * (r - np.cbrt(np.maximum(r**3 - room, 0))) * np.exp(-((r / 60) ** 4))
        elif bleed.kind in ("lens", "crescent"):
            foot = at * 76
            far = ((points - foot) ** 2).sum(axis=0)
            wide = 42.0 if bleed.kind == "lens" else 62.0
            moved -= at * (0.62 * min(bleed.radii[1], 16)) * np.exp(far * (-1 / (2 * wide**2)))
    # Nothing moves at the skull.
    rim = np.sqrt((lattice_points() ** 2).sum(axis=0)) / 84
    return (moved * np.clip(1 - rim**4, 0, 1)).astype(np.float32)


def collection_mm(
    bleeds: tuple[Bleed, ...], p: Points, grid: Grid, head: Head
) -> dict[str, Float[np.ndarray, "i k j"]]:
    """Thickness of the collections between skull and brain, by subtype, mm."""
    thick = {}
    for bleed in bleeds:
        if bleed.kind not in ("lens", "crescent"):
            continue
        n, (reach, deep, _) = bleed.at, bleed.radii
        if bleed.kind == "lens":
            # Distance from the axis through the middle of the bone: the lens ends where its radius ends.
            along = p.x * n[0] + p.y * n[1] + p.z * n[2]
            off = p.x**2 + p.y**2 + p.z**2 - along**2
            value = np.where(along > 0, deep * np.clip(1 - off * (1 / reach**2), 0, 1), 0)
        else:
            radius = np.sqrt(p.x**2 + p.y**2 + p.z**2) + 1e-3
            cos = (p.x * n[0] + p.y * n[1] + p.z * n[2]) / radius
            off = (2 - 2 * cos) * (76 / reach) ** 2
            ragged = 1 + 0.22 * grid.spread(head.patches)
            value = deep * np.clip(1 - off * off, 0, 1) * ragged * np.clip(bleed.side * p.x * 0.25 - 0.4, 0, 1)
            value *= np.clip(tentorium_mm(p) * 0.3, 0, 1)
        thick[bleed.subtype] = value.astype(np.float32)
    return thick


def paint_bleeds(
    bleeds: tuple[Bleed, ...],
    brain: Brain,
    p: Points,
    head_at: Points,
    grid: Grid,
    head: Head,
    *,
    depth: Float[np.ndarray, "i k j"],
    vault: Float[np.ndarray, "i k j"],
    thick: dict[str, Float[np.ndarray, "i k j"]],
) -> dict[str, Float[np.ndarray, "i k j"]]:
    """Paint all bleeds into ``brain.hu``, in place.

    Args:
      bleeds: what to paint.
      brain: as ``paint_brain`` left it.
      p: coordinates of the (pushed) brain.
      head_at: coordinates of the head.
      grid: where.
      head: whose texture is used.
      depth: below the inner skull, mm.
      vault: below the inner calvarium, mm.
      thick: of ``collection_mm``.

    Returns:
      by subtype, the share of each voxel that is blood.
    """
    cover = {}
    for bleed in bleeds:
        hu = bleed.hu + 2.5 * grid.spread(head.patches)
        if bleed.kind in ("lens", "crescent"):
            share = coverage(thick[bleed.subtype] - vault, grid.edge_mm) * coverage(depth, grid.edge_mm)
            share *= thick[bleed.subtype] > 0.4
            if bleed.layer_hu != bleed.hu:
                hu = bleed.layer_hu + (hu - bleed.layer_hu) * np.clip((p.y - 12) * 0.12 + 0.5, 0, 1)
        elif bleed.kind == "falx":
            share = _falx(bleed, p, grid) * coverage(depth, grid.edge_mm)
        elif bleed.kind == "ball":
            share = _ball(bleed, brain, head_at, grid, head)
        elif bleed.subtype == "intraventricular":
            share = _ventricles(bleed, brain, p, grid)
        else:
            share = _fluid(bleed, brain, p, grid, head, depth)
        paint(brain.hu, hu, share)
        # Dura lies between blood and bone, and nobody contours the bright rim of the skull.
        cover[bleed.subtype] = share * coverage(depth - 0.8, grid.edge_mm)
    return cover


def _falx(bleed: Bleed, p: Points, grid: Grid) -> np.ndarray:
    reach, deep, _ = bleed.radii
    x = bleed.side * p.x
    off = np.sqrt((p.y - bleed.at[1]) ** 2 + (p.z - bleed.at[2]) ** 2) / reach
    width = deep * np.clip(1 - off**3, 0, 1)
    inside = np.minimum(np.minimum(x - 0.6, 0.6 + width - x), np.minimum(tentorium_mm(p), -callosum_depth(p) - 2))
    return coverage(inside, grid.edge_mm) * (width > 0.4)


def _ball(bleed: Bleed, brain: Brain, head_at: Points, grid: Grid, head: Head) -> np.ndarray:
    """The blood's share; its rim of oedema is painted here, under it."""
    reach = max(bleed.radii) * 1.5 + 8
    box = grid.around(bleed.at, bleed.at, (reach, reach, reach))
    radius = float(np.prod(bleed.radii) ** (1 / 3))
    ragged = 0.09 * radius * grid.spread(head.texture)[box] + 0.17 * radius * grid.spread(head.patches)[box]
    inside = ellipsoid(head_at.at(box), bleed.at, bleed.radii) + ragged
    tissue = coverage(brain.pia[box] - 1, grid.edge_mm)
    rim = 3 + 0.3 * radius
    oedema = np.clip(1.6 + 1.6 * inside / rim, 0, 1) * tissue * coverage(-brain.ventricle[box], 2) * 0.85
    paint(brain.hu[box], 16.0, oedema)
    share = np.zeros(grid.shape, np.float32)
    share[box] = coverage(inside, grid.edge_mm) * coverage(brain.pia[box] + 1, 2)
    return share


def _ventricles(bleed: Bleed, brain: Brain, p: Points, grid: Grid) -> np.ndarray:
    """As much of the ventricles as holds the wanted volume: from the back for a level, round one side for a cast."""
    within = coverage(brain.ventricle, grid.edge_mm)
    if bleed.kind == "level":
        order = np.broadcast_to(grid.y_mm[:, None, None], grid.shape)
    else:
        order = -np.sqrt((p.x - bleed.side * 9) ** 2 + (p.y + 2) ** 2 + (0.8 * (p.z - 6)) ** 2)
    where = within > 0.5
    voxels = bleed.size_ml * 1000 / grid.voxel_mm3
    ordered = np.sort(order[where])[::-1]
    edge = ordered[min(int(voxels), int(0.75 * len(ordered)))]
    return within * coverage(order - edge, 1.5)


def _fluid(bleed: Bleed, brain: Brain, p: Points, grid: Grid, head: Head, depth: np.ndarray) -> np.ndarray:
    near = ellipsoid(p, bleed.at, bleed.radii) * float(np.prod(bleed.radii) ** (-1 / 3))
    amount = np.clip(2.2 * near + 0.45 * grid.spread(head.patches), 0, 1)
    fluid = coverage(0.7 - brain.pia, grid.edge_mm) * coverage(depth - 1.6, grid.edge_mm)
    return fluid * amount * coverage(-brain.ventricle - 1, 1)
