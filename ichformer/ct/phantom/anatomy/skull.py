"""Everything outside the brain: cavity, calvarium, skull base with its air cells, orbits, scalp."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ichformer.ct.phantom.anatomy.grid import Grid, bounds
from ichformer.ct.phantom.anatomy.head import HALF_LENGTH, HALF_WIDTH, HEIGHT, Head
from ichformer.ct.phantom.anatomy.shapes import Points, capsule, coverage, edges_across, ellipsoid, paint
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
    up = (p.z * np.where(p.z > 0, np.float32(1 / HEIGHT), np.float32(1 / 125))) ** 2
    around = np.sqrt((1 - head.squareness) * (across + along) ** 2 + head.squareness * (across**2 + along**2))
    # The vault is flatter than an ellipsoid: near its top, slices of a real head are still wide.
    distance = np.cbrt(around * np.sqrt(around) + up * np.sqrt(up) + 1e-9)
    return np.sqrt(p.x**2 + p.y**2 + p.z**2) * (1 / distance - 1)


def on_skull(head: Head, out: Float[np.ndarray, "3"], above_mm: float) -> Float[np.ndarray, "3"]:
    """The point ``above_mm`` over the inner calvarium in the direction ``out`` from the centre, mm."""
    x, y, z = (np.full((1, 1, 1), 80 * value, np.float32) for value in out)
    return np.asarray(out * (80 + float(vault_depth(Points(x, y, z), head).item()) + above_mm))


def cavity_depth(p: Points, grid: Grid, head: Head, vault: Float[np.ndarray, "i k j"]) -> Float[np.ndarray, "i k j"]:
    """Depth below the inner skull, mm, positive inside: vault, middle and posterior fossae, spinal canal."""
    # Gyri leave their print in the bone, most at the base, and granulations under the vertex; a crest of bone stands in
    # the midline behind and in front.
    uneven = np.clip(0.9 - p.z * 0.012, 0.3, 1.6) + np.clip(p.z * 0.05 - 2.2, 0, 1.2)
    relief = np.clip(0.5 + 0.55 * grid.spread(head.relief), 0, 2.5) * uneven
    crest = np.clip(1 - np.abs(p.x) * 0.25, 0, 1) * np.clip(np.abs(p.y) * 0.15 - 9.5, 0, 4) * (p.z < 40)
    vault = vault - np.maximum(relief, crest)
    anterior = np.clip((-18 - p.y) * 0.1, 0, 1)
    # The roofs of the orbits bulge into the anterior fossa.
    roof = np.exp(-(((np.abs(p.x) - 33) / 15) ** 2) - ((p.y + 58) / 24) ** 2)
    floor = -26 + anterior * (3 + 12 * roof) + relief * (1 + roof)
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


_ROWS = 32
"""Rows that are painted at once: what they need fits into a core's cache."""

