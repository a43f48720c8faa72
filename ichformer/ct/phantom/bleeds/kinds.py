"""The kinds of bleeds: how each moves the brain, how thick it lies under the skull, and which voxels it fills."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float

from ichformer.ct.phantom.anatomy.brain import Brain
from ichformer.ct.phantom.anatomy.grid import Box, Grid, bounds
from ichformer.ct.phantom.anatomy.head import Head
from ichformer.ct.phantom.anatomy.shapes import Point, Points, coverage
from ichformer.ct.phantom.anatomy.skull import vault_depth
from ichformer.ct.phantom.anatomy.surface import callosum_depth, tentorium_mm
from ichformer.ct.phantom.bleeds.bleed import Bleed
from ichformer.ct.phantom.bleeds.lobes import lobes


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """Where bleeds are painted.

    Attributes:
      brain: as ``paint_brain`` left it.
      p: coordinates of the (pushed) brain.
      head_at: coordinates of the head.
      grid: where.
      head: whose texture is used.
      depth: below the inner skull, mm.
      thick: thickness of each collection under the skull, mm.
    """

    brain: Brain
    p: Points
    head_at: Points
    grid: Grid
    head: Head
    depth: Float[np.ndarray, "i k j"]
    thick: Mapping[Bleed, Float[np.ndarray, "i k j"]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Painted:
    """Which voxels a bleed fills.

    Attributes:
      box: the part of the grid that holds it.
      share: of each voxel there that is blood.
      inside_mm: depth below the bleed's surface.
    """

    box: Box
    share: Float[np.ndarray, "i k j"]
    inside_mm: Float[np.ndarray, "i k j"]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What is particular to one kind of bleed.

    Attributes:
      fill: which voxels are blood.
      push_mm: how far it moves the brain at points of the head; None where it does not.
      thickness_mm: of a collection between skull and brain; None for all others.
    """

    fill: Callable[[Bleed, Scene], Painted]
    push_mm: Callable[[Bleed, Float[np.ndarray, "3 cz cy cx"]], Float[np.ndarray, "3 cz cy cx"]] | None = None
    thickness_mm: Callable[[Bleed, Points, Grid, Head], np.ndarray] | None = None


def _push_aside(bleed: Bleed, points: Float[np.ndarray, "3 cz cy cx"]) -> Float[np.ndarray, "3 cz cy cx"]:
    """Blood in the brain makes room for itself, and so does its oedema."""
    away = points - _at(bleed)
    r = np.sqrt((away**2).sum(axis=0)) + 1e-3
    # Tissue at distance r came from where the volume below it was smaller by a share of the blood's.
    share = 1.0 + 0.03 * min(bleed.oedema_mm, 15)
    room = share * 3 / (4 * np.pi) * bleed.size_ml * 1000
    return away / r * (r - np.cbrt(np.maximum(r**3 - room, 0))) * np.exp(-((r / 60) ** 4))


def _push_in(
    bleed: Bleed, points: Float[np.ndarray, "3 cz cy cx"], *, wide_mm: float
) -> Float[np.ndarray, "3 cz cy cx"]:
    """A collection shifts the brain away from the skull."""
    at = _at(bleed)
    far = ((points - at * 76) ** 2).sum(axis=0)
    # A small one is a dent, a wide one moves the hemisphere.
    wide_mm = min(wide_mm, 20 + bleed.reach_mm)
    return -(at * min(bleed.thick_mm, 26) * np.exp(far * (-1 / (2 * wide_mm**2))))


def _at(bleed: Bleed) -> np.ndarray:
    return np.asarray(bleed.at, np.float32)[:, None, None, None]


