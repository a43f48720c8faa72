"""One head: everything that makes it differ from another, drawn once, and where its parts come to lie on a grid."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from ichformer.ct.phantom.anatomy.grid import Grid, lattice_points, random_field, smooth_field, waves
from ichformer.ct.phantom.anatomy.shapes import Points

HALF_WIDTH, HALF_LENGTH, HEIGHT = 66.0, 84.0, 77.0
"""Inner skull of the standard head from its centre, mm. All anatomy is written for it; ``place`` scales and warps."""

FOLD_MM = 23.0
"""Wavelength of the field whose zero surfaces are the sulci: two sulci lie half a wavelength apart."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Head:
    """Parameters and fields of a head. Lengths in mm, tissue in HU, fields on the lattice of ``grid``.

    Attributes:
      scale: this head over the standard head, along x, y, z.
      taper: how much narrower the forehead is than the parietal region.
      squareness: 0 for an ellipsoid, 1 for a boxy skull.
      bone, scalp: thickness of calvarium and scalp.
      rotation: of the head in the head rest, [3,3].
      atrophy: 0 (tight sulci, slit ventricles) to 1 (wide).
      ventricles: factor on the radii of the ventricles.
      grey_hu, white_hu, dura_hu, vessel_hu: tissues that vary from patient to patient.
      pineal_hu, plexus_hu, ganglia_hu: calcifications; 0 where there are none.
      swelling: centre on the unit sphere and thickness of a scalp haematoma (thickness 0: none).
      infarct: centre and radius of an old infarct (radius 0: none).
      asymmetry: by which share the left lateral ventricle is wider than the right one, halved.
      leukoaraiosis_hu: how much darker small vessel disease makes the white matter round the ventricles.
      pneumatisation: factor on the radii of air cells and sinuses.
      dura_mm: thickness of falx and tentorium.
      opacified: share of the air in sinuses and cells in whose place there is fluid.
      ventricle_spread_mm: how far wide ventricles move apart, each to its side.
      seepage_hu: how much darker fluid that seeps from the ventricles makes the white matter round them.
    """

    scale: tuple[float, float, float]
    taper: float
    squareness: float
    bone: float
    scalp: float
    rotation: Float[np.ndarray, "3 3"]
    atrophy: float
    ventricles: float
    grey_hu: float
    white_hu: float
    dura_hu: float
    vessel_hu: float
    pineal_hu: float
    plexus_hu: float
    ganglia_hu: float
    swelling: tuple[tuple[float, float, float], float]
    infarct: tuple[tuple[float, float, float], float]
    warp: Float[np.ndarray, "3 cz cy cx"]
    fold: Float[np.ndarray, "cz cy cx"]
    texture: Float[np.ndarray, "cz cy cx"]
    patches: Float[np.ndarray, "cz cy cx"]
    wobble: Float[np.ndarray, "3 cz cy cx"]
    thickness: Float[np.ndarray, "cz cy cx"]
    relief: Float[np.ndarray, "cz cy cx"]
    asymmetry: float
    leukoaraiosis_hu: float
    pneumatisation: float
    dura_mm: float = 1.1
    opacified: float = 0.0
    ventricle_spread_mm: float = 0.0
    seepage_hu: float = 0.0

    def lattice_mm(self) -> Float[np.ndarray, "3 cz cy cx"]:
        """Where in the standard head each point of the lattice lies."""
        to_standard = self.rotation / np.asarray(self.scale)[:, None]
        return np.einsum("ab,bzyx->azyx", to_standard.astype(np.float32), lattice_points()) + self.warp


def frame(head: Head) -> Float[np.ndarray, "3 3"]:
    """What takes points of the standard head to this one, but for its warp; the inverse of what ``lattice_mm`` does."""
    return head.rotation.T * np.asarray(head.scale)


