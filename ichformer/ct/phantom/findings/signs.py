"""Painting of the confounders that lie over the head's own anatomy: dura and skull."""

import numpy as np
from jaxtyping import Float

from ichformer.ct.phantom.anatomy.grid import Grid
from ichformer.ct.phantom.anatomy.head import Head
from ichformer.ct.phantom.anatomy.shapes import Points, coverage, ellipsoid, paint
from ichformer.ct.phantom.anatomy.skull import vault_depth
from ichformer.ct.phantom.anatomy.surface import tentorium_mm
from ichformer.ct.phantom.findings.confounders import Signs

_GAP_HU = 45.0
"""Blood and soft tissue that fill a fresh fracture."""


def paint_dura(
    signs: Signs,
    p: Points,
    grid: Grid,
    hu: Float[np.ndarray, "i k j"],
    *,
    depth: Float[np.ndarray, "i k j"],
) -> None:
    """Dense sinuses and plaques of the falx, into the cavity's content, in place; ``depth`` below its surface, mm."""
    if signs.sinus_hu:
        above = tentorium_mm(p)
        back = np.minimum(p.y + 0.5 * p.z - 10, above + 6)
        inside = np.minimum(5 - np.abs(p.x) - 0.7 * depth, back)
        # A transverse sinus runs in the angle between skull and tentorium, as far as the petrous bone.
        at_skull = np.minimum(4 - np.abs(above), np.minimum(6 - depth, p.y - 22))
        for side in signs.sinus_sides:
            inside = np.maximum(inside, np.minimum(at_skull, side * p.x + 4))
        paint(hu, signs.sinus_hu, coverage(inside, grid.edge_mm))
    for plaque in signs.plaques:
        box = grid.around(plaque.at, plaque.at, plaque.radii)
        paint(hu[box], plaque.hu, coverage(ellipsoid(p.at(box), plaque.at, plaque.radii), grid.edge_mm))


def paint_fracture(
    signs: Signs,
    p: Points,
    grid: Grid,
    head: Head,
    hu: Float[np.ndarray, "i k j"],
    *,
    vault: Float[np.ndarray, "i k j"],
) -> None:
    """The gap, into the bone of the calvarium (``vault``: depth below its inner table, mm), in place."""
    gap = signs.fracture
    if gap is None:
        return
    at, normal = np.asarray(gap.at), np.asarray(gap.normal)
    x, y, z = (np.full((1, 1, 1), 80 * value, np.float32) for value in at)
    foot = at * (80 + float(vault_depth(Points(x, y, z), head).item()))
    off = p.x * normal[0] + p.y * normal[1] + p.z * normal[2] + 1.5 * grid.spread(head.patches)
    far = np.sqrt((p.x - foot[0]) ** 2 + (p.y - foot[1]) ** 2 + (p.z - foot[2]) ** 2)
    # It narrows towards its ends.
    inside = gap.width_mm / 2 * np.clip(3 - 6 * far / gap.length_mm, 0, 1) - np.abs(off)
    bone = np.clip((hu - 150) * (1 / 250), 0, 1) * ((vault < 2) & (vault > -2 * head.bone))
    paint(hu, _GAP_HU, coverage(inside, grid.edge_mm) * (far < gap.length_mm / 2) * bone)
