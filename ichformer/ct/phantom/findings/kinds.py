"""The kinds of bleeds: how each is made small, moves the brain, lies under the skull, and which voxels it fills."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from jaxtyping import Float

from ichformer.ct.phantom.anatomy.brain import Brain
from ichformer.ct.phantom.anatomy.grid import Grid
from ichformer.ct.phantom.anatomy.head import Head
from ichformer.ct.phantom.anatomy.shapes import Points, coverage, ellipsoid, paint
from ichformer.ct.phantom.anatomy.surface import callosum_depth, tentorium_mm
from ichformer.ct.phantom.findings.bleeds import Bleed, draw_ml


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
      vault: below the inner calvarium, mm.
      thick: thickness of the collections under the skull, by subtype, mm.
    """

    brain: Brain
    p: Points
    head_at: Points
    grid: Grid
    head: Head
    depth: Float[np.ndarray, "i k j"]
    vault: Float[np.ndarray, "i k j"]
    thick: Mapping[str, Float[np.ndarray, "i k j"]]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What is particular to one kind of bleed.

    Attributes:
      small_radii: the radii of a bleed that is to have so many ml.
      share: the share of each voxel that is blood.
      push_mm: how far it moves the brain at points of the head; None where it does not.
      thickness_mm: of a collection between skull and brain; None for all others.
    """

    small_radii: Callable[[Bleed, float, np.random.Generator], np.ndarray]
    share: Callable[[Bleed, Scene], Float[np.ndarray, "i k j"]]
    push_mm: Callable[[Bleed, Float[np.ndarray, "3 cz cy cx"]], Float[np.ndarray, "3 cz cy cx"]] | None = None
    thickness_mm: Callable[[Bleed, Points, Grid, Head], np.ndarray] | None = None


def shrink(bleed: Bleed, rng: np.random.Generator) -> Bleed:
    """The same bleed with 1 to 4 ml, as thick as a slice can show it."""
    size_ml = draw_ml(rng, 1, 4)
    radii = KINDS[bleed.kind].small_radii(bleed, size_ml, rng)
    return replace(bleed, size_ml=size_ml, radii=(float(radii[0]), float(radii[1]), float(radii[2])))


def _small_sheet(
    _bleed: Bleed, size_ml: float, rng: np.random.Generator, *, fill: float, thin: float, thick: float
) -> np.ndarray:
    """Reach and thickness, of which ``fill`` times a disc is the volume: less for a thin rim that is lost."""
    deep = float(rng.uniform(thin, thick))
    return np.array([np.sqrt(size_ml * 1000 / (fill * np.pi * deep)), deep, 0.0])


def _small_ball(bleed: Bleed, size_ml: float, _rng: np.random.Generator) -> np.ndarray:
    return np.asarray(bleed.radii) * np.cbrt(size_ml * 1000 / (4 / 3 * np.pi * np.prod(bleed.radii)))


def _small_sulci(_bleed: Bleed, size_ml: float, _rng: np.random.Generator) -> np.ndarray:
    # Of a ball at the brain's surface, sulci take up about an eighth, and in a tight brain much less.
    return np.full(3, max(15.0, float(np.cbrt(8 * (size_ml * 1000) / (4 / 3 * np.pi)))))


def _small_cisterns(bleed: Bleed, size_ml: float, _rng: np.random.Generator) -> np.ndarray:
    # The suprasellar cistern alone.
    return np.asarray(bleed.radii) * (0.29 * np.cbrt(size_ml))


def _as_they_are(bleed: Bleed, _size_ml: float, _rng: np.random.Generator) -> np.ndarray:
    return np.asarray(bleed.radii)


def _push_aside(bleed: Bleed, points: Float[np.ndarray, "3 cz cy cx"]) -> Float[np.ndarray, "3 cz cy cx"]:
    """A ball makes room for itself."""
    away = points - _at(bleed)
    r = np.sqrt((away**2).sum(axis=0)) + 1e-3
    # Tissue at distance r came from where the volume below it was smaller by a share of the blood's.
    room = 0.55 * float(np.prod(bleed.radii))
    return away / r * (r - np.cbrt(np.maximum(r**3 - room, 0))) * np.exp(-((r / 60) ** 4))


def _push_in(
    bleed: Bleed, points: Float[np.ndarray, "3 cz cy cx"], *, wide_mm: float
) -> Float[np.ndarray, "3 cz cy cx"]:
    """A collection shifts the brain away from the skull."""
    at = _at(bleed)
    far = ((points - at * 76) ** 2).sum(axis=0)
    return -(at * (0.62 * min(bleed.radii[1], 16)) * np.exp(far * (-1 / (2 * wide_mm**2))))


def _at(bleed: Bleed) -> np.ndarray:
    return np.asarray(bleed.at, np.float32)[:, None, None, None]


def _lens_mm(bleed: Bleed, p: Points, _grid: Grid, _head: Head) -> np.ndarray:
    n, (reach, deep, _) = bleed.at, bleed.radii
    # Distance from the axis through the middle of the bone: the lens ends where its radius ends.
    along = p.x * n[0] + p.y * n[1] + p.z * n[2]
    off = p.x**2 + p.y**2 + p.z**2 - along**2
    return np.where(along > 0, deep * np.clip(1 - off * (1 / reach**2), 0, 1), 0)


def _crescent_mm(bleed: Bleed, p: Points, grid: Grid, head: Head) -> np.ndarray:
    n, (reach, deep, _) = bleed.at, bleed.radii
    radius = np.sqrt(p.x**2 + p.y**2 + p.z**2) + 1e-3
    cos = (p.x * n[0] + p.y * n[1] + p.z * n[2]) / radius
    off = (2 - 2 * cos) * (76 / reach) ** 2
    ragged = 1 + 0.22 * grid.spread(head.patches)
    value = deep * np.clip(1 - off * off, 0, 1) * ragged * np.clip(bleed.side * p.x * 0.25 - 0.4, 0, 1)
    value *= np.clip(tentorium_mm(p) * 0.3, 0, 1)
    return value


def _collection(bleed: Bleed, at: Scene) -> np.ndarray:
    thick = at.thick[bleed.subtype]
    share = coverage(thick - at.vault, at.grid.edge_mm) * coverage(at.depth, at.grid.edge_mm)
    share *= thick > 0.4
    return share


def _falx(bleed: Bleed, at: Scene) -> np.ndarray:
    p, grid = at.p, at.grid
    reach, deep, _ = bleed.radii
    x = bleed.side * p.x
    off = np.sqrt((p.y - bleed.at[1]) ** 2 + (p.z - bleed.at[2]) ** 2) / reach
    width = deep * np.clip(1 - off**3, 0, 1)
    inside = np.minimum(np.minimum(x - 0.6, 0.6 + width - x), np.minimum(tentorium_mm(p), -callosum_depth(p) - 2))
    return coverage(inside, grid.edge_mm) * (width > 0.4) * coverage(at.depth, grid.edge_mm)


def _ball(bleed: Bleed, at: Scene) -> np.ndarray:
    """The blood's share; its rim of oedema is painted here, under it."""
    brain, grid, head = at.brain, at.grid, at.head
    reach = max(bleed.radii) * 1.5 + 8
    box = grid.around(bleed.at, bleed.at, (reach, reach, reach))
    radius = float(np.prod(bleed.radii) ** (1 / 3))
    ragged = 0.09 * radius * grid.spread(head.texture)[box] + 0.17 * radius * grid.spread(head.patches)[box]
    inside = ellipsoid(at.head_at.at(box), bleed.at, bleed.radii) + ragged
    tissue = coverage(brain.pia[box] - 1, grid.edge_mm)
    rim = 3 + 0.3 * radius
    oedema = np.clip(1.6 + 1.6 * inside / rim, 0, 1) * tissue * coverage(-brain.ventricle[box], 2) * 0.85
    paint(brain.hu[box], 16.0, oedema)
    share = np.zeros(grid.shape, np.float32)
    share[box] = coverage(inside, grid.edge_mm) * coverage(brain.pia[box] + 1, 2)
    return share


