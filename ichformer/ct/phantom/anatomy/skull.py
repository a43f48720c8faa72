"""Everything outside the brain: cavity, calvarium, skull base with its air cells, orbits, scalp."""

import numpy as np
from jaxtyping import Float

from ichformer.ct.phantom.anatomy.grid import Grid
from ichformer.ct.phantom.anatomy.head import HALF_LENGTH, HALF_WIDTH, HEIGHT, Head
from ichformer.ct.phantom.anatomy.shapes import Points, capsule, coverage, ellipsoid, paint
from ichformer.ct.phantom.anatomy.skull_base import paint_base

AIR_HU, FAT_HU, MUSCLE_HU, SKIN_HU, TABLE_HU, DIPLOE_HU = -1000.0, -95.0, 55.0, 60.0, 1500.0, 750.0

FORAMEN_MM = -59.0
"""Height of the foramen magnum in the standard head: below it the cavity is the spinal canal."""

_SIDES = (-1.0, 1.0)


def vault_depth(p: Points, head: Head) -> Float[np.ndarray, "i k j"]:
    """Distance along the ray from the head's centre to the inner skull, were the skull closed below; mm."""
    across = (p.x / (HALF_WIDTH * (1 + head.taper * p.y / HALF_LENGTH))) ** 2
    along = (p.y / HALF_LENGTH) ** 2
    # Below the centre the walls run down nearly straight: the base is cut by cavity_depth.
    up = (p.z * np.where(p.z > 0, 1 / HEIGHT, 1 / 125.0).astype(np.float32)) ** 2
    square = across + along + up
    square = (1 - head.squareness) * square**2 + head.squareness * (across**2 + along**2 + up**2)
    radius = np.sqrt(p.x**2 + p.y**2 + p.z**2)
    return radius * (1 / np.sqrt(np.sqrt(square + 1e-9)) - 1)


def cavity_depth(
    p: Points, grid: Grid, head: Head, vault: Float[np.ndarray, "i k j"]
) -> Float[np.ndarray, "i k j"]:
    """Depth below the inner skull, mm, positive inside: vault, middle and posterior fossae, spinal canal."""
    # Gyri leave their print in the bone, most at the base; a crest of bone stands in the midline behind and in front.
    relief = np.clip(0.5 + 0.55 * grid.spread(head.relief), 0, 2.5) * np.clip(0.9 - p.z * 0.012, 0.3, 1.6)
    crest = np.clip(1 - np.abs(p.x) * 0.25, 0, 1) * np.clip(np.abs(p.y) * 0.15 - 9.5, 0, 4) * (p.z < 40)
    vault = vault - np.maximum(relief, crest)
    anterior = np.clip((-18 - p.y) * 0.1, 0, 1)
    # The roofs of the orbits bulge into the anterior fossa.
    roof = np.exp(-(((np.abs(p.x) - 33) / 15) ** 2) - ((p.y + 58) / 24) ** 2)
    floor = -26 + anterior * (3 + 12 * roof) + relief
    depth = np.minimum(vault, p.z - floor)
    for side in _SIDES:
        box = grid.box((side * 38 - 32, -50, -50), (side * 38 + 32, 22, 0))
        fossa = ellipsoid(p.at(box), (side * 39, -13, -20), (29, 29, 23))
        depth[box] = np.maximum(depth[box], np.minimum(fossa, vault[box]))
    box = grid.box((-62, 0, -68), (62, 90, 0))
    q = p.at(box)
    posterior = np.minimum(ellipsoid(q, (0, 42, -22), (60, 45, 38)), q.y - 0.38 * np.abs(q.x) + 4)
    depth[box] = np.maximum(depth[box], np.minimum(posterior, vault[box]))
    for side in _SIDES:
        start, end = (side * 13, 0, -37), (side * 58, 21, -33)
        box = grid.around(start, end, (9, 9, 9))
        depth[box] = np.minimum(depth[box], -capsule(p.at(box), start, end, (4.5, 8)))
    box = grid.box((-14, 15, -130), (14, 45, -45))
    depth[box] = np.maximum(depth[box], capsule(p.at(box), (0, 30, -50), (0, 34, -120), (15, 11)))
    return depth


