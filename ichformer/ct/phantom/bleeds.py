"""Bleeds: what is drawn for each subtype, how it pushes the brain, and how it is painted.

Signs follow the textbook: an epidural haematoma is a lens under one bone, a subdural one a crescent over a hemisphere;
parenchymal blood is a ragged ball with a rim of oedema; blood in the ventricles lies at the back with a level, or fills
them; subarachnoid blood takes the place of fluid in cisterns and sulci.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ichformer import SUBTYPES
from ichformer.ct.phantom.brain import CSF_HU, Brain
from ichformer.ct.phantom.grid import Grid, lattice_points
from ichformer.ct.phantom.head import Head
from ichformer.ct.phantom.shapes import Point, Points, coverage, ellipsoid, paint
from ichformer.ct.phantom.surface import callosum_depth, tentorium_mm


@dataclass(frozen=True, kw_only=True)
class Bleed:
    """One bleed in the standard head.

    Attributes:
      subtype: one of ``SUBTYPES``.
      kind: how it looks: "lens"; "crescent", "falx"; "ball"; "level", "cast"; "cisterns", "sulci".
      at: its centre, mm; for collections under the skull a direction of unit length.
      size_ml: the volume aimed at.
      hu: of the blood.
      layer_hu: of the serum above a level in an old collection; ``hu`` where there is none.
      radii: semi-axes of a ball, mm; (reach, thickness, 0) of a collection.
    """

    subtype: str
    kind: str
    at: Point
    size_ml: float
    hu: float
    layer_hu: float
    radii: Point

    @property
    def side(self) -> float:
        """+1 on the left, -1 on the right."""
        return 1.0 if self.at[0] >= 0 else -1.0


def draw_bleeds(rng: np.random.Generator, subtypes: tuple[str, ...]) -> tuple[Bleed, ...]:
    """One bleed of every subtype asked for, in the order of ``SUBTYPES``; a side is shared as injuries share it."""
    side = float(rng.choice([-1.0, 1.0]))
    draw = {
        "epidural": _epidural,
        "intraparenchymal": _intraparenchymal,
        "intraventricular": _intraventricular,
        "subarachnoid": _subarachnoid,
        "subdural": _subdural,
    }
    # Every subtype draws from its own stream, so that planting one more does not change the others.
    streams = rng.spawn(len(SUBTYPES))
    return tuple(draw[name](stream, side) for name, stream in zip(SUBTYPES, streams, strict=True) if name in subtypes)


def _ml(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _unit(x: float, y: float, z: float) -> Point:
    v = np.array([x, y, z]) / np.linalg.norm([x, y, z])
    return float(v[0]), float(v[1]), float(v[2])


def _epidural(rng: np.random.Generator, side: float) -> Bleed:
    # Opposite to a subdural of the same scan as often as not; under temporal, parietal, frontal or occipital bone.
    side = side if rng.random() < 0.5 else -side
    x, y, z = [(0.93, -0.1, 0.05), (0.8, 0.35, 0.4), (0.6, -0.75, 0.25), (0.5, 0.8, -0.1)][
        rng.choice(4, p=[0.4, 0.3, 0.2, 0.1])
    ]
    size_ml = _ml(rng, 4, 80)
    steep = rng.uniform(0.38, 0.55)  # thickness over radius
    reach = (2 * size_ml * 1000 / (np.pi * steep)) ** (1 / 3)
    hu = float(rng.normal(66, 4))
    at = _unit(side * (x + rng.normal(0, 0.05)), y + rng.normal(0, 0.08), z + rng.normal(0, 0.08))
    return Bleed(
        subtype="epidural", kind="lens", at=at, size_ml=size_ml, hu=hu, layer_hu=hu,
        radii=(float(reach), float(steep * reach), 0.0),
    )  # fmt: skip


def _subdural(rng: np.random.Generator, side: float) -> Bleed:
    if rng.random() < 0.15:
        size_ml, hu = _ml(rng, 3, 9), float(rng.normal(62, 4))
        radii = (float(rng.uniform(32, 45)), 0.0, 0.0)
        return Bleed(
            subtype="subdural", kind="falx", at=(side, float(rng.uniform(-20, 30)), 45.0), size_ml=size_ml, hu=hu,
            layer_hu=hu, radii=(radii[0], float(size_ml * 1000 / (np.pi * radii[0] ** 2 * 0.45)), 0.0),
        )  # fmt: skip
    size_ml = _ml(rng, 8, 80)
    reach = float(np.clip(np.sqrt(size_ml * 1000 / (0.62 * np.pi * rng.uniform(4.5, 7))), 40, 88))
    thick = float(size_ml * 1000 / (0.62 * np.pi * reach**2))
    age = rng.choice(["acute", "subacute", "mixed"], p=[0.6, 0.17, 0.23])
    hu = {"acute": rng.normal(63, 4), "subacute": rng.normal(43, 3), "mixed": rng.normal(58, 4)}[age]
    layer_hu = rng.normal(27, 4) if age == "mixed" else hu
    at = _unit(side, rng.normal(0, 0.3), rng.normal(0.45, 0.12))
    return Bleed(
        subtype="subdural", kind="crescent", at=at, size_ml=size_ml, hu=float(hu), layer_hu=float(layer_hu),
        radii=(reach, thick, 0.0),
    )  # fmt: skip


_LOBES: tuple[tuple[Point, float], ...] = (
    ((26, -2, 3), 0.34),  # putamen
    ((13, 9, 5), 0.14),  # thalamus
    ((28, -46, 22), 0.14),  # frontal lobe
    ((34, 32, 34), 0.14),  # parietal lobe
    ((44, -2, -16), 0.08),  # temporal lobe
    ((24, 60, 12), 0.08),  # occipital lobe
    ((22, 52, -34), 0.08),  # cerebellum
)


def _intraparenchymal(rng: np.random.Generator, side: float) -> Bleed:
    place = int(rng.choice(len(_LOBES), p=[p for _, p in _LOBES]))
    x, y, z = _LOBES[place][0]
    size_ml = _ml(rng, 2, {1: 22, 4: 35, 6: 25}.get(place, 75))
    radius = (3 * size_ml * 1000 / (4 * np.pi)) ** (1 / 3)
    stretch = np.exp(rng.normal(0, 0.13, 3)) * [0.9, 1.15, 1.0]
    stretch /= np.prod(stretch) ** (1 / 3)
    hu = float(rng.normal(67, 5))
    dx, dy, dz = rng.normal(0, 3, 3)
    return Bleed(
        subtype="intraparenchymal", kind="ball", at=(float(side * (x + dx)), float(y + dy), float(z + dz)),
        size_ml=size_ml, hu=hu, layer_hu=hu, radii=tuple(float(radius * s) for s in stretch),
    )  # fmt: skip


def _intraventricular(rng: np.random.Generator, side: float) -> Bleed:
    kind = "level" if rng.random() < 0.55 else "cast"
    size_ml = _ml(rng, 2, 8) if kind == "level" else _ml(rng, 6, 25)
    hu = float(rng.normal(62, 5))
    return Bleed(
        subtype="intraventricular", kind=kind, at=(side, 0, 0), size_ml=size_ml, hu=hu, layer_hu=CSF_HU + 6,
        radii=(0.0, 0.0, 0.0),
    )  # fmt: skip


def _subarachnoid(rng: np.random.Generator, side: float) -> Bleed:
    hu = float(rng.normal(57, 4))
    if rng.random() < 0.55:
        kind, at, radii = "cisterns", (side * 6.0, -8.0, -14.0), (55.0, 42.0, 26.0)
    else:
        v = _unit(side * 0.85, rng.normal(0, 0.45), rng.normal(0.45, 0.2))
        kind, at = "sulci", (60 * v[0], 72 * v[1], 68 * v[2])
        radii = (float(rng.uniform(26, 40)),) * 3
    return Bleed(subtype="subarachnoid", kind=kind, at=at, size_ml=8.0, hu=hu, layer_hu=hu, radii=radii)


def push(bleeds: tuple[Bleed, ...], head: Head) -> Float[np.ndarray, "3 cz cy cx"]:
    """How the bleeds move the brain, mm on the lattice: a ball makes room for itself, a collection shifts what is under it."""
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
        hu: object = bleed.hu + 2.5 * grid.spread(head.patches)
        if bleed.kind in ("lens", "crescent"):
            share = coverage(thick[bleed.subtype] - vault, grid.edge_mm) * coverage(depth, grid.edge_mm)
            share *= thick[bleed.subtype] > 0.4
            if bleed.layer_hu != bleed.hu:
                hu = bleed.layer_hu + (hu - bleed.layer_hu) * np.clip((p.y - 12) * 0.12 + 0.5, 0, 1)  # type: ignore[operator]
        elif bleed.kind == "falx":
            share = _falx(bleed, p, grid) * coverage(depth, grid.edge_mm)
        elif bleed.kind == "ball":
            share = _ball(bleed, brain, head_at, grid, head)
        elif bleed.subtype == "intraventricular":
            share = _ventricles(bleed, brain, p, grid)
        else:
            share = _fluid(bleed, brain, p, grid, head, depth)
        paint(brain.hu, hu, share)
        cover[bleed.subtype] = share
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
    rim = 2.5 + 0.22 * radius
    oedema = np.clip(1 + inside / rim, 0, 1) * tissue * coverage(-brain.ventricle[box], 2) * 0.75
    paint(brain.hu[box], 17.0, oedema)
    share = np.zeros(grid.shape, np.float32)
    share[box] = coverage(inside, grid.edge_mm) * coverage(brain.pia[box] + 1, 2)
    return share


def _ventricles(bleed: Bleed, brain: Brain, p: Points, grid: Grid) -> np.ndarray:
    """The fullest of the ventricle that holds the wanted volume: from the back for a level, round one side for a cast."""
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
    off = np.sqrt(sum(((c - a) / r) ** 2 for c, a, r in zip(p, bleed.at, bleed.radii, strict=True)))
    amount = np.clip((1 - off) * 2.2 + 0.45 * grid.spread(head.patches), 0, 1)
    fluid = coverage(0.4 - brain.pia, grid.edge_mm) * coverage(depth - 0.5, grid.edge_mm)
    return fluid * amount * coverage(-brain.ventricle - 1, 1)