def _lens_mm(bleed: Bleed, p: Points, grid: Grid, head: Head) -> np.ndarray:
    # Where the axis meets the skull: the lens ends where its radius around that ends.
    foot = np.asarray(bleed.at) * (80 + float(vault_depth(Points(*_single(bleed.at, 80)), head).item()))
    off = (p.x - foot[0]) ** 2 + (p.y - foot[1]) ** 2 + (p.z - foot[2]) ** 2
    value = bleed.thick_mm * np.clip(1 - off * (1 / bleed.reach_mm**2), 0, 1)
    value *= 1 + 0.1 * grid.spread(head.patches)
    # Dura is sewn to the bone at the sutures, coronal and lambdoid.
    for normal, offset in (((0, 0.97, -0.24), 12.0), ((0, 0.88, -0.48), -44.0)):
        distance = p.y * normal[1] + p.z * normal[2] + offset
        own = float(foot @ np.asarray(normal)) + offset
        room = max(0.35 * bleed.reach_mm - abs(own), 0)
        value *= np.sqrt(np.clip((np.sign(own) * distance + room) * 0.08, 0, 1))
    return value


def _single(direction: Point, length_mm: float) -> list[np.ndarray]:
    return [np.full((1, 1, 1), length_mm * value, np.float32) for value in direction]


def _crescent_mm(bleed: Bleed, p: Points, grid: Grid, head: Head) -> np.ndarray:
    n = bleed.at
    radius = np.sqrt(p.x**2 + p.y**2 + p.z**2) + 1e-3
    cos = (p.x * n[0] + p.y * n[1] + p.z * n[2]) / radius
    off = (2 - 2 * cos) * (76 / bleed.reach_mm) ** 2
    ragged = 1 + 0.22 * grid.spread(head.patches)
    value = bleed.thick_mm * np.clip(1 - off * off, 0, 1) * ragged * np.clip(bleed.side * p.x * 0.25 - 0.4, 0, 1)
    # It stays above the tentorium, thin on the floors of the fossae, or below it.
    below = n[2] < -0.2
    value *= np.clip(tentorium_mm(p) * (-0.3 if below else 0.3), 0, 1)
    return value if below else value * np.clip(1 + 0.04 * p.z, 0.2, 1)


def _collection(bleed: Bleed, at: Scene) -> Painted:
    thick = at.thick[bleed]
    box = bounds(thick > 0.4)
    inside, depth = thick[box] - at.depth[box], at.depth[box]
    share = coverage(inside, at.grid.edge_mm) * coverage(depth, at.grid.edge_mm) * (thick[box] > 0.4)
    return Painted(box=box, share=share, inside_mm=np.minimum(inside, depth))


def _falx(bleed: Bleed, at: Scene) -> Painted:
    _, y, z = bleed.at
    r, t = bleed.reach_mm, bleed.thick_mm
    box = at.grid.box((-t, y - r, z - r), (t, y + r, z + r))
    p = at.p.at(box)
    off = np.sqrt((p.y - y) ** 2 + (p.z - z) ** 2) / r
    width = t * np.clip(1 - off**2, 0, 1) * (1 + 0.3 * at.grid.part(box).spread(at.head.patches))
    x = bleed.side * p.x
    inside = np.minimum(np.minimum(x - 0.6, 0.6 + width - x), np.minimum(tentorium_mm(p), -callosum_depth(p) - 2))
    share = coverage(inside, at.grid.edge_mm) * (width > 0.4) * coverage(at.depth[box], at.grid.edge_mm)
    return Painted(box=box, share=share, inside_mm=inside)


def _tentorium(bleed: Bleed, at: Scene) -> Painted:
    x, y, _ = bleed.at
    r, t = bleed.reach_mm, bleed.thick_mm
    box = at.grid.box((x - r, y - r, -32), (x + r, y + r, 12 + t))
    p = at.p.at(box)
    off = np.sqrt((p.x - x) ** 2 + (p.y - y) ** 2) / r
    width = t * np.clip(1 - off**3, 0, 1) * (1 + 0.25 * at.grid.part(box).spread(at.head.patches))
    above = tentorium_mm(p)
    # The midbrain passes through the notch between the leaves.
    notch = (np.sqrt((p.x / 17) ** 2 + ((p.y - 14) / 26) ** 2) - 1) * 17
    inside = np.minimum(np.minimum(above - 0.3, 0.3 + width - above), np.minimum(notch, bleed.side * p.x - 1.5))
    share = coverage(inside, at.grid.edge_mm) * (width > 0.4) * coverage(at.depth[box], at.grid.edge_mm)
    return Painted(box=box, share=share, inside_mm=inside)


