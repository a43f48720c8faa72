"""What surgery leaves in a head: openings of the skull, flaps put back, tubes, bandages."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ichformer.ct.phantom.anatomy.grid import Grid
from ichformer.ct.phantom.anatomy.head import Head
from ichformer.ct.phantom.anatomy.shapes import Point, Points, capsule, coverage, paint
from ichformer.ct.phantom.anatomy.skull import on_skull

_SCAR_HU, _DRAIN_HU, _DRESSING_HU = 36.0, 220.0, -550.0


@dataclass(frozen=True, kw_only=True)
class Opening:
    """A round hole in the calvarium, ``at`` a direction from the head's centre.

    Attributes:
      at: direction of unit length.
      radius_mm: of the hole.
      rim_mm: width of the saw's gap round a flap that was put back; 0 where the bone is gone.
    """

    at: Point
    radius_mm: float
    rim_mm: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Tube:
    """A catheter through bone and brain, or a tube of plastic beside the head, in mm of the standard head."""

    at: Point
    to: Point
    radius: float


@dataclass(frozen=True, kw_only=True)
class Surgery:
    """What was done to a head; the defaults are nothing. ``dressing_mm`` is the thickness of a bandage."""

    openings: tuple[Opening, ...] = ()
    tubes: tuple[Tube, ...] = ()
    dressing_mm: float = 0.0


def draw_flap(rng: np.random.Generator, *, put_back: bool) -> tuple[Opening, ...]:
    """A craniotomy with its burr holes, or a craniectomy."""
    at = _direction(rng.choice([-1.0, 1.0]) * rng.uniform(0.55, 1), rng.uniform(-0.7, 0.3), rng.uniform(0.15, 0.6))
    if not put_back:
        return (Opening(at=at, radius_mm=float(rng.uniform(28, 50))),)
    radius = float(rng.uniform(22, 40))
    flap = Opening(at=at, radius_mm=radius, rim_mm=float(rng.uniform(1.2, 3)))
    holes = []
    across = np.cross(at, (0.0, 0.0, 1.0))
    across /= np.linalg.norm(across)
    for turn in rng.uniform(0, 2 * np.pi) + np.arange(int(rng.integers(2, 5))) * (np.pi / 2):
        beside = np.cos(turn) * across + np.sin(turn) * np.cross(at, across)
        holes.append(
            Opening(at=_direction(*(np.asarray(at) + beside * radius / 82)), radius_mm=float(rng.uniform(4, 7)))
        )
    return (flap, *holes)


def draw_burr_holes(rng: np.random.Generator) -> tuple[Opening, ...]:
    """One or two burr holes over the front or the side of one hemisphere."""
    side = rng.choice([-1.0, 1.0])
    places = rng.permutation([(0.4, -0.65, 0.65), (0.65, 0.45, 0.6)])[: int(rng.integers(1, 3))]
    return tuple(
        Opening(
            at=_direction(side * x, y + rng.normal(0, 0.06), z + rng.normal(0, 0.06)),
            radius_mm=float(rng.uniform(5, 8)),
        )
        for x, y, z in places
    )


def draw_shunt(rng: np.random.Generator, head: Head) -> tuple[tuple[Opening, ...], tuple[Tube, ...]]:
    """A catheter from a burr hole to a frontal horn or an atrium, and its way under the scalp."""
    side = float(rng.choice([-1.0, 1.0]))
    if rng.random() < 0.6:
        at, tip = _direction(side * 0.38, -0.55, 0.75), (side * 7.0, -16.0, 10.0)
    else:
        at, tip = _direction(side * 0.45, 0.8, 0.35), (side * 14.0, 20.0, 19.0)
    foot = on_skull(head, np.asarray(at), 0.0)
    below = on_skull(head, np.asarray(_direction(side * 0.8, 0.45, 0.1)), head.bone + 3)
    above = on_skull(head, np.asarray(at), head.bone + 3)
    radius = float(rng.uniform(1.1, 1.7))
    inner = Tube(at=_point(foot), to=tip, radius=radius)
    return (Opening(at=at, radius_mm=5.0),), (inner, Tube(at=_point(above), to=_point(below), radius=radius))


def draw_tubes(rng: np.random.Generator) -> tuple[Tube, ...]:
    """Tubes and cables beside the face, or on the pillow."""
    tubes = []
    for _ in range(int(rng.integers(1, 4))):
        x, y = float(rng.choice([-1.0, 1.0]) * rng.uniform(88, 99)), float(rng.uniform(-100, 60))
        low, high = sorted(rng.uniform(-60, 80, 2))
        tubes.append(Tube(at=(x, y, float(low)), to=(0.95 * x, y + float(rng.normal(0, 25)), float(high)), radius=2.5))
    return tuple(tubes)


def paint_surgery(
    surgery: Surgery,
    p: Points,
    grid: Grid,
    head: Head,
    hu: Float[np.ndarray, "i k j"],
    *,
    vault: Float[np.ndarray, "i k j"],
) -> None:
    """Paint it into ``hu``, in place; ``vault`` is the depth below the inner calvarium, mm."""
    for opening in surgery.openings:
        x, y, z = _point(on_skull(head, np.asarray(opening.at), 0.5 * head.bone))
        reach = opening.radius_mm + 6
        box = grid.around((x, y, z), (x, y, z), (reach, reach, reach))
        q, depth = p.at(box), vault[box]
        far = np.sqrt((q.x - x) ** 2 + (q.y - y) ** 2 + (q.z - z) ** 2)
        gap = opening.rim_mm / 2 - np.abs(far - opening.radius_mm) if opening.rim_mm else opening.radius_mm - far
        bone = np.clip((hu[box] - 150) * (1 / 250), 0, 1) * ((depth < 2) & (depth > -2.2 * head.bone))
        paint(hu[box], _SCAR_HU, coverage(gap, grid.edge_mm) * bone)
    for tube in surgery.tubes:
        box = grid.around(tube.at, tube.to, [tube.radius] * 3)
        paint(hu[box], _DRAIN_HU, coverage(capsule(p.at(box), tube.at, tube.to, [tube.radius] * 2), grid.edge_mm))
    if surgery.dressing_mm:
        outside = -vault - head.bone * 1.1 - head.scalp
        layer = surgery.dressing_mm * (1 + 0.3 * grid.spread(head.thickness)) - outside
        gauze = _DRESSING_HU + 250 * np.sin(outside * 2)
        paint(hu, gauze, coverage(np.minimum(layer, p.z + 5), 2.0) * (hu < -700))


def _direction(x: float, y: float, z: float) -> Point:
    return _point(np.array([x, y, z]) / np.linalg.norm([x, y, z]))


def _point(values: np.ndarray) -> Point:
    return float(values[0]), float(values[1]), float(values[2])
