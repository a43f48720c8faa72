"""Metal in and on the head: aneurysm clips, scalp staples, cochlear implants, all made of rods."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ichformer.ct.phantom.anatomy.grid import Grid
from ichformer.ct.phantom.anatomy.head import Head
from ichformer.ct.phantom.anatomy.shapes import Point, Points, capsule, coverage, paint
from ichformer.ct.phantom.anatomy.skull import on_skull

METAL_HU = 30000.0
"""Cobalt and iron alloys of clips and staples; steel is some 35 times water at 70 keV, titanium some 14 times."""


@dataclass(frozen=True, kw_only=True)
class Rod:
    """A rod of metal with round ends, in mm of the standard head."""

    at: Point
    to: Point
    radius: float


def draw_metal(rng: np.random.Generator, head: Head) -> tuple[Rod, ...]:
    """A clip or coils at an artery of the base, a row of staples in the scalp, or an implant behind an ear."""
    kind = rng.choice(["clip", "staples", "implant"], p=[0.4, 0.35, 0.25])
    side = float(rng.choice([-1.0, 1.0]))
    if kind == "clip":
        return _clip(rng, side) if rng.random() < 0.6 else _coils(rng, side)
    return _staples(rng, head, side) if kind == "staples" else _implant(rng, head, side)


def paint_metal(metal: tuple[Rod, ...], p: Points, grid: Grid, hu: Float[np.ndarray, "i k j"]) -> None:
    """Paint the rods into ``hu``, in place."""
    for rod in metal:
        box = grid.around(rod.at, rod.to, [rod.radius] * 3)
        paint(hu[box], METAL_HU, coverage(capsule(p.at(box), rod.at, rod.to, [rod.radius] * 2), grid.edge_mm))


_ANEURYSMS = ((30.0, -14.0, -12.0), (4.0, -18.0, -14.0), (10.0, -8.0, -15.0))
"""Middle cerebral, anterior communicating, internal carotid artery; mm of the standard head, on the left."""


def _coils(rng: np.random.Generator, side: float) -> tuple[Rod, ...]:
    """The ball of platinum that fills an aneurysm."""
    x, y, z = _ANEURYSMS[int(rng.integers(3))]
    at = np.array([side * x, y, z]) + rng.normal(0, 1.5, 3)
    return (Rod(at=_point(at), to=_point(at + rng.normal(0, 1, 3)), radius=float(rng.uniform(2, 4.5))),)


def _clip(rng: np.random.Generator, side: float) -> tuple[Rod, ...]:
    """Two blades and their spring at the middle cerebral, anterior communicating or internal carotid artery."""
    x, y, z = _ANEURYSMS[int(rng.integers(3))]
    along = rng.normal(0, 1, 3) * [1, 1, 0.5]
    along *= rng.uniform(7, 11) / np.linalg.norm(along)
    at = np.array([side * x, y, z]) + rng.normal(0, 1.5, 3)
    beside = np.array([-along[1], along[0], 0]) / max(float(np.hypot(along[0], along[1])), 1e-3) * 1.6
    blades = [Rod(at=_point(at + shift), to=_point(at + along + shift / 2), radius=0.8) for shift in (-beside, beside)]
    back = -along / np.linalg.norm(along)
    return *blades, Rod(at=_point(at + 2 * back), to=_point(at + 5 * back), radius=2.0)


def _staples(rng: np.random.Generator, head: Head, side: float) -> tuple[Rod, ...]:
    """A row of staples, one a centimetre, in the skin over one hemisphere."""
    rods = []
    azimuth, height = np.deg2rad(rng.uniform(-50, 50)), np.deg2rad(rng.uniform(5, 35))
    lean = np.deg2rad(rng.uniform(-40, 40))
    for k in range(int(rng.integers(6, 13))):
        step = 0.11 * k
        a, b = azimuth + step * np.cos(lean), height + step * np.sin(lean)
        out = np.array([side * np.cos(a) * np.cos(b), np.sin(a) * np.cos(b), np.sin(b)])
        foot = on_skull(head, out, head.bone + head.scalp - 0.5)
        across = 3.0 * np.array([side * np.cos(a) * -np.sin(b), -np.sin(a) * np.sin(b), np.cos(b)])
        rods.append(Rod(at=_point(foot - across), to=_point(foot + across), radius=0.45))
    return tuple(rods)


def _implant(rng: np.random.Generator, head: Head, side: float) -> tuple[Rod, ...]:
    """The receiver of a cochlear implant under the scalp, and the wire to the cochlea in the petrous bone."""
    out = np.array([side, rng.uniform(0.45, 0.65), rng.uniform(0.05, 0.2)])
    foot = on_skull(head, out / np.linalg.norm(out), head.bone + 2.5)
    across = np.array([-side * out[1], 1.0, 0.0])
    across *= 7 / np.linalg.norm(across)
    receiver = Rod(at=_point(foot - across), to=_point(foot + across), radius=2.2)
    return receiver, Rod(at=_point(foot - across), to=(side * 36.0, 9.0, -36.0), radius=0.4)


def _point(values: np.ndarray) -> Point:
    return float(values[0]), float(values[1]), float(values[2])
