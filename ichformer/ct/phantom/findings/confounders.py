"""Confounders: findings that look like blood or hide it.

What changes the head itself becomes parameters of the ``Head``; what is laid over it, or made by the scanner, a
``Signs``. Bleeds are drawn apart from all of this, so that no confounder moves a label.
"""

from collections.abc import Callable, Collection
from dataclasses import replace

import numpy as np

from ichformer.ct.phantom.anatomy.head import Head, draw_direction
from ichformer.ct.phantom.anatomy.shapes import Point
from ichformer.ct.phantom.findings.implants import draw_metal
from ichformer.ct.phantom.findings.signs import Fracture, Motion, Signs
from ichformer.ct.phantom.findings.surgery import (
    Opening,
    Surgery,
    Tube,
    draw_burr_holes,
    draw_flap,
    draw_shunt,
    draw_tubes,
)
from ichformer.ct.phantom.findings.variants import (
    Spot,
    draw_calcified_arteries,
    draw_cavum,
    draw_cyst,
    draw_lacunes,
    draw_plaques,
)

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
    "leukoaraiosis": "dark white matter round the ventricles, as in disease of the small vessels",
    "lacunes": "small old infarcts of the deep nuclei and the white matter",
    "calcified_ganglia": "calcified pallida",
    "calcified_arteries": "plaques in the carotid siphons and the vertebral arteries",
    "dense_arteries": "dense arteries and sinuses, as with thick blood or traces of contrast",
    "dense_dura": "a dense and thick falx and tentorium",
    "arachnoid_cyst": "a cyst of fluid at a temporal pole, behind the cerebellum or over a hemisphere",
    "cavum_septi": "fluid between the leaves of the septum pellucidum",
    "opacified_sinuses": "fluid in place of air in the sinuses and the mastoid cells",
    "craniotomy": "a bone flap with the gap round it and burr holes",
    "craniectomy": "a part of the calvarium that was taken away",
    "burr_holes": "one or two burr holes",
    "shunt": "a catheter from a burr hole to a ventricle",
    "pneumocephalus": "air under the frontal bone, and bubbles of it",
    "dressing": "a bandage round the head",
    "tubes": "tubes and cables beside the head",
}
"""Name of each confounder -> what it is."""

LASTING = frozenset(
    {
        *("atrophy", "old_infarct", "calcified_pineal", "calcified_plexus", "calcified_falx", "metal", "leukoaraiosis"),
        *("lacunes", "calcified_ganglia", "calcified_arteries", "dense_dura", "arachnoid_cyst", "cavum_septi"),
        *("craniotomy", "craniectomy", "burr_holes", "shunt"),
    }
)
"""Confounders of the patient, which the next scan shows again; the others are of one scan."""


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
    # So many times the usual radii take Evans' index to its usual limit of 0.3 in about half of the heads.
    wide = float(rng.uniform(2.4, 3.0))
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


def _spots(
    draw: Callable[[np.random.Generator], tuple[Spot, ...]],
) -> Callable[[Head, Signs, np.random.Generator], tuple[Head, Signs]]:
    return lambda head, signs, rng: (head, replace(signs, spots=(*signs.spots, *draw(rng))))


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


def _leukoaraiosis(head: Head, signs: Signs, rng: np.random.Generator) -> tuple[Head, Signs]:
    return replace(head, leukoaraiosis_hu=float(rng.uniform(6, 12))), signs


def _calcified_ganglia(head: Head, signs: Signs, rng: np.random.Generator) -> tuple[Head, Signs]:
    return replace(head, ganglia_hu=float(rng.uniform(90, 300))), signs


def _dense_arteries(head: Head, signs: Signs, rng: np.random.Generator) -> tuple[Head, Signs]:
    return replace(head, vessel_hu=float(rng.uniform(62, 82))), signs


