"""The surface of the brain: sulci, fissures, cisterns, and the leaves of dura that part it."""

import numpy as np
from jaxtyping import Float

from ichformer.ct.phantom.anatomy.grid import Grid, bounds
from ichformer.ct.phantom.anatomy.head import FOLD_MM, Head
from ichformer.ct.phantom.anatomy.shapes import Point, Points, capsule, ellipsoid

SIDES = (-1.0, 1.0)

_CISTERNS: tuple[tuple[Point, Point], ...] = (
    ((0, -9, -18), (11, 8.5, 6)),  # suprasellar
    ((0, 30, -3), (9, 4, 7)),  # quadrigeminal
    ((0, 72, -54), (11, 8, 9)),  # magna
    ((24, -15, -13), (11, 2.6, 3)),  # stems of the Sylvian fissures
    ((-24, -15, -13), (11, 2.6, 3)),
)

_CORE: tuple[Point, Point] = ((0, 2, 6), (36, 36, 26))


def tentorium_mm(p: Points) -> Float[np.ndarray, "i k j"]:
    """Height above the tentorium; where it has no leaf (in front of the petrous ridge) it is large."""
    x = np.abs(p.x)
    above = p.z - (5 - 0.4 * x - 0.16 * np.clip(p.y - 35, 0, None))
    return np.maximum(above, 0.42 * x + 2 - p.y)


def callosum_depth(p: Points) -> Float[np.ndarray, "i k j"]:
    """Depth inside the ellipse (in the midline) that the fissure between the hemispheres leaves free, mm."""
    return (1 - np.sqrt(((p.y + 2) / 44) ** 2 + ((p.z - 4) / 27) ** 2)) * 32


def brainstem_depth(p: Points) -> Float[np.ndarray, "i k j"]:
    """Depth below the surface of midbrain, pons and medulla, mm."""
    between_peduncles = np.clip(7 - p.y, 0, 8) * np.clip(1.6 - np.abs(p.x) * 0.25, 0, 1)
    midbrain = ellipsoid(p, (0, 14, -10), (15, 11.5, 13)) - 0.8 * between_peduncles
    pons = ellipsoid(p, (0, 16, -28), (15, 12, 15))
    return np.maximum(np.maximum(midbrain, pons), capsule(p, (0, 24, -36), (0, 31, -120), (8, 6)))


def pia_depth(p: Points, grid: Grid, head: Head, depth: Float[np.ndarray, "i k j"]) -> Float[np.ndarray, "i k j"]:
    """Depth below the folded surface of the brain, given the ``depth`` below skull and collections, mm."""
    old = head.atrophy
    patches, above = grid.spread(head.patches), tentorium_mm(p)
    surface = depth - (0.4 + 1.8 * old + (0.3 + 1.2 * old) * np.clip(-p.y * 0.012, 0, 1))
    _fissures(p, grid, surface, above, old, patches)
    wave = grid.spread(head.fold)
    fold = np.abs(wave) * (FOLD_MM / (2 * np.pi) * 1.25)
    # Half the width of a sulcus: negative where the gyri touch, so that only some of a tight brain's sulci show.
    half = (1.4 * old - 0.65) + 0.5 * patches + np.clip(p.z * 0.014 - 0.35, 0, 0.7)
    reach = (12 + 4 * old) + 4 * patches
    pia = np.maximum(fold - half + 0.05 * surface, surface - reach)
    # No sulcus reaches the deep nuclei.
    core = grid.around(_CORE[0], _CORE[0], _CORE[1])
    pia[core] = np.maximum(pia[core], ellipsoid(p.at(core), *_CORE) + 3 * patches[core])
    # The folia of the cerebellum are a third as wide, and lie like the leaves of a book.
    back = bounds(above < 2)
    folia = np.abs(np.sin(2.5 * wave[back] + 0.55 * p.z[back])) * (FOLD_MM / (2 * np.pi) / 2.4)
    leaf = np.maximum(folia - 0.7 * half[back] + 0.1 + 0.05 * surface[back], surface[back] - 8)
    pia[back] += (leaf - pia[back]) * np.clip(-above[back] * 0.4, 0, 1)
    pia = np.minimum(surface, pia)
    _cisterns(p, grid, pia, old, patches)
    return pia


