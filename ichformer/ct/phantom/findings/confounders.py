"""Confounders: findings that look like blood or hide it.

What changes the head itself becomes parameters of the ``Head``; what is laid over it, or made by the scanner, a
``Signs``. Bleeds are drawn apart from all of this, so that no confounder moves a label.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import numpy as np

from ichformer.ct.phantom.anatomy.head import Head, draw_direction
from ichformer.ct.phantom.anatomy.shapes import Point
from ichformer.ct.phantom.findings.implants import Rod, draw_metal

CONFOUNDERS: dict[str, str] = {
    "hydrocephalus": "ventricles far too wide for the sulci, with fluid seeping out of them",
    "atrophy": "wide sulci, fissures and ventricles",
    "old_infarct": "a wedge of gliosis between fluid and grey matter in density, up to the cortex",
    "calcified_pineal": "a calcified pineal gland",
    "calcified_plexus": "calcified choroid plexus in the atria of both lateral ventricles",
    "calcified_falx": "plaques of calcium or bone in the falx",
    "dense_sinus": "a dense sagittal and transverse sinus, as in thrombosis or haemoconcentration",
    "scalp_hematoma": "blood under the scalp",
    "fracture": "a gap through the calvarium",
    "metal": "an aneurysm clip, scalp staples or a cochlear implant, with their streaks",
    "beam_hardening": "dark bands between dense bones, cupping under the skull",
    "motion": "some slices for which the head moved in the middle of the turn",
}
"""Name of each confounder -> what it is."""

LASTING = frozenset(
    {"atrophy", "old_infarct", "calcified_pineal", "calcified_plexus", "calcified_falx", "metal"}
)  # fmt: skip
"""Confounders of the patient, which the next scan shows again; the others are of one scan."""


@dataclass(frozen=True, kw_only=True)
class Plaque:
    """Calcium in the falx: an ellipsoid."""

    at: Point
    radii: Point
    hu: float


@dataclass(frozen=True, kw_only=True)
class Fracture:
    """A gap ``width_mm`` wide and ``length_mm`` long in the skull, round ``at``, in the plane with the unit ``normal``.

    ``at`` and ``normal`` are directions from the head's centre.
    """

    at: Point
    normal: Point
    width_mm: float
    length_mm: float


@dataclass(frozen=True, kw_only=True)
class Motion:
    """A move of the head during one turn of the tube.

    Attributes:
      height: of the first slice that shows it, as a share of the stack.
      slices: how many show it.
      turn_deg, shift_mm: the move in the plane; the shift is (x, y).
      begin, share: from where on and for which share of the half turn the head lay displaced.
    """

    height: float
    slices: int
    turn_deg: float
    shift_mm: tuple[float, float]
    begin: float
    share: float


@dataclass(frozen=True, kw_only=True)
class Signs:
    """What the confounders add that is no parameter of the head; the defaults add nothing.

    Attributes:
      impact: direction from the head's centre where a blow fell: the scalp and the bone under it suffer together.
      plaques: in the falx.
      sinus_hu: of dense dural sinuses, 0 where they are as usual.
      sinus_sides: which transverse sinuses are dense, +1 left, -1 right.
      fracture: of the calvarium.
      metal: rods of it.
      hardening: of the beam by bone, over what ``artefacts`` takes for usual without any correction.
      motion: of the head during the scan.
    """

    impact: tuple[float, float, float]
    plaques: tuple[Plaque, ...] = ()
    sinus_hu: float = 0.0
    sinus_sides: tuple[float, ...] = ()
    fracture: Fracture | None = None
    metal: tuple[Rod, ...] = ()
    hardening: float = 0.0
    motion: Motion | None = None


def confound(
    head: Head, names: Collection[str], *, lasting: np.random.Generator, passing: np.random.Generator
) -> tuple[Head, Signs]:
    """The head with the confounders called ``names``, and the signs to lay over it.

    Args:
      head: without them.
      names: of ``CONFOUNDERS``; none leaves the head as it is.
      lasting: generator of the patient.
      passing: generator of the scan.

    Raises:
      ValueError: on an unknown name.
    """
    if unknown := set(names) - set(CONFOUNDERS):
        raise ValueError(f"unknown confounders {sorted(unknown)}: choose from {tuple(CONFOUNDERS)}")
    signs = Signs(impact=draw_direction(passing))
    # Each draws from a stream of its own, so that planting one more does not change the others.
    streams = zip(lasting.spawn(len(CONFOUNDERS)), passing.spawn(len(CONFOUNDERS)), strict=True)
    for name, (of_patient, of_scan) in zip(CONFOUNDERS, streams, strict=True):
        if name in names:
            head, signs = _ADD[name](head, signs, of_patient if name in LASTING else of_scan)
    return head, signs


def _hydrocephalus(head: Head, signs: Signs, rng: np.random.Generator) -> tuple[Head, Signs]:
    # Twice the usual radii take Evans' index past 0.3, the usual limit.
    wide = float(rng.uniform(1.9, 2.4))
    return replace(
        head, ventricles=wide, ventricle_spread_mm=4.0 * (wide - 1), seepage_hu=float(rng.uniform(3, 8)),
        atrophy=min(head.atrophy, 0.3),
    ), signs  # fmt: skip


def _atrophy(head: Head, signs: Signs, rng: np.random.Generator) -> tuple[Head, Signs]:
    old = max(head.atrophy, float(rng.uniform(0.95, 1.2)))
    return replace(head, atrophy=old, ventricles=max(head.ventricles, 0.8 + 0.7 * old)), signs


_TERRITORIES: tuple[Point, ...] = ((50, -18, 18), (50, 18, 22), (44, 42, 28), (20, 66, 10), (30, -58, 26))


def _old_infarct(head: Head, signs: Signs, rng: np.random.Generator) -> tuple[Head, Signs]:
    x, y, z = _TERRITORIES[int(rng.choice(len(_TERRITORIES), p=[0.3, 0.25, 0.2, 0.15, 0.1]))]
    dy, dz = rng.normal(0, 4, 2)
    at = (float(x * rng.choice([-1.0, 1.0])), float(y + dy), float(z + dz))
    # No artery feeds both hemispheres: it ends at the midline.
    return replace(head, infarct=(at, min(float(rng.uniform(18, 30)), 0.75 * x))), signs


# Above 100 HU a focus counts as calcified; small ones reach that after partial volume only when they are denser.


def _calcified_pineal(head: Head, signs: Signs, rng: np.random.Generator) -> tuple[Head, Signs]:
    return replace(head, pineal_hu=float(rng.uniform(300, 700))), signs


def _calcified_plexus(head: Head, signs: Signs, rng: np.random.Generator) -> tuple[Head, Signs]:
    return replace(head, plexus_hu=float(rng.uniform(300, 700))), signs


def _calcified_falx(head: Head, signs: Signs, rng: np.random.Generator) -> tuple[Head, Signs]:
    plaques = []
    for _ in range(int(rng.integers(2, 6))):
        # Between the corpus callosum's ellipse (``surface.callosum_depth``) and the skull, mostly in the front half.
        angle, out = np.deg2rad(rng.uniform(55, 170)), rng.uniform(12, 24)
        at = (0.0, float(-2 + (44 + out) * np.cos(angle)), float(4 + (27 + out) * np.sin(angle)))
        radii = (float(rng.uniform(1.4, 2.4)), float(rng.uniform(5, 13)), float(rng.uniform(4, 8)))
        plaques.append(Plaque(at=at, radii=radii, hu=float(rng.uniform(300, 900))))
    return head, replace(signs, plaques=tuple(plaques))


def _dense_sinus(head: Head, signs: Signs, rng: np.random.Generator) -> tuple[Head, Signs]:
    # Thrombosed sinuses measure 74 HU on average, normal ones 53 HU (AJNR, PMC8051442), and 60 to 92 HU in all
    # (doi:10.1055/s-0043-1761184).
    sides = [(-1.0,), (1.0,), (-1.0, 1.0)][int(rng.integers(3))]
    return head, replace(signs, sinus_hu=float(rng.uniform(66, 84)), sinus_sides=sides)


def _scalp_hematoma(head: Head, signs: Signs, rng: np.random.Generator) -> tuple[Head, Signs]:
    return replace(head, swelling=(signs.impact, float(rng.uniform(10, 18)))), signs


def _fracture(head: Head, signs: Signs, rng: np.random.Generator) -> tuple[Head, Signs]:
    at = np.asarray(signs.impact)
    # The line runs upwards, leaning to either side, so that it crosses slices and does not hide in one.
    up = np.array([0.0, 0.0, 1.0]) - at[2] * at
    up = up / np.linalg.norm(up) if np.linalg.norm(up) > 0.1 else np.array([0.0, 1.0, 0.0])
    lean = np.deg2rad(rng.uniform(-55, 55))
    normal = np.cos(lean) * np.cross(at, up) + np.sin(lean) * up
    x, y, z = normal / np.linalg.norm(normal)
    gap = Fracture(
        at=signs.impact, normal=(float(x), float(y), float(z)), width_mm=float(rng.uniform(1.5, 3.5)),
        length_mm=float(rng.uniform(50, 110)),
    )  # fmt: skip
    return head, replace(signs, fracture=gap)


def _metal(head: Head, signs: Signs, rng: np.random.Generator) -> tuple[Head, Signs]:
    return head, replace(signs, metal=draw_metal(rng, head))


def _beam_hardening(head: Head, signs: Signs, rng: np.random.Generator) -> tuple[Head, Signs]:
    return head, replace(signs, hardening=float(rng.uniform(0.7, 1.4)))


def _motion(head: Head, signs: Signs, rng: np.random.Generator) -> tuple[Head, Signs]:
    x, y = rng.choice([-1.0, 1.0], 2) * rng.uniform(0.5, 2, 2)
    move = Motion(
        height=float(rng.uniform(0.15, 0.7)), slices=int(rng.integers(3, 8)),
        turn_deg=float(rng.choice([-1.0, 1.0]) * rng.uniform(0.8, 2.5)), shift_mm=(float(x), float(y)),
        begin=float(rng.uniform(0, 1)), share=float(rng.uniform(0.3, 0.6)),
    )  # fmt: skip
    return head, replace(signs, motion=move)


_ADD: dict[str, Callable[[Head, Signs, np.random.Generator], tuple[Head, Signs]]] = {
    "hydrocephalus": _hydrocephalus,
    "atrophy": _atrophy,
    "old_infarct": _old_infarct,
    "calcified_pineal": _calcified_pineal,
    "calcified_plexus": _calcified_plexus,
    "calcified_falx": _calcified_falx,
    "dense_sinus": _dense_sinus,
    "scalp_hematoma": _scalp_hematoma,
    "fracture": _fracture,
    "metal": _metal,
    "beam_hardening": _beam_hardening,
    "motion": _motion,
}