def draw_head(rng: np.random.Generator) -> Head:
    """A head, one in sixteen of a child, from a generator alone."""
    points = lattice_points()
    warp = np.stack([smooth_field(rng, every=7) * 2.0 + smooth_field(rng, every=4) * 0.35 for _ in range(3)])
    atrophy = float(rng.beta(1.0, 2.1))
    side = rng.choice([-1.0, 1.0])
    head = Head(
        scale=(float(rng.normal(1, 0.035)), float(rng.normal(1, 0.04)), float(rng.normal(1, 0.03))),
        taper=float(rng.uniform(0.04, 0.11)),
        squareness=float(rng.uniform(0.15, 0.6)),
        bone=float(rng.uniform(4.8, 8.8)),
        scalp=float(rng.uniform(4.0, 8.0)),
        rotation=_rotation(rng.standard_t(4, 3) * [3.0, 2.2, 4.5]),
        atrophy=atrophy,
        ventricles=float(0.72 + 0.62 * atrophy + rng.normal(0, 0.08)),
        grey_hu=float(rng.normal(41.0, 1.8)),
        white_hu=float(rng.normal(31.0, 1.5)),
        dura_hu=float(rng.choice([46, 52, 64], p=[0.5, 0.3, 0.2]) + rng.normal(0, 2)),
        vessel_hu=float(rng.normal(48, 6)),
        pineal_hu=float(rng.uniform(90, 350)) if rng.random() < 0.6 else 0.0,
        plexus_hu=float(rng.uniform(70, 400)) if rng.random() < 0.6 else 0.0,
        ganglia_hu=float(rng.uniform(55, 160)) if rng.random() < 0.15 else 0.0,
        swelling=(draw_direction(rng), float(rng.uniform(4, 11)) if rng.random() < 0.25 else 0.0),
        infarct=(
            (side * float(rng.uniform(22, 50)), float(rng.uniform(-35, 60)), float(rng.uniform(0, 35))),
            float(rng.uniform(9, 24)) if rng.random() < 0.18 else 0.0,
        ),
        warp=warp,
        fold=_folds(rng, points),
        texture=random_field(rng),
        patches=smooth_field(rng, every=2),
        wobble=_wobble(rng, points),
        thickness=smooth_field(rng, every=5),
        relief=smooth_field(rng, every=2),
        pneumatisation=float(rng.uniform(0.55, 1.2)),
        asymmetry=float(np.clip(rng.normal(0, 0.09), -0.25, 0.25)),
        leukoaraiosis_hu=float(rng.uniform(2, 8)) * atrophy if rng.random() < 0.2 + 0.4 * atrophy else 0.0,
    )
    return _child(head, rng) if rng.random() > 15 / 16 else head


def _child(head: Head, rng: np.random.Generator) -> Head:
    """The same head at some months to ten years: small, with thin bone, tight sulci and watery white matter."""
    grown = float(rng.uniform(0, 1))
    size, (x, y, z) = 0.8 + 0.15 * grown, head.scale
    return replace(
        head,
        scale=(size * x, size * y, size * z),
        bone=head.bone * (0.35 + 0.3 * grown),
        scalp=head.scalp * 0.6,
        atrophy=0.12 * head.atrophy,
        ventricles=0.75,
        grey_hu=head.grey_hu - 2,
        white_hu=head.white_hu - 3 + 2 * grown,
        pineal_hu=0.0,
        plexus_hu=0.0,
        ganglia_hu=0.0,
        infarct=(head.infarct[0], 0.0),
        leukoaraiosis_hu=0.0,
        pneumatisation=0.3 + 0.4 * grown,
    )


def place(head: Head, grid: Grid) -> Points:
    """Coordinates of the standard head at the grid's positions."""
    return Points(*(grid.spread(axis) for axis in head.lattice_mm()))


def place_brain(head: Head, grid: Grid, push: Float[np.ndarray, "3 cz cy cx"]) -> Points:
    """``place`` for the brain, which ``push`` (mm, on the lattice) displaces."""
    return Points(*(grid.spread(axis) for axis in head.lattice_mm() + head.wobble - push))


def _wobble(rng: np.random.Generator, points: np.ndarray) -> np.ndarray:
    """How the brain lies in the skull, mm. The falx holds the septum in the midline."""
    x, y, z = (smooth_field(rng, every=3) * 1.1 for _ in range(3))
    return np.stack([x * (1 - np.exp(-((points[0] / 20) ** 2))).astype(np.float32), y, z])


def _folds(rng: np.random.Generator, points: np.ndarray) -> np.ndarray:
    """A field that changes slowly along the radius, so that its zero surfaces stand on the brain's surface."""
    distance = np.linalg.norm(points, axis=0) + 1e-3
    drawn_out = points * (70 / distance) ** 0.7
    return waves(rng, drawn_out, wavelength_mm=FOLD_MM)


def draw_direction(rng: np.random.Generator) -> tuple[float, float, float]:
    """A unit vector from the head's centre to the calvarium."""
    v = rng.normal(0, 1, 3)
    v[2] = abs(v[2]) * 0.7
    v /= np.linalg.norm(v)
    return float(v[0]), float(v[1]), float(v[2])


def _rotation(degrees: np.ndarray) -> np.ndarray:
    """Rotation about x, y and z in turn."""
    turned = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(np.clip(degrees, -20, 20))):
        a, b = [(1, 2), (2, 0), (0, 1)][axis]
        step = np.eye(3)
        step[a, a] = step[b, b] = np.cos(angle)
        step[a, b], step[b, a] = -np.sin(angle), np.sin(angle)
        turned = step @ turned
    return turned
