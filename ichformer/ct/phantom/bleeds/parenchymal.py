"""Blood in the brain itself: contusions and torn vessels after a blow, haematomas of diseased arteries, dead tissue."""

import numpy as np

from ichformer.ct.phantom.anatomy.shapes import Point
from ichformer.ct.phantom.bleeds.bleed import Bleed, Blood, Case, Part, ball_radius_mm, unit

_LOBES: dict[str, tuple[Point, float]] = {
    "putamen": ((26, -2, 3), 75),
    "thalamus": ((13, 9, 5), 22),
    "caudate": ((14, -20, 10), 12),
    "frontal": ((28, -46, 22), 90),
    "parietal": ((34, 32, 34), 90),
    "temporal": ((44, -2, -16), 35),
    "occipital": ((24, 60, 12), 60),
    "cerebellum": ((22, 52, -34), 25),
    "pons": ((3, 14, -26), 5),
}
"""Middle of each place on the left, and the largest haematoma there, ml."""

# Rough bone scrapes the brain at the orbital roofs, the sphenoid wings and the petrous ridges.
_CONTUSIONS: dict[str, tuple[Point, Point]] = {
    "orbital": ((17, -56, -4), (8, 7, 4)),
    "pole": ((18, -74, 10), (8, 3, 9)),
    "temporal_pole": ((42, -30, -20), (6, 5, 6)),
    "temporal_base": ((46, -6, -30), (8, 12, 4)),
    "petrous": ((46, 24, -10), (8, 8, 4)),
    "convexity": ((52, 0, 34), (5, 34, 16)),
    "occipital": ((24, 74, 8), (10, 4, 12)),
}
"""Middle and spread of the places of contusions on the left."""

_SPOTS: tuple[Point, ...] = ((7, 28, 20), (6, -28, 16), (8, 18, -9), (14, 4, 24))
"""Of shear beside the grey-white junction: corpus callosum in front and behind, dorsal midbrain, corona radiata."""


def intraparenchymal(case: Case) -> tuple[Bleed, ...]:
    """Contusions and spots of shear after a blow; else a haematoma, or blood in an infarct."""
    if case.mechanism == "trauma":
        look = case.pick(contusions=0.72, shear=0.13, haematoma=0.15)
    else:
        look = case.pick(haematoma=0.86, infarct=0.14)
    if look == "contusions":
        return _contusions(case)
    return (_DRAW[look](case),)


def _contusions(case: Case) -> tuple[Bleed, ...]:
    """One to four, under the blow (coup) and opposite to it (contrecoup), mostly at the base."""
    rng = case.rng
    total_ml = case.ml(2, 60)
    # The smallest are one alone: divided they would be nothing.
    count = int(rng.choice([1, 2, 3, 4], p=[0.4, 0.3, 0.2, 0.1])) if total_ml > 0.5 else 1
    shares = rng.dirichlet(np.full(count, 1.5))
    found = []
    for k, share in enumerate(shares):
        side = case.side if k % 2 == 0 else -case.side
        place = case.pick(
            orbital=0.28,
            pole=0.12,
            temporal_pole=0.16,
            temporal_base=0.14,
            petrous=0.08,
            convexity=0.16,
            occipital=0.06,
        )
        (x, y, z), spread = _CONTUSIONS[place]
        dx, dy, dz = rng.uniform(-1, 1, 3) * spread
        found.append(_contusion(case, (float(side * (x + dx)), float(y + dy), float(z + dz)), float(share * total_ml)))
    return tuple(found)


def _contusion(case: Case, at: Point, size_ml: float) -> Bleed:
    """Several small lobes of blood and soaked brain, like salt and pepper, with oedema around them after some hours."""
    rng = case.rng
    hu = float(rng.normal(63, 5))
    texture = case.pick(grains=0.6, even=0.4)
    blood = case.blood(hu, "grains" if texture == "grains" else "even", thin_hu=float(rng.uniform(32, 44)))
    parts = _lobes(rng, at, size_ml, count=int(rng.integers(1, 6)), apart=1.2)
    oedema = float(rng.choice([0.0, rng.uniform(2, 5), rng.uniform(5, 12)], p=[0.35, 0.35, 0.3]))
    return Bleed(
        subtype="intraparenchymal", kind="clot", at=at, size_ml=size_ml, blood=blood, parts=parts, oedema_mm=oedema
    )