def _dense_dura(head: Head, signs: Signs, rng: np.random.Generator) -> tuple[Head, Signs]:
    return replace(head, dura_hu=float(rng.uniform(62, 85)), dura_mm=float(rng.uniform(1.5, 2.6))), signs


def _opacified_sinuses(head: Head, signs: Signs, rng: np.random.Generator) -> tuple[Head, Signs]:
    return replace(head, opacified=float(rng.uniform(0.3, 1))), signs


def _operated(signs: Signs, openings: tuple[Opening, ...] = (), tubes: tuple[Tube, ...] = ()) -> Signs:
    done = signs.surgery or Surgery()
    more = replace(done, openings=(*done.openings, *openings), tubes=(*done.tubes, *tubes))
    return replace(signs, surgery=more)


def _craniotomy(head: Head, signs: Signs, rng: np.random.Generator) -> tuple[Head, Signs]:
    return head, _operated(signs, draw_flap(rng, put_back=True))


def _craniectomy(head: Head, signs: Signs, rng: np.random.Generator) -> tuple[Head, Signs]:
    return head, _operated(signs, draw_flap(rng, put_back=False))


def _burr_holes(head: Head, signs: Signs, rng: np.random.Generator) -> tuple[Head, Signs]:
    return head, _operated(signs, draw_burr_holes(rng))


def _shunt(head: Head, signs: Signs, rng: np.random.Generator) -> tuple[Head, Signs]:
    return head, _operated(signs, *draw_shunt(rng, head))


def _pneumocephalus(head: Head, signs: Signs, rng: np.random.Generator) -> tuple[Head, Signs]:
    bubbles = []
    for _ in range(int(rng.integers(0, 6))):
        x, y, z = rng.uniform((-40, -60, -15), (40, 20, 50))
        radius = float(rng.uniform(0.8, 2.5))
        bubbles.append(Spot(at=(float(x), float(y), float(z)), radii=(radius,) * 3, hu=-1000.0))
    air_mm = (float(rng.uniform(2, 9)), float(rng.uniform(54, 74)))
    return head, replace(signs, air_mm=air_mm, spots=(*signs.spots, *bubbles))


def _dressing(head: Head, signs: Signs, rng: np.random.Generator) -> tuple[Head, Signs]:
    return head, replace(signs, surgery=replace(signs.surgery or Surgery(), dressing_mm=float(rng.uniform(3, 9))))


def _tubes(head: Head, signs: Signs, rng: np.random.Generator) -> tuple[Head, Signs]:
    return head, _operated(signs, tubes=draw_tubes(rng))


_ADD: dict[str, Callable[[Head, Signs, np.random.Generator], tuple[Head, Signs]]] = {
    "hydrocephalus": _hydrocephalus,
    "atrophy": _atrophy,
    "old_infarct": _old_infarct,
    "calcified_pineal": _calcified_pineal,
    "calcified_plexus": _calcified_plexus,
    "calcified_falx": _spots(draw_plaques),
    "dense_sinus": _dense_sinus,
    "scalp_hematoma": _scalp_hematoma,
    "fracture": _fracture,
    "metal": _metal,
    "beam_hardening": _beam_hardening,
    "motion": _motion,
    "leukoaraiosis": _leukoaraiosis,
    "lacunes": _spots(draw_lacunes),
    "calcified_ganglia": _calcified_ganglia,
    "calcified_arteries": _spots(draw_calcified_arteries),
    "dense_arteries": _dense_arteries,
    "dense_dura": _dense_dura,
    "arachnoid_cyst": _spots(draw_cyst),
    "cavum_septi": _spots(draw_cavum),
    "opacified_sinuses": _opacified_sinuses,
    "craniotomy": _craniotomy,
    "craniectomy": _craniectomy,
    "burr_holes": _burr_holes,
    "shunt": _shunt,
    "pneumocephalus": _pneumocephalus,
    "dressing": _dressing,
    "tubes": _tubes,
}