def _level(bleed: Bleed, at: Scene) -> np.ndarray:
    """Blood in the ventricles from the back."""
    return _in_ventricles(bleed, at, np.broadcast_to(at.grid.y_mm[:, None, None], at.grid.shape))


def _cast(bleed: Bleed, at: Scene) -> np.ndarray:
    """Blood in the ventricles round one side."""
    p = at.p
    return _in_ventricles(bleed, at, -np.sqrt((p.x - bleed.side * 9) ** 2 + (p.y + 2) ** 2 + (0.8 * (p.z - 6)) ** 2))


def _in_ventricles(bleed: Bleed, at: Scene, order: np.ndarray) -> np.ndarray:
    """As much of the ventricles as holds the wanted volume, from where ``order`` is largest."""
    grid = at.grid
    within = coverage(at.brain.ventricle, grid.edge_mm)
    where = within > 0.5
    voxels = bleed.size_ml * 1000 / grid.voxel_mm3
    ordered = np.sort(order[where])[::-1]
    edge = ordered[min(int(voxels), int(0.75 * len(ordered)))]
    return within * coverage(order - edge, 1.5)


def _fluid(bleed: Bleed, at: Scene) -> np.ndarray:
    brain, grid = at.brain, at.grid
    near = ellipsoid(at.p, bleed.at, bleed.radii) * float(np.prod(bleed.radii) ** (-1 / 3))
    amount = np.clip(2.2 * near + 0.45 * grid.spread(at.head.patches), 0, 1)
    fluid = coverage(0.7 - brain.pia, grid.edge_mm) * coverage(at.depth - 1.6, grid.edge_mm)
    return fluid * amount * coverage(-brain.ventricle - 1, 1)


KINDS: Mapping[str, Kind] = {
    # A paraboloid whose thin rim is lost.
    "lens": Kind(
        small_radii=partial(_small_sheet, fill=0.35, thin=3.5, thick=5.5),
        share=_collection,
        push_mm=partial(_push_in, wide_mm=42.0),
        thickness_mm=_lens_mm,
    ),
    "crescent": Kind(
        small_radii=partial(_small_sheet, fill=0.62, thin=3.5, thick=5.5),
        share=_collection,
        push_mm=partial(_push_in, wide_mm=62.0),
        thickness_mm=_crescent_mm,
    ),
    # A sheet with round edges.
    "falx": Kind(small_radii=partial(_small_sheet, fill=0.45, thin=2.5, thick=3.5), share=_falx),
    "ball": Kind(small_radii=_small_ball, share=_ball, push_mm=_push_aside),
    "level": Kind(small_radii=_as_they_are, share=_level),
    "cast": Kind(small_radii=_as_they_are, share=_cast),
    "cisterns": Kind(small_radii=_small_cisterns, share=_fluid),
    "sulci": Kind(small_radii=_small_sulci, share=_fluid),
}
"""By ``Bleed.kind``."""
