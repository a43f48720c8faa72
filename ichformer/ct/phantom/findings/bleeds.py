"""Bleeds: the shapes of each subtype, and where they lie.

Signs follow the textbook: an epidural haematoma is a lens under one bone, a subdural one a crescent over a hemisphere;
parenchymal blood is a ragged ball with a rim of oedema; blood in the ventricles lies at the back with a level, or fills
them; subarachnoid blood takes the place of fluid in cisterns and sulci.
"""

from dataclasses import dataclass

import numpy as np

from ichformer import SUBTYPES
from ichformer.ct.phantom.anatomy.shapes import Point


@dataclass(frozen=True, kw_only=True)
class Bleed:
    """One bleed in the standard head.

    Attributes:
      subtype: one of ``SUBTYPES``.
      kind: how it looks, of ``kinds.KINDS``: "lens"; "crescent", "falx"; "ball"; "level", "cast"; "cisterns", "sulci".
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


def draw_ml(rng: np.random.Generator, low: float, high: float) -> float:
    """A volume, ml, its logarithm evenly distributed."""
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
    size_ml = draw_ml(rng, 4, 80)
    steep = rng.uniform(0.45, 0.65)  # thickness over radius
    reach = (2 * size_ml * 1000 / (np.pi * steep)) ** (1 / 3)
    hu = float(rng.normal(66, 4))
    at = _unit(side * (x + rng.normal(0, 0.05)), y + rng.normal(0, 0.08), z + rng.normal(0, 0.08))
    return Bleed(
        subtype="epidural", kind="lens", at=at, size_ml=size_ml, hu=hu, layer_hu=hu,
        radii=(float(reach), float(steep * reach), 0.0),
    )  # fmt: skip


def _subdural(rng: np.random.Generator, side: float) -> Bleed:
    if rng.random() < 0.15:
        size_ml, hu = draw_ml(rng, 3, 9), float(rng.normal(62, 4))
        radii = (float(rng.uniform(32, 45)), 0.0, 0.0)
        return Bleed(
            subtype="subdural", kind="falx", at=(side, float(rng.uniform(-20, 30)), 45.0), size_ml=size_ml, hu=hu,
            layer_hu=hu, radii=(radii[0], float(size_ml * 1000 / (np.pi * radii[0] ** 2 * 0.45)), 0.0),
        )  # fmt: skip
    size_ml = draw_ml(rng, 8, 80)
    reach = float(np.clip(np.sqrt(size_ml * 1000 / (0.62 * np.pi * rng.uniform(6, 11))), 40, 88))
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
    size_ml = draw_ml(rng, 2, {1: 22, 4: 35, 6: 25}.get(place, 75))
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
    size_ml = draw_ml(rng, 2, 8) if kind == "level" else draw_ml(rng, 6, 25)
    hu = float(rng.normal(62, 5))
    return Bleed(
        subtype="intraventricular", kind=kind, at=(side, 0, 0), size_ml=size_ml, hu=hu, layer_hu=hu,
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