_FAR_MM = 42.0
"""How far the nose and the ears reach from the inner calvarium at most."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Skull:
    """Fields over the grid.

    Attributes:
      vault: depth below the inner calvarium, were it closed below, mm.
      depth: below the inner skull with its base, mm; positive in the cavity.
      hu: of everything but the cavity's content.
      inner: share of the voxel that lies in the cavity.
    """

    vault: Float[np.ndarray, "i k j"]
    depth: Float[np.ndarray, "i k j"]
    hu: Float[np.ndarray, "i k j"]
    inner: Float[np.ndarray, "i k j"]


def make_skull(p: Points, grid: Grid, head: Head) -> Skull:
    """Skull, scalp, face and neck of a head at the points ``p`` of the grid."""
    vault = np.empty(grid.shape, np.float32)
    depth, hu, inner, free, fine = (np.full(grid.shape, value, np.float32) for value in (-_FAR_MM, AIR_HU, 0, 1, 0))
    for first in range(0, grid.shape[0], _ROWS):
        rows = (slice(first, first + _ROWS), slice(None), slice(None))
        vault[rows] = vault_depth(p.at(rows), head)
        # What is further away is air.
        near, slices, columns = bounds(vault[rows] > -_FAR_MM)
        box = (slice(first + near.start, first + near.stop), slices, columns)
        part, q = grid.part(box), p.at(box)
        depth[box] = cavity_depth(q, part, head, vault[box])
        fine[box] = part.spread(head.texture)
        hu[box], inner[box], free[box] = _layers(q, part, head, fine[box], vault=vault[box], depth=depth[box])
    paint_base(p, grid, hu, head, texture=fine, free=free)
    return Skull(vault=vault, depth=depth, hu=hu, inner=inner)


def _layers(
    p: Points, grid: Grid, head: Head, fine: np.ndarray, *, vault: np.ndarray, depth: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """HU of skin, fat, muscle and calvarium, share of the cavity, and what is free for the parts of the base."""
    edge, edges = grid.edge_mm, edges_across(depth, grid.edge_mm)
    patches = grid.spread(head.patches)
    bone_mm = _bone_mm(p, grid, head)
    temporal = _temporal_muscle(p, grid)
    skin = vault + bone_mm + head.scalp + temporal
    # The neck is thinner than the head.
    skin -= np.clip(-60 - p.z, 0, 45) * 0.45 * np.clip(p.y * 0.025 + 0.3, 0, 1)
    swelling = _swelling_mm(p, head) if head.swelling[1] else None
    if swelling is not None:
        skin += swelling
    _features_of_the_face(p, grid, skin, head)
    hu = np.full(grid.shape, AIR_HU, np.float32)
    paint(hu, SKIN_HU, coverage(skin, edges))
    # Under the skin lies fat, on the bone of the calvarium a thin sheet of muscle, at the temples a thick one.
    muscle = np.clip(0.8 - 0.45 * np.abs(skin - head.scalp), 0, 1)
    muscle = np.maximum(muscle, np.clip(temporal * 0.8, 0, 1) * np.clip(skin * 0.5 - 2, 0, 1))
    low = bounds(p.z < -16)
    deep = _deep_muscle(p.at(low), skin[low], patches[low])
    muscle[low] += (deep - muscle[low]) * np.clip(-0.12 * p.z[low] - 2, 0, 1)
    paint(hu, FAT_HU + (MUSCLE_HU - FAT_HU) * muscle, coverage(skin - 2.2, edge))
    if swelling is not None:
        paint(hu, 62.0, coverage(swelling - 3, 3) * coverage(skin - 3, 2) * 0.95)

    inner = coverage(depth, edges)
    under = -depth
    table = np.clip(1.6 - np.minimum(under, bone_mm - under) * 0.55, 0, 1)
    diploe = DIPLOE_HU + 110 * fine + 130 * patches
    shell = bone_mm * (1 - 0.6 * np.clip((-12 - p.z) * 0.08, 0, 1))
    paint(hu, diploe + (TABLE_HU - diploe) * table, coverage(shell - under, edges))
    return hu, inner, (1 - inner) * coverage(skin - 1.5, edge)


def _bone_mm(p: Points, grid: Grid, head: Head) -> np.ndarray:
    """Thickness of the calvarium: thin at the temples, thick at the forehead and the back of the head."""
    temple = np.exp(((p.y + 12) * (1 / 34)) ** 2 * -1 + ((p.z - 2) * (1 / 30)) ** 2 * -1)
    ends = ((p.y + 4) * (1 / HALF_LENGTH)) ** 2
    return np.asarray(head.bone * (0.92 + 0.15 * grid.spread(head.thickness) + 0.28 * ends - 0.42 * temple))


def _deep_muscle(p: Points, skin: np.ndarray, patches: np.ndarray) -> np.ndarray:
    """Share of muscle in face and neck: bundles that sheets of fat part, alike on both sides, below the skin's fat."""
    x, y, z = (axis * (np.pi / 17) + 1.1 * patches for axis in (np.abs(p.x), p.y, 0.5 * p.z))
    sheet = np.abs(np.sin(x) * np.cos(y) + np.sin(y) * np.cos(z) + np.sin(z) * np.cos(x))
    return np.asarray(np.clip(3 * sheet - 0.3, 0, 1) * np.clip((skin - 7 - 3 * patches) * 0.4, 0.1, 1))


def _temporal_muscle(p: Points, grid: Grid) -> np.ndarray:
    thick = np.zeros(grid.shape, np.float32)
    for side in _SIDES:
        box = grid.box((side * 75 - 25, -75, -70), (side * 75 + 25, 40, 40))
        thick[box] += 4.5 * np.clip(ellipsoid(p.at(box), (side * 72, -28, -14), (34, 38, 44)) * 0.07, 0, 1)
    return thick


def _swelling_mm(p: Points, head: Head) -> np.ndarray:
    (x, y, z), thick = head.swelling
    far = (p.x - 75 * x) ** 2 + (p.y - 90 * y) ** 2 + (p.z - 80 * z) ** 2
    return thick * np.exp(far * (-1 / (2 * 20.0**2)))


def _features_of_the_face(p: Points, grid: Grid, skin: np.ndarray, head: Head) -> None:
    """Nose, eyelids, jaw and ears: added to the depth below the skin, in place."""
    box = grid.box((-14, -130, -75), (14, -80, -28))
    nose = ellipsoid(p.at(box), (0, -HALF_LENGTH - 14, -50), (11, 17, 19))
    skin[box] = np.maximum(skin[box], nose)
    box = grid.box((-45, -110, -130), (45, -20, -75))
    jaw = ellipsoid(p.at(box), (0, -52, -96), (52, 52, 34))
    skin[box] = np.maximum(skin[box], jaw)
    for side in _SIDES:
        box = grid.box((side * 32 - 22, -105, -55), (side * 32 + 22, -50, -10))
        lids = ellipsoid(p.at(box), (side * 32, -77, -33), (20, 17.5, 18))
        skin[box] = np.maximum(skin[box], lids)
        x = side * (HALF_WIDTH + head.bone + head.scalp + 7)
        box = grid.box((x - 14, 0, -60), (x + 14, 45, 5))
        ear = ellipsoid(p.at(box), (x, 20, -27), (10, 15, 27))
        skin[box] = np.maximum(skin[box], 1.8 - np.abs(ear - 1))