def _clot(bleed: Bleed, at: Scene) -> Painted:
    box, inside = lobes(bleed, at.head_at, at.grid)
    edge = at.grid.edge_mm
    share = coverage(inside, edge) * coverage(at.brain.pia[box] + 1, 2) * coverage(at.depth[box] - 0.5, edge)
    return Painted(box=box, share=share, inside_mm=inside)


def _level(bleed: Bleed, at: Scene) -> Painted:
    """Blood in the ventricles from the back, in one of them to a higher level."""
    order = np.broadcast_to(at.grid.y_mm[:, None, None], at.grid.shape)
    return _in_ventricles(bleed, at, order + abs(bleed.at[0]) * (bleed.side * at.p.x > 0))


def _cast(bleed: Bleed, at: Scene) -> Painted:
    """Blood in the ventricles round one place."""
    x, y, z = bleed.at
    near = -np.sqrt((at.p.x - x) ** 2 + (at.p.y - y) ** 2 + (at.p.z - z) ** 2)
    return _in_ventricles(bleed, at, near + 4 * at.grid.spread(at.head.patches))


def _in_ventricles(bleed: Bleed, at: Scene, order: np.ndarray) -> Painted:
    depth = at.brain.ventricle + bleed.swell_mm
    box = bounds(depth > -at.grid.edge_mm)
    within, order = coverage(depth[box], at.grid.edge_mm), order[box]
    edge = _last_of(bleed, within, order, at.grid)
    return Painted(box=box, share=within * coverage(order - edge, 1.5), inside_mm=depth[box])


def _fluid(bleed: Bleed, at: Scene) -> Painted:
    """Blood in the cisterns and sulci, from the middle of ``parts`` outwards, thinning out where it ends."""
    near = np.full(at.grid.shape, -1, np.float32)
    for part in bleed.parts:
        box = at.grid.around(part.at, part.at, part.radii)
        q = at.p.at(box)
        square = sum(((x - c) * (1 / r)) ** 2 for x, c, r in zip(q, part.at, part.radii, strict=True))
        near[box] = np.maximum(near[box], 1 - np.sqrt(square))
    box = bounds(near > -1)
    fluid = bleed.swell_mm - at.brain.pia[box]
    within = coverage(fluid, at.grid.edge_mm) * coverage(at.depth[box] - 1.2, at.grid.edge_mm)
    within *= coverage(-at.brain.ventricle[box] - 1, 1) * (near[box] > -1)
    order = near[box] + 0.15 * at.grid.part(box).spread(at.head.patches)
    edge = _last_of(bleed, within, order, at.grid)
    return Painted(box=box, share=within * np.clip(0.5 + 2.5 * (order - edge), 0, 1), inside_mm=fluid)


def _last_of(bleed: Bleed, within: np.ndarray, order: np.ndarray, grid: Grid) -> float:
    """The ``order`` down to which the space ``within`` holds the bleed's volume, or three quarters of the space."""
    where = within > 0.1
    if not where.any():
        return np.inf
    ranked = np.argsort(-order[where])
    ml = np.cumsum(within[where][ranked]) * (grid.voxel_mm3 / 1000)
    last = np.searchsorted(ml, min(bleed.size_ml, 0.75 * ml[-1]))
    return float(order[where][ranked[last]])


KINDS: Mapping[str, Kind] = {
    "lens": Kind(fill=_collection, push_mm=partial(_push_in, wide_mm=64.0), thickness_mm=_lens_mm),
    "crescent": Kind(fill=_collection, push_mm=partial(_push_in, wide_mm=80.0), thickness_mm=_crescent_mm),
    "falx": Kind(fill=_falx),
    "tentorium": Kind(fill=_tentorium),
    "clot": Kind(fill=_clot, push_mm=_push_aside),
    "spots": Kind(fill=_clot),
    "level": Kind(fill=_level),
    "cast": Kind(fill=_cast),
    "fluid": Kind(fill=_fluid),
}
"""By ``Bleed.kind``."""