def _fissures(p: Points, grid: Grid, surface: np.ndarray, above: np.ndarray, old: float, patches: np.ndarray) -> None:
    """Take the fissures between the lobes off the brain: their walls are surface, too, and folded as it is."""
    box = grid.box((-12, -95, -60), (12, 95, 95))
    q = p.at(box)
    wide = (0.2 + 1.0 * old) + np.clip(-q.y * 0.015, 0, 1) * (0.2 + old) + 0.5 * patches[box]
    cleft = np.maximum(np.abs(q.x) - wide, np.maximum(callosum_depth(q), -above[box]))
    surface[box] = np.minimum(surface[box], cleft)
    box = grid.box((-70, 10, -30), (70, 95, 25))
    cleft = np.maximum(np.abs(above[box]) - (0.3 + 0.6 * old), 12 - p.y[box])
    surface[box] = np.minimum(surface[box], cleft)
    for side in SIDES:
        # Over the insula, and from there out to the skull between temporal and frontal lobe, wider in front.
        box = grid.box((side * 52 - 22, -38, -25), (side * 52 + 22, 34, 34))
        q, uneven = p.at(box), patches[box]
        x = side * q.x
        sheet = np.abs(x - 38 + 0.008 * (q.y + 2) ** 2 + 1.2 * uneven) - (1.3 * old - 0.2) - 0.6 * uneven
        insula = np.maximum(sheet, (np.sqrt(((q.y + 2) / 22) ** 2 + ((q.z - 3) / 13) ** 2) - 1) * 14)
        plane = 0.75 * (q.z - 0.9 * (q.y + 8) + 1) + 2.2 * uneven
        width = (1.6 * old - 0.5) + np.clip(-(q.y + 5) * 0.06, 0, 1.2) + 0.7 * uneven
        cleft = np.maximum(np.abs(plane) - width, np.maximum(37 - x, np.abs(q.y + 1) - 27))
        surface[box] = np.minimum(surface[box], np.minimum(insula, cleft))


def _cisterns(p: Points, grid: Grid, pia: np.ndarray, old: float, patches: np.ndarray) -> None:
    size = 0.8 + 0.4 * old
    for center, radii in _CISTERNS:
        scaled = [radius * size for radius in radii]
        box = grid.around(center, center, scaled)
        q = p.at(box)
        # With arms, as the star over the sella has.
        arms = (
            0.22 * np.cos(5 * np.arctan2(q.x, center[1] - q.y)) * np.clip(np.abs(q.x) + np.abs(q.y - center[1]), 0, 12)
        )
        pia[box] = np.minimum(pia[box], -ellipsoid(q, center, scaled) - arms - 0.8 * patches[box])
    box = grid.box((-22, -8, -130), (22, 44, 4))
    q = p.at(box)
    stem = brainstem_depth(q)
    # Open behind and beside the midbrain, in front of the pons (behind it are the cerebellar peduncles), all round the
    # medulla; closed where the thalami sit on the midbrain.
    wide = 1.1 * size + 0.55 * patches[box]
    around = np.abs(stem + wide) - wide
    closed = np.where(q.z > -18, 10 - q.y, np.minimum(q.y - 14, np.maximum(q.z + 44, q.y - 30)))
    around = np.maximum(around, np.maximum(closed, q.z + 5) * 0.5)
    # In the canal the cord hangs in fluid.
    around = np.where(q.z < -58, -stem, around)
    pia[box] = np.where(stem > 0, np.maximum(pia[box], stem), np.minimum(pia[box], around))
