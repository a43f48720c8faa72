"""The content of the cavity: fluid, cortex, white matter, deep nuclei, ventricles, dura, vessels, calcifications."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ichformer.ct.phantom.anatomy.grid import Grid
from ichformer.ct.phantom.anatomy.head import Head
from ichformer.ct.phantom.anatomy.shapes import Point, Points, capsule, coverage, ellipsoid, mirrored, paint
from ichformer.ct.phantom.anatomy.surface import SIDES, callosum_depth, pia_depth, tentorium_mm

CSF_HU = 8.0

VENTRICLES: tuple[tuple[Point, Point, tuple[float, float]], ...] = (
    ((16, -40, 3), (8.5, -29, 7), (2.2, 3.4)),  # frontal horn, bent round the head of the caudate nucleus
    ((9, -30, 9), (4.8, -12, 10), (3.6, 3.4)),
    ((8, -24, 14), (5.8, -4, 18), (4.0, 4.6)),  # body, beside the septum
    ((5.8, -4, 18), (10, 16, 21), (4.6, 4.8)),
    ((10, 16, 21), (23, 36, 13), (4.8, 6.5)),  # atrium
    ((24, 37, 12), (20, 61, 4), (5.5, 2.0)),  # occipital horn
    ((25, 37, 8), (33, 8, -15), (4.0, 1.8)),  # temporal horn
)
"""Lateral ventricle of one side: start, end and radii of its tubes."""

_NUCLEI: tuple[tuple[Point, Point, float, float], ...] = (
    ((10.5, 8, 5), (8.5, 13.5, 9), 0.35, 0.8),  # thalamus
    ((13, -23, 8), (4.5, 9, 11), 0.15, 1.0),  # head of the caudate nucleus
    ((15.5, -4, 20), (3.2, 18, 4), 0.3, 0.9),  # its body
    ((27, -5, 3), (4.6, 16, 9.5), 0.22, 1.0),  # putamen
    ((20.5, -2, 1), (4.2, 8.5, 6), 0.4, 0.6),  # pallidum
    ((33.5, -4, 4), (1.1, 14, 9), 0.1, 0.6),  # claustrum
)
"""Centre, radii, how far it leans outwards on its way back, and how grey it is."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Brain:
    """Fields over the grid.

    Attributes:
      hu: of the cavity's content.
      pia: depth below the brain's surface, sulci included, mm; negative in fluid.
      ventricle: depth below the ventricles' wall, mm; positive inside.
    """

    hu: Float[np.ndarray, "i k j"]
    pia: Float[np.ndarray, "i k j"]
    ventricle: Float[np.ndarray, "i k j"]


def ventricle_depth(p: Points, grid: Grid, head: Head) -> Float[np.ndarray, "i k j"]:
    """Depth below the walls of the lateral, third and fourth ventricle, mm."""
    depth = np.full(grid.shape, -20, np.float32)
    size = head.ventricles
    for side in SIDES:
        for start, end, radii in VENTRICLES:
            a, b = (mirrored((x + head.ventricle_spread_mm, y, z), side) for x, y, z in (start, end))
            wide = [radius * size * (1 + side * head.asymmetry) for radius in radii]
            box = grid.around(a, b, (12, 12, 12))
            tube = capsule(p.at(box), a, b, wide)
            depth[box] = np.maximum(depth[box], tube)
    third = max(1.0, 2.6 * size - 0.6)
    for center, radii3 in (((0, -2, 3), (third, 13, 9)), ((0, 37, -31), (6.5 * size, 5 * size, 10))):
        box = grid.around(center, center, radii3)
        depth[box] = np.maximum(depth[box], ellipsoid(p.at(box), center, radii3))
    return depth


def paint_brain(p: Points, grid: Grid, head: Head, depth: Float[np.ndarray, "i k j"]) -> Brain:
    """The brain in a cavity of which collections have been taken off (``depth`` below what is left of it, mm)."""
    edge = grid.edge_mm
    pia, ventricle = pia_depth(p, grid, head, depth), ventricle_depth(p, grid, head)
    fine = grid.spread(head.texture)
    slow = grid.spread(head.thickness)
    hu = head.white_hu + 0.5 * fine + 0.8 * slow
    # White matter round the ventricles darkens with age, in caps and patches, and where they press.
    patches = grid.spread(head.patches)
    hu -= np.clip(1 + ventricle * 0.12, 0, 1) * (1.5 * head.atrophy + head.seepage_hu)
    if head.leukoaraiosis_hu:
        hu -= np.clip(1.3 + ventricle * 0.08 + 0.45 * patches, 0, 1) * head.leukoaraiosis_hu
    below = coverage(-tentorium_mm(p), edge)
    paint(hu, head.grey_hu, coverage(2.5 + 0.5 * fine - pia, 1.5))
    paint(hu, head.grey_hu - 1.5, below * np.clip(0.5 + 0.4 * fine, 0, 1))
    for side in SIDES:
        for (x, y, z), radii, lean, share in _NUCLEI:
            at = mirrored((x, y, z), side)
            box = grid.around(at, at, radii)
            q = p.at(box)
            nucleus = ellipsoid(Points(q.x - side * lean * (q.y - y), q.y, q.z), at, radii)
            paint(hu[box], head.grey_hu, coverage(nucleus + 0.4 * fine[box], 2.0) * share)
    _infarct(p, grid, head, hu, fine)
    paint(hu, CSF_HU, np.maximum(coverage(-pia, edge), coverage(ventricle, edge)))
    _calcified(p, grid, head, hu)
    _dura(p, grid, head, hu, depth)
    _vessels(p, grid, head, hu)
    return Brain(hu=hu, pia=pia, ventricle=ventricle)


