"""Spots of one density in the brain: calcium, lacunes, cysts, and what some healthy heads have."""

from dataclasses import dataclass

import numpy as np

from ichformer.ct.phantom.anatomy.brain import CSF_HU
from ichformer.ct.phantom.anatomy.shapes import Point


@dataclass(frozen=True, kw_only=True)
class Spot:
    """An ellipsoid of one density, in mm of the standard head."""

    at: Point
    radii: Point
    hu: float


def draw_plaques(rng: np.random.Generator) -> tuple[Spot, ...]:
    """Calcium or bone in the falx."""
    plaques = []
    for _ in range(int(rng.integers(2, 6))):
        # Between the corpus callosum's ellipse (``surface.callosum_depth``) and the skull, mostly in the front half.
        angle, out = np.deg2rad(rng.uniform(55, 170)), rng.uniform(12, 24)
        at = (0.0, float(-2 + (44 + out) * np.cos(angle)), float(4 + (27 + out) * np.sin(angle)))
        radii = (float(rng.uniform(1.4, 2.4)), float(rng.uniform(5, 13)), float(rng.uniform(4, 8)))
        plaques.append(Spot(at=at, radii=radii, hu=float(rng.uniform(300, 900))))
    return tuple(plaques)


def draw_lacunes(rng: np.random.Generator) -> tuple[Spot, ...]:
    """Small old infarcts of the deep nuclei and the white matter."""
    places = [(25, -8, 3), (23, 2, 6), (12, 8, 6), (20, -16, 18), (24, 10, 22), (28, 25, 24), (4, 16, -28)]
    spots = []
    for _ in range(int(rng.integers(2, 7))):
        x, y, z = places[int(rng.integers(len(places)))] + rng.normal(0, 2.5, 3)
        radii = rng.uniform(2, 4.5, 3)
        at = (float(x * rng.choice([-1.0, 1.0])), float(y), float(z))
        spots.append(Spot(at=at, radii=(float(radii[0]), float(radii[1]), float(radii[2])), hu=CSF_HU + 5))
    return tuple(spots)


def draw_cyst(rng: np.random.Generator) -> tuple[Spot, ...]:
    """An arachnoid cyst: before a temporal pole, behind the cerebellum, or over a hemisphere."""
    side = float(rng.choice([-1.0, 1.0]))
    at = [(side * 42.0, -38.0, -16.0), (side * 8.0, 76.0, -36.0), (side * 50.0, -30.0, 38.0)][
        int(rng.choice(3, p=[0.55, 0.3, 0.15]))
    ]
    a, b, c = rng.uniform(9, 20, 3)
    return (Spot(at=at, radii=(float(a), float(b), float(c)), hu=CSF_HU),)


def draw_cavum(rng: np.random.Generator) -> tuple[Spot, ...]:
    """Fluid between the leaves of the septum pellucidum, in some as far back as the splenium."""
    back = float(rng.choice([0.0, 16.0]))
    radii = (float(rng.uniform(1.8, 4.5)), 9 + back / 2, float(rng.uniform(4, 7)))
    return (Spot(at=(0.0, -20 + back / 2, 13.0), radii=radii, hu=CSF_HU),)


def draw_calcified_arteries(rng: np.random.Generator) -> tuple[Spot, ...]:
    """Plaques in the siphons of the carotid arteries and in the vertebral arteries."""
    spots = []
    for x, y, z in ((11.0, -11.0, -19.0), (-11.0, -11.0, -19.0), (9.0, 16.0, -47.0), (-9.0, 16.0, -47.0)):
        if rng.random() < 0.7:
            radius = float(rng.uniform(1, 2.4))
            spots.append(Spot(at=(x, y, z), radii=(radius, 2 * radius, radius), hu=float(rng.uniform(250, 900))))
    return tuple(spots)
