"""What confounders add that is no parameter of the head, and how what lies in dura, brain and skull is painted."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ichformer.ct.phantom.anatomy.grid import Grid
from ichformer.ct.phantom.anatomy.head import Head
from ichformer.ct.phantom.anatomy.shapes import Point, Points, coverage, ellipsoid, paint
from ichformer.ct.phantom.anatomy.skull import on_skull
from ichformer.ct.phantom.anatomy.surface import tentorium_mm
from ichformer.ct.phantom.findings.implants import Rod
from ichformer.ct.phantom.findings.surgery import Surgery
from ichformer.ct.phantom.findings.variants import Spot

_GAP_HU = 45.0
"""Blood and soft tissue that fill a fresh fracture."""


@dataclass(frozen=True, kw_only=True)
class Fracture:
    """A gap ``width_mm`` wide and ``length_mm`` long in the skull, round ``at``, in the plane with the unit ``normal``.

    ``at`` and ``normal`` are directions from the head's centre.
    """

    at: Point
    normal: Point
    width_mm: float
    length_mm: float


@dataclass(frozen=True, kw_only=True)
class Motion:
    """A move of the head during one turn of the tube.

    Attributes:
      height: of the first slice that shows it, as a share of the stack.
      slices: how many show it.
      turn_deg, shift_mm: the move in the plane; the shift is (x, y).
      begin, share: from where on and for which share of the half turn the head lay displaced.
    """

    height: float
    slices: int
    turn_deg: float
    shift_mm: tuple[float, float]
    begin: float
    share: float


@dataclass(frozen=True, kw_only=True)
class Signs:
    """What the confounders add that is no parameter of the head; the defaults add nothing.

    Attributes:
      impact: direction from the head's centre where a blow fell: the scalp and the bone under it suffer together.
      spots: of another density in the brain.
      sinus_hu: of dense dural sinuses, 0 where they are as usual.
      sinus_sides: which transverse sinuses are dense, +1 left, -1 right.
      fracture: of the calvarium.
      metal: rods of it.
      hardening: of the beam by bone, over what ``artefacts`` takes for usual without any correction.
      motion: of the head during the scan.
      air_mm: thickness of the air under the frontal bone and how far in front its level lies; None where there is none.
      surgery: what is left of it.
    """

    impact: tuple[float, float, float]
    spots: tuple[Spot, ...] = ()
    sinus_hu: float = 0.0
    sinus_sides: tuple[float, ...] = ()
    fracture: Fracture | None = None
    metal: tuple[Rod, ...] = ()
    hardening: float = 0.0
    motion: Motion | None = None
    air_mm: tuple[float, float] | None = None
    surgery: Surgery | None = None


def paint_inside(
    signs: Signs,
    p: Points,
    grid: Grid,
    hu: Float[np.ndarray, "i k j"],
    *,
    depth: Float[np.ndarray, "i k j"],
) -> None:
    """Dense sinuses, spots and air, into the cavity's content, in place; ``depth`` below its surface, mm."""
    if signs.sinus_hu:
        above = tentorium_mm(p)
        back = np.minimum(p.y + 0.5 * p.z - 10, above + 6)
        inside = np.minimum(5 - np.abs(p.x) - 0.7 * depth, back)
        # A transverse sinus runs in the angle between skull and tentorium, as far as the petrous bone.
        at_skull = np.minimum(4 - np.abs(above), np.minimum(6 - depth, p.y - 22))
        for side in signs.sinus_sides:
            inside = np.maximum(inside, np.minimum(at_skull, side * p.x + 4))
        paint(hu, signs.sinus_hu, coverage(inside, grid.edge_mm))
    for spot in signs.spots:
        box = grid.around(spot.at, spot.at, spot.radii)
        paint(hu[box], spot.hu, coverage(ellipsoid(p.at(box), spot.at, spot.radii), grid.edge_mm))
    if signs.air_mm:
        # It rises to the forehead of a patient on the back, and its lower face is level.
        box = grid.box((-70, -100, -25), (70, -30, 80))
        thick, level = signs.air_mm
        air = np.minimum(thick - depth[box] - 2 * np.clip(2 - np.abs(p.x[box]), 0, 1), -level - p.y[box])
        paint(hu[box], -1000.0, coverage(air, grid.edge_mm))


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
    foot = on_skull(head, at, 0.0)
    off = p.x * normal[0] + p.y * normal[1] + p.z * normal[2] + 1.5 * grid.spread(head.patches)
    far = np.sqrt((p.x - foot[0]) ** 2 + (p.y - foot[1]) ** 2 + (p.z - foot[2]) ** 2)
    # It narrows towards its ends.
    inside = gap.width_mm / 2 * np.clip(3 - 6 * far / gap.length_mm, 0, 1) - np.abs(off)
    bone = np.clip((hu - 150) * (1 / 250), 0, 1) * ((vault < 2) & (vault > -2 * head.bone))
    paint(hu, _GAP_HU, coverage(inside, grid.edge_mm) * (far < gap.length_mm / 2) * bone)