def _infarct(p: Points, grid: Grid, head: Head, hu: np.ndarray, fine: np.ndarray) -> None:
    center, radius = head.infarct
    if radius:
        box = grid.around(center, center, (radius, radius, radius))
        wedge = ellipsoid(p.at(box), center, (radius * 1.1, radius * 0.9, radius))
        wedge += 0.4 * radius * grid.spread(head.patches)[box]
        paint(hu[box], 15 + 3 * fine[box], coverage(wedge, 6) * 0.9)


def _calcified(p: Points, grid: Grid, head: Head, hu: np.ndarray) -> None:
    spots: list[tuple[Point, Point, float]] = [((0, 24, 3), (2.6, 3, 3), head.pineal_hu)]
    for side in SIDES:
        spots.append(((side * 23, 40, 12), (2.6, 5.5, 3), head.plexus_hu))
        spots.append(((side * 19, -2, 1), (3, 6, 4), head.ganglia_hu))
    for center, radii, value in spots:
        if value:
            box = grid.around(center, center, radii)
            # Grains of calcium with gaps between them.
            grain = 0.25 * min(radii) * grid.part(box).spread(head.texture)
            paint(hu[box], value, coverage(ellipsoid(p.at(box), center, radii) + grain, 2.0))


def _dura(p: Points, grid: Grid, head: Head, hu: np.ndarray, depth: np.ndarray) -> None:
    edge, above = grid.edge_mm, tentorium_mm(p)
    # Partial volume: a falx of 1 mm in voxels of ``edge`` never covers more than its share.
    share, half_mm = min(1.0, head.dura_mm / edge), max(0.55, head.dura_mm / 2)
    box = grid.box((-4, -95, -30), (4, 95, 95))
    q = p.at(box)
    falx = np.minimum(half_mm - np.abs(q.x), np.minimum(above[box], -callosum_depth(q) - 3))
    paint(hu[box], head.dura_hu, coverage(falx, edge) * share)
    notch = (np.sqrt((p.x / 17) ** 2 + ((p.y - 14) / 26) ** 2) - 1) * 17
    leaf = np.minimum(half_mm - np.abs(above), np.minimum(notch, p.y - 0.42 * np.abs(p.x) - 3))
    paint(hu, head.dura_hu, coverage(leaf, edge) * share * 0.5)
    # Sagittal sinus and torcula: a triangle under the skull in the midline, behind and above.
    box = grid.box((-8, -40, -15), (8, 95, 95))
    q = p.at(box)
    sinus = np.minimum(4.5 - np.abs(q.x) - 0.7 * depth[box], q.y + 0.5 * q.z - 10)
    paint(hu[box], head.vessel_hu + 6, coverage(sinus, edge))
    # Transverse sinuses, in the angle between skull and tentorium; as a rule one of them is larger.
    for side in SIDES:
        box = grid.box((side * 36 - 34, 20, -30), (side * 36 + 34, 95, 20))
        size = 1 - side * 2 * head.asymmetry
        q = p.at(box)
        sinus = np.minimum(3.2 * size - np.abs(above[box]), np.minimum(5 * size - depth[box], q.y - 24))
        paint(hu[box], head.vessel_hu + 6, coverage(np.minimum(sinus, side * q.x), edge))


_VESSELS: tuple[tuple[Point, Point, float, bool], ...] = (
    ((7, -10, -22), (8, -11, -15), 1.9, True),  # internal carotid artery
    ((8, -11, -15), (34, -14, -13), 1.4, True),  # middle cerebral artery, and one of its branches over the insula
    ((34, -14, -13), (39, 2, 10), 0.9, True),
    ((7, -12, -14), (1, -20, -12), 1.1, True),  # anterior cerebral artery
    ((1, -20, -12), (1, -40, 2), 1.0, True),
    ((1, 0, -18), (19, 15, -13), 1.1, True),  # posterior cerebral artery
    ((0, 1, -20), (0, 3, -44), 1.6, False),  # basilar artery
    ((0, 27, 6), (0, 62, 13), 1.9, False),  # great vein and straight sinus
)
"""Ends, radius, and whether there is one on both sides."""


def _vessels(p: Points, grid: Grid, head: Head, hu: np.ndarray) -> None:
    for start, end, radius, both in _VESSELS:
        for side in SIDES if both else (1.0,):
            a, b = mirrored(start, side), mirrored(end, side)
            box = grid.around(a, b, (2, 2, 2))
            paint(hu[box], head.vessel_hu, coverage(capsule(p.at(box), a, b, (radius, radius)), grid.edge_mm))