def _haematoma(case: Case) -> Bleed:
    """A mass of one or several lobes, mostly in the deep nuclei, with a rim of oedema that grows with the days."""
    rng = case.rng
    place = case.pick(
        putamen=0.3, thalamus=0.16, caudate=0.04, frontal=0.12, parietal=0.13, temporal=0.08, occipital=0.07,
        cerebellum=0.07, pons=0.03,
    )  # fmt: skip
    (x, y, z), most_ml = _LOBES[place]
    size_ml = min(case.ml(2, most_ml), most_ml)
    dx, dy, dz = rng.normal(0, 3 if most_ml > 20 else 1, 3)
    at = (float(case.side * (x + dx)), float(y + dy), float(z + dz))
    days = min(float(rng.exponential(2.5)), 10.0)
    count = int(rng.choice([1, 2, 3, 5, 7], p=[0.25, 0.2, 0.2, 0.2, 0.15]))
    return Bleed(
        subtype="intraparenchymal", kind="clot", at=at, size_ml=size_ml, blood=_aged(case, size_ml, days),
        parts=_lobes(rng, at, size_ml, count=count, apart=0.8),
        oedema_mm=float(1 + min(days, 8) * 0.5 + 0.12 * ball_radius_mm(size_ml) * min(days, 5)),
    )  # fmt: skip


def _aged(case: Case, size_ml: float, days: float) -> Blood:
    """Mixed in the first hours, dense for days, then fading from the rim; a level where it does not clot."""
    rng = case.rng
    hu = float(rng.normal(69, 5))
    if days > 6:
        return case.blood(hu - 1.5 * days, "fading", thin_hu=float(rng.uniform(32, 42)))
    look = case.pick(even=0.55, swirl=0.35, level=0.1)
    if look == "level" and size_ml > 8:
        thin_hu, cells = float(rng.uniform(32, 46)), float(rng.uniform(0.3, 0.8))
        return case.blood(hu, "level", thin_hu=thin_hu, cells=cells)
    return case.blood(hu, "swirl", thin_hu=float(rng.uniform(38, 50))) if look == "swirl" else case.blood(hu)


def _shear(case: Case) -> Bleed:
    """Spots of 2 to 5 mm at the junction of grey and white matter, in the corpus callosum and the midbrain."""
    rng = case.rng
    count = int(rng.integers(3, 13))
    radius = float(np.clip(ball_radius_mm(min(case.ml(0.4, 3), 3.0) / count), 1.6, 4.0))
    parts = []
    for k in range(count):
        if k % 3 == 2:
            x, y, z = np.array(_SPOTS[int(rng.integers(len(_SPOTS)))]) * (rng.choice([-1.0, 1.0]), 1, 1)
        else:
            v = unit(rng.choice([-1.0, 1.0]) * 0.7, rng.normal(-0.3, 0.5), rng.normal(0.5, 0.25))
            x, y, z = np.array(v) * (52, 66, 58)
        dx, dy, dz = rng.normal(0, 2, 3)
        radii = np.exp(rng.normal(0, 0.25, 3)) * radius
        parts.append(Part(at=(float(x + dx), float(y + dy), float(z + dz)), radii=_point(radii)))
    return Bleed(
        subtype="intraparenchymal", kind="spots", at=parts[0].at, size_ml=float(count * 4.2e-3 * radius**3),
        blood=case.blood(float(rng.normal(60, 5))), parts=tuple(parts), oedema_mm=float(rng.uniform(0, 2)),
    )  # fmt: skip


def _infarct(case: Case) -> Bleed:
    """Patches of blood in a territory of dead tissue."""
    rng = case.rng
    x, y, z = [(46, -10, 16), (46, 22, 20), (24, 62, 8), (24, 50, -34)][int(rng.integers(4))]
    at = (float(case.side * (x + rng.normal(0, 3))), float(y + rng.normal(0, 4)), float(z + rng.normal(0, 4)))
    size_ml = case.ml(2, 40)
    return Bleed(
        subtype="intraparenchymal", kind="clot", at=at, size_ml=size_ml,
        blood=case.blood(float(rng.normal(58, 4)), "grains", thin_hu=float(rng.uniform(28, 38))),
        parts=_lobes(rng, at, size_ml, count=int(rng.integers(2, 7)), apart=1.5),
        oedema_mm=float(rng.uniform(10, 20)),
    )  # fmt: skip


def _lobes(rng: np.random.Generator, at: Point, size_ml: float, *, count: int, apart: float) -> tuple[Part, ...]:
    """Ellipsoids around ``at`` that hold about ``size_ml`` together; ``apart`` of their radius from each other."""
    shares = rng.dirichlet(np.full(count, 1.2)) if count > 1 else np.ones(1)
    whole = ball_radius_mm(size_ml)
    parts = []
    for k, share in enumerate(np.sort(shares)[::-1]):
        radius = whole * max(float(share), 0.04) ** (1 / 3)
        stretch = np.exp(rng.normal(0, 0.22, 3))
        radii = radius * stretch / np.prod(stretch) ** (1 / 3)
        # The largest lies in the middle, the others around it, half in it or beside it.
        away = rng.normal(0, 1, 3)
        away *= (k > 0) * apart * whole * rng.uniform(0.6, 1.1) / np.linalg.norm(away)
        parts.append(Part(at=_point(np.asarray(at) + away), radii=_point(radii)))
    return tuple(parts)


def _point(values: np.ndarray) -> Point:
    return float(values[0]), float(values[1]), float(values[2])


_DRAW = {"haematoma": _haematoma, "shear": _shear, "infarct": _infarct}
