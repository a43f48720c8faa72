"""Blood in the spaces of the cerebrospinal fluid: in the ventricles, and under the arachnoid."""

import numpy as np

from ichformer.ct.phantom.anatomy.shapes import Point
from ichformer.ct.phantom.bleeds.bleed import Bleed, Case, Part, unit

_CAST_FROM: dict[str, Point] = {
    "frontal": (9, -20, 10),
    "body": (10, 6, 20),
    "third": (0.5, -2, 3),
    "fourth": (0.5, 37, -31),
}

_CISTERNS: dict[str, tuple[tuple[Point, Point], ...]] = {
    "suprasellar": (((3, -9, -17), (15, 11, 9)),),
    "sylvian": (((24, -15, -13), (13, 6, 7)), ((38, -6, 2), (9, 27, 16)), ((48, -12, -4), (12, 16, 12))),
    "falx": (((2, -48, 8), (6, 26, 30)),),
    "ambient": (((10, 18, -8), (15, 15, 9)), ((2, 29, -4), (12, 7, 8))),
    "prepontine": (((3, 3, -26), (15, 7, 14)),),
}
"""Where subarachnoid blood gathers on the left and in the middle: middle and radii of ellipsoids."""


def intraventricular(case: Case) -> tuple[Bleed, ...]:
    """A level in the occipital horns, often tiny, or a cast of a ventricle."""
    rng = case.rng
    look = case.pick(level=0.75 if case.mechanism == "trauma" else 0.5, cast=0.4)
    blood = case.blood(float(rng.normal(62, 6)))
    if look == "level":
        # One horn fills before the other: the head is never quite straight.
        at: Point = (float(case.side * rng.uniform(0, 7)), 0.0, 0.0)
        return (
            Bleed(subtype="intraventricular", kind="level", at=at, size_ml=case.ml(1, 8), blood=blood, swell_mm=0.6),
        )
    place = case.pick(frontal=0.35, body=0.3, third=0.15, fourth=0.2)
    size_ml = case.ml(1, 5) if place in ("third", "fourth") else case.ml(2, 40)
    x, y, z = _CAST_FROM[place]
    return (
        Bleed(
            subtype="intraventricular", kind="cast", at=(case.side * x, y, z), size_ml=size_ml, blood=blood,
            swell_mm=float(rng.uniform(0.6, 1.8)),
        ),
    )  # fmt: skip


def subarachnoid(case: Case) -> tuple[Bleed, ...]:
    """In some sulci and one fissure after a blow; from the basal cisterns on where an aneurysm bursts."""
    rng = case.rng
    if case.mechanism == "trauma":
        look = case.pick(sulci=0.62, sylvian=0.2, ambient=0.18)
        parts, size_ml = _sulci(case) if look == "sulci" else _cisterns(case, (look,)), case.ml(2, 14)
    elif rng.random() < 0.15:
        parts, size_ml = _cisterns(case, ("ambient", "prepontine", "suprasellar")), case.ml(2, 12)
    else:
        spread = [name for name in ("sylvian", "falx", "ambient", "prepontine") if rng.random() < 0.6]
        parts, size_ml = _cisterns(case, ("suprasellar", *spread)), case.ml(4, 40)
    return (
        Bleed(
            subtype="subarachnoid", kind="fluid", at=parts[0].at, size_ml=size_ml, parts=parts,
            blood=case.blood(float(rng.uniform(46, 64))), swell_mm=float(rng.uniform(0.3, 1.0)),
        ),
    )  # fmt: skip


def _sulci(case: Case) -> tuple[Part, ...]:
    """Some neighbouring sulci, over one or several places of a convexity."""
    rng = case.rng
    parts = []
    for _ in range(1 if case.is_small else int(rng.integers(1, 5))):
        v = unit(case.side * 0.85, rng.normal(0, 0.5), rng.normal(0.4, 0.3))
        rx, ry, rz = (float(r) for r in rng.uniform(8, 20, 3))
        parts.append(Part(at=(float(61 * v[0]), float(76 * v[1]), float(70 * v[2])), radii=(rx, ry, rz)))
    return tuple(parts)


def _cisterns(case: Case, names: tuple[str, ...]) -> tuple[Part, ...]:
    """On the side of the disease, and on both sides about half of the time."""
    rng = case.rng
    parts = []
    for name in names:
        both = rng.random() < 0.5 and not case.is_small
        for (x, y, z), radii in _CISTERNS[name]:
            for side in (case.side, -case.side) if both else (case.side,):
                dx, dy, dz = rng.normal(0, 1.5, 3)
                rx, ry, rz = (float(r * np.exp(rng.normal(0, 0.15))) for r in radii)
                parts.append(Part(at=(float(side * x + dx), float(y + dy), float(z + dz)), radii=(rx, ry, rz)))
    return tuple(parts)
