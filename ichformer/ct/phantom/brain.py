"""The content of the cavity: fluid, folded cortex, white matter, deep nuclei, ventricles, dura."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ichformer.ct.phantom.grid import Grid
from ichformer.ct.phantom.head import FOLD_MM, Head
from ichformer.ct.phantom.shapes import Point, Points, capsule, coverage, ellipsoid, paint

CSF_HU = 6.0

_SIDES = (-1.0, 1.0)

VENTRICLES: tuple[tuple[Point, Point, tuple[float, float]], ...] = (
    ((12, -37, 4), (4.5, -9, 10), (4.5, 4.5)),  # frontal horn
    ((11, -33, 11), (8, -6, 19), (4.0, 5.5)),
    ((8, -8, 19), (12, 14, 22), (5.5, 5.5)),  # body
    ((12, 14, 22), (24, 37, 13), (5.5, 7.5)),  # atrium
    ((24, 37, 12), (20, 61, 4), (7.0, 2.6)),  # occipital horn
    ((25, 37, 8), (33, 8, -15), (4.6, 2.2)),  # temporal horn
)
"""Lateral ventricle of one side: start, end and radii of its tubes."""


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


def tentorium_mm(p: Points) -> Float[np.ndarray, "i k j"]:
    """Height above the tentorium; where it has no leaf (in front of the petrous ridge) it is large."""
    x = np.abs(p.x)
    above = p.z - (5 - 0.4 * x - 0.16 * np.clip(p.y - 35, 0, None))
    return np.maximum(above, 0.42 * x + 2 - p.y)


def callosum_depth(p: Points) -> Float[np.ndarray, "i k j"]:
    """Depth inside the ellipse (in the midline) that the fissure between the hemispheres leaves free, mm."""
    return (1 - np.sqrt(((p.y + 2) / 44) ** 2 + ((p.z - 4) / 27) ** 2)) * 32


def ventricle_depth(p: Points, grid: Grid, head: Head) -> Float[np.ndarray, "i k j"]:
    """Depth below the walls of the lateral, third and fourth ventricle, mm."""
    depth = np.full(grid.shape, -20, np.float32)
    size = head.ventricles

    def add(low: Point, high: Point, shape: Float[np.ndarray, "i k j"] | None = None) -> tuple[slice, slice, slice]:
        return grid.box(low, high)

    for side in _SIDES:
        for start, end, radii in VENTRICLES:
            a, b = (side * start[0], *start[1:]), (side * end[0], *end[1:])
            box = add(tuple(np.minimum(a, b) - 12), tuple(np.maximum(a, b) + 12))  # type: ignore[arg-type]
            tube = capsule(p.at(box), a, b, (radii[0] * size, radii[1] * size))  # type: ignore[arg-type]
            depth[box] = np.maximum(depth[box], tube)
    third = max(1.0, 2.6 * size - 0.6)
    for center, radii3 in (((0, 1, 1), (third, 15, 11)), ((0, 37, -31), (6.5 * size, 5.5 * size, 10))):
        box = add(tuple(np.subtract(center, radii3)), tuple(np.add(center, radii3)))  # type: ignore[arg-type]
        depth[box] = np.maximum(depth[box], ellipsoid(p.at(box), center, radii3))  # type: ignore[arg-type]
    return depth


def pia_depth(p: Points, grid: Grid, head: Head, depth: Float[np.ndarray, "i k j"]) -> Float[np.ndarray, "i k j"]:
    """Depth below the folded surface of the brain, given the ``depth`` below skull and collections, mm."""
    old = head.atrophy
    patches = grid.spread(head.patches)
    surface = depth - (0.7 + 1.8 * old + (0.4 + 1.2 * old) * np.clip(-p.y * 0.012, 0, 1))
    away = np.abs(grid.spread(head.fold)) * (FOLD_MM / (2 * np.pi) * 1.25)
    below = np.clip(-tentorium_mm(p) * 0.4, 0, 1)
    # Half the width of a sulcus: negative where the gyri touch, so that only some of a tight brain's sulci show.
    half = -0.55 + 1.5 * old + 0.35 * patches - 0.5 * below
    reach = 11 + 5 * old + 5 * patches - 7 * below
    pia = np.minimum(surface, np.maximum(away - half + 0.04 * surface, surface - reach))
    _fissures(p, grid, pia, old)
    _cisterns(p, grid, pia, old)
    return pia


def _fissures(p: Points, grid: Grid, pia: np.ndarray, old: float) -> None:
    box = grid.box((-6, -95, -60), (6, 95, 95))
    q = p.at(box)
    wide = 0.9 + 0.9 * old + np.clip(-q.y * 0.015, 0, 1) * (0.3 + old)
    cleft = np.maximum(np.abs(q.x) - wide, np.maximum(callosum_depth(q), 0 - tentorium_mm(q)))
    pia[box] = np.minimum(pia[box], cleft)
    for side in _SIDES:
        box = grid.box((side * 52 - 22, -38, -25), (side * 52 + 22, 34, 30))
        q = p.at(box)
        x = side * q.x
        bend = x - 36 - 0.006 * (q.y + 2) ** 2 * -1
        insula = np.maximum(
            np.abs(bend) - 0.5 - 1.1 * old, (np.sqrt(((q.y + 2) / 23) ** 2 + ((q.z - 3) / 14) ** 2) - 1) * 14
        )
        front = np.clip(-(q.y + 5) * 0.06, 0, 1.5)
        cleft = np.abs(q.z - 0.38 * (q.y + 6) + 2) - 0.6 - 1.6 * old - front
        lateral = np.maximum(cleft, np.maximum(36 - x, np.abs(q.y + 1) - 27))
        pia[box] = np.minimum(pia[box], np.minimum(insula, lateral))


def _cisterns(p: Points, grid: Grid, pia: np.ndarray, old: float) -> None:
    size = 0.85 + 0.35 * old
    for center, radii in (
        ((0, -9, -18), (13, 10, 7)),  # suprasellar
        ((0, 29, -3), (10, 4.5, 8)),  # quadrigeminal
        ((0, 72, -54), (12, 9, 9)),  # magna
        ((26, -14, -14), (9, 3, 3)),  # stem of the Sylvian fissure
        ((-26, -14, -14), (9, 3, 3)),
    ):
        radii = tuple(r * size for r in radii)
        box = grid.box(tuple(np.subtract(center, radii)), tuple(np.add(center, radii)))  # type: ignore[arg-type]
        pia[box] = np.minimum(pia[box], -ellipsoid(p.at(box), center, radii))  # type: ignore[arg-type]
    box = grid.box((-22, -8, -70), (22, 44, 4))
    q = p.at(box)
    stem = brainstem_depth(q)
    # Fluid round the stem: everywhere round the midbrain, in front only further down, where the cerebellum begins.
    around = np.abs(stem + 1.7 * size) - 1.7 * size
    around = np.maximum(around, np.minimum(-18 - q.z, q.y - 12) * 0.5)
    pia[box] = np.where(stem > 0, np.maximum(pia[box], stem), np.minimum(pia[box], around))


def brainstem_depth(p: Points) -> Float[np.ndarray, "i k j"]:
    """Depth below the surface of midbrain, pons and medulla, mm."""
    midbrain = ellipsoid(p, (0, 13, -9), (14, 12, 13))
    pons = ellipsoid(p, (0, 16, -28), (15, 12, 15))
    return np.maximum(np.maximum(midbrain, pons), capsule(p, (0, 24, -36), (0, 31, -120), (8, 6)))


def paint_brain(p: Points, grid: Grid, head: Head, depth: Float[np.ndarray, "i k j"]) -> Brain:
    """The brain in a cavity of which collections have been taken off (``depth`` below what is left of it, mm)."""
    edge = grid.edge_mm
    pia, ventricle = pia_depth(p, grid, head, depth), ventricle_depth(p, grid, head)
    fine = grid.spread(head.texture)
    hu = head.white_hu + 0.5 * fine
    aged = np.clip(1 + ventricle * 0.12, 0, 1) * (5 * head.atrophy)
    hu -= aged
    below = coverage(-tentorium_mm(p), edge)
    paint(hu, head.grey_hu, coverage(3.1 + 0.5 * fine - pia, 2.2) * (1 - 0.5 * below))
    paint(hu, head.grey_hu - 2.5, below * 0.55)
    _deep_grey(p, grid, head, hu)
    _infarct(p, head, hu, grid)
    fluid = np.maximum(coverage(-pia, edge), coverage(ventricle, edge))
    paint(hu, CSF_HU, fluid)
    _calcified(p, grid, head, hu)
    _dura_and_vessels(p, grid, head, hu, depth)
    return Brain(hu=hu, pia=pia, ventricle=ventricle)


def _deep_grey(p: Points, grid: Grid, head: Head, hu: np.ndarray) -> None:
    for side in _SIDES:
        for center, radii in (
            ((11, 8, 4), (8.5, 13, 9)),  # thalamus
            ((14, -20, 9), (5, 10, 11)),  # head of the caudate nucleus
            ((25, -3, 2), (6, 17, 9)),  # putamen and pallidum
        ):
            at = (side * center[0], center[1], center[2])
            box = grid.box(tuple(np.subtract(at, radii)), tuple(np.add(at, radii)))  # type: ignore[arg-type]
            paint(hu[box], head.grey_hu + 0.5, coverage(ellipsoid(p.at(box), at, radii), 2.5))


def _infarct(p: Points, head: Head, hu: np.ndarray, grid: Grid) -> None:
    center, radius = head.infarct
    if radius:
        box = grid.box(tuple(np.subtract(center, radius + 5)), tuple(np.add(center, radius + 5)))  # type: ignore[arg-type]
        patchy = ellipsoid(p.at(box), center, (radius, radius, radius)) + 3.5 * grid.spread(head.patches)[box]
        paint(hu[box], 15.0, coverage(patchy, 5))


def _calcified(p: Points, grid: Grid, head: Head, hu: np.ndarray) -> None:
    spots: list[tuple[Point, Point, float]] = [((0, 24, 3), (2.6, 3, 3), head.pineal_hu)]
    for side in _SIDES:
        spots.append(((side * 23, 40, 12), (2.6, 5.5, 3), head.plexus_hu))
        spots.append(((side * 19, -2, 1), (3, 6, 4), head.ganglia_hu))
    for center, radii, value in spots:
        if value:
            box = grid.box(tuple(np.subtract(center, radii)), tuple(np.add(center, radii)))  # type: ignore[arg-type]
            paint(hu[box], value, coverage(ellipsoid(p.at(box), center, radii), 2.0))


def _dura_and_vessels(p: Points, grid: Grid, head: Head, hu: np.ndarray, depth: np.ndarray) -> None:
    edge = grid.edge_mm
    above = tentorium_mm(p)
    # Partial volume: a falx of 1 mm in voxels of ``edge`` never covers more than its share.
    share = min(1.0, 1.1 / edge)
    box = grid.box((-4, -95, -30), (4, 95, 95))
    q = p.at(box)
    falx = np.minimum(0.55 - np.abs(q.x), np.minimum(above[box], -callosum_depth(q) - 3))
    paint(hu[box], head.dura_hu, coverage(falx, edge) * share)
    notch = np.sqrt((p.x / 17) ** 2 + ((p.y - 14) / 26) ** 2) - 1
    leaf = np.minimum(0.8 - np.abs(above), np.minimum(notch * 17, p.y - 0.42 * np.abs(p.x) - 3))
    paint(hu, head.dura_hu, coverage(leaf, edge) * share * 0.8)
    # Sagittal sinus and torcula: a triangle under the skull in the midline, behind and above.
    box = grid.box((-8, -40, -15), (8, 95, 95))
    q = p.at(box)
    sinus = np.minimum(4.5 - np.abs(q.x) - 0.7 * depth[box], q.y + 0.5 * q.z - 10)
    paint(hu[box], head.vessel_hu + 6, coverage(sinus, edge))
    for side in _SIDES:  # middle cerebral artery, basilar artery
        for start, end, radius in (((7, -10, -15), (34, -14, -13), 1.3), ((0, 1, -20), (0, 3, -42), 1.6)):
            a, b = (side * start[0], *start[1:]), (side * end[0], *end[1:])
            box = grid.box(tuple(np.minimum(a, b) - 2), tuple(np.maximum(a, b) + 2))  # type: ignore[arg-type]
            paint(hu[box], head.vessel_hu, coverage(capsule(p.at(box), a, b, (radius, radius)), edge))  # type: ignore[arg-type]