def outside(
    p: Points, grid: Grid, head: Head, *, vault: Float[np.ndarray, "i k j"], depth: Float[np.ndarray, "i k j"]
) -> tuple[Float[np.ndarray, "i k j"], Float[np.ndarray, "i k j"]]:
    """HU of everything but the content of the cavity, and the coverage of the cavity."""
    edge = grid.edge_mm
    fine, patches = grid.spread(head.texture), grid.spread(head.patches)
    bone_mm = _bone_mm(p, grid, head)
    skin = vault + bone_mm + head.scalp + _temporal_muscle(p, grid)
    swelling = _swelling_mm(p, head) if head.swelling[1] else None
    if swelling is not None:
        skin += swelling
    _features_of_the_face(p, grid, skin, head)
    hu = np.full(grid.shape, AIR_HU, np.float32)
    paint(hu, SKIN_HU, coverage(skin, edge))
    # Under the skin: fat, and muscle in streaks that are thick at the temples, the neck and deep in the face.
    muscle = np.clip(1.1 + 1.0 * patches + 0.8 * fine, 0, 1)
    muscle = np.where(p.z > -20, np.clip(1.3 - 0.25 * np.abs(skin - head.scalp), 0, 1), muscle)
    soft = FAT_HU + (MUSCLE_HU - FAT_HU) * muscle
    paint(hu, soft, coverage(skin - 2.6, edge))
    if swelling is not None:
        paint(hu, 62.0, coverage(swelling - 3, 3) * coverage(skin - 3, 2) * 0.8)

    inner = coverage(depth, edge)
    under = -depth
    table = np.clip(1.6 - np.minimum(under, bone_mm - under) * 0.55, 0, 1)
    diploe = DIPLOE_HU + 110 * fine + 130 * patches
    at_base = np.clip((-12 - p.z) * 0.08, 0, 1)
    shell = bone_mm * (1 - 0.6 * at_base)
    paint(hu, diploe + (TABLE_HU - diploe) * table, coverage(shell - under, edge))
    paint_base(p, grid, hu, texture=fine, closed=1 - inner)
    return hu, inner


def _bone_mm(p: Points, grid: Grid, head: Head) -> np.ndarray:
    """Thickness of the calvarium: thin at the temples, thick at the forehead and the back of the head."""
    temple = np.exp(((p.y + 12) * (1 / 34)) ** 2 * -1 + ((p.z - 2) * (1 / 30)) ** 2 * -1)
    ends = ((p.y + 4) * (1 / HALF_LENGTH)) ** 2
    return np.asarray(head.bone * (0.92 + 0.15 * grid.spread(head.thickness) + 0.28 * ends - 0.42 * temple))


def _temporal_muscle(p: Points, grid: Grid) -> np.ndarray:
    thick = np.zeros(grid.shape, np.float32)
    for side in _SIDES:
        box = grid.box((side * 75 - 25, -75, -70), (side * 75 + 25, 40, 40))
        thick[box] += 7 * np.clip(ellipsoid(p.at(box), (side * 72, -28, -22), (34, 36, 40)) * 0.06, 0, 1)
    return thick


def _swelling_mm(p: Points, head: Head) -> np.ndarray:
    (x, y, z), thick = head.swelling
    far = (p.x - 75 * x) ** 2 + (p.y - 90 * y) ** 2 + (p.z - 80 * z) ** 2
    return thick * np.exp(far * (-1 / (2 * 20.0**2)))


def _features_of_the_face(p: Points, grid: Grid, skin: np.ndarray, head: Head) -> None:
    """Nose and ears: added to the depth below the skin, in place."""
    box = grid.box((-14, -130, -75), (14, -80, -28))
    nose = ellipsoid(p.at(box), (0, -HALF_LENGTH - 14, -50), (11, 17, 19))
    skin[box] = np.maximum(skin[box], nose)
    for side in _SIDES:
        x = side * (HALF_WIDTH + head.bone + head.scalp + 7)
        box = grid.box((x - 14, 0, -60), (x + 14, 45, 5))
        ear = ellipsoid(p.at(box), (x, 20, -27), (10, 15, 27))
        skin[box] = np.maximum(skin[box], 1.8 - np.abs(ear - 1))
