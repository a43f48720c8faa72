"""Epidural and subdural haematomas: collections between skull, dura and brain."""

from dataclasses import replace

import numpy as np

from ichformer.ct.phantom.anatomy.shapes import Point
from ichformer.ct.phantom.bleeds.bleed import Bleed, Blood, Case, unit

_EPIDURAL_PLACES: dict[str, Point] = {
    "temporal": (0.93, -0.1, 0.0),
    "parietal": (0.8, 0.35, 0.4),
    "frontal": (0.6, -0.75, 0.25),
    "occipital": (0.5, 0.8, -0.1),
    "fossa": (0.42, 0.8, -0.45),
    "vertex": (0.12, 0.1, 1.0),
}

_LENS_FILL, _CRESCENT_FILL = 0.38, 0.5
"""Volume of a collection over that of a disc of its reach and thickness."""

_DURA_MM = 1.2
"""Thickness that the mask loses to the dura and to the collection's thin rim."""


def epidural(case: Case) -> tuple[Bleed, ...]:
    """A lens under one bone, most often the temporal one; often fresh, with blood in it that has not clotted."""
    rng = case.rng
    place = case.pick(temporal=0.4, parietal=0.22, frontal=0.16, occipital=0.08, fossa=0.07, vertex=0.07)
    # Under the blow, and opposite to it now and then.
    side = case.side if rng.random() < 0.8 else -case.side
    x, y, z = _EPIDURAL_PLACES[place]
    at = unit(side * (x + rng.normal(0, 0.05)), y + rng.normal(0, 0.08), z + rng.normal(0, 0.06))
    size_ml = case.ml(4, 30 if place == "fossa" else 100)
    # Thickness over radius: small ones are flat.
    steep = rng.uniform(0.2, 0.4) + 0.035 * np.log(max(size_ml, 1))
    reach = (size_ml * 1000 / (_LENS_FILL * np.pi * steep)) ** (1 / 3)
    return (
        Bleed(
            subtype="epidural", kind="lens", at=at, size_ml=size_ml, blood=_fresh(case, 66),
            reach_mm=float(reach), thick_mm=float(steep * reach + _DURA_MM),
        ),
    )  # fmt: skip


def _fresh(case: Case, hu: float) -> Blood:
    """Acute blood around ``hu``: clotted, or with streaks and blobs of blood that still flows."""
    dense = float(case.rng.normal(hu, 4))
    if case.pick(even=0.55, swirl=0.45) == "even":
        return case.blood(dense)
    return case.blood(dense, "swirl", thin_hu=float(case.rng.uniform(30, 46)))


def subdural(case: Case) -> tuple[Bleed, ...]:
    """Crescents over a hemisphere, sheets on the falx and the tentorium: fresh after a blow, old in old brains."""
    if case.mechanism == "spontaneous":
        return _old(case)
    where = case.pick(convexity=0.55, falx=0.1, tentorium=0.12, several=0.15, fossa=0.04, both=0.04)
    if where == "several":
        # Blood over a convexity runs on along the falx or the tentorium.
        size_ml = case.ml(6, 80)
        more = _sheet(case, case.pick(falx=0.5, tentorium=0.5), 0.2 * size_ml)
        return _crescent(case, case.side, 0.8 * size_ml), more
    if where in ("falx", "tentorium"):
        return (_sheet(case, where, case.ml(2, 12)),)
    if where == "both":
        size_ml = case.ml(8, 60)
        return _crescent(case, case.side, 0.65 * size_ml), _crescent(case, -case.side, 0.35 * size_ml)
    return (_crescent(case, case.side, case.ml(3, 12) if where == "fossa" else case.ml(6, 90), below=where == "fossa"),)


def _crescent(case: Case, side: float, size_ml: float, *, below: bool = False) -> Bleed:
    rng = case.rng
    # Thin ones of 2 to 4 mm are as frequent as thick ones, and a few ml cover no hemisphere.
    thick = float(np.exp(rng.uniform(np.log(2.2), np.log(14))))
    reach = np.sqrt(size_ml * 1000 / (_CRESCENT_FILL * np.pi * thick))
    reach = float(np.clip(reach, 7, 40 if below else 88))
    thick = max(float(size_ml * 1000 / (_CRESCENT_FILL * np.pi * reach**2)), 2.0)
    if below:
        at = unit(side * 0.55, rng.normal(0.7, 0.1), rng.normal(-0.45, 0.06))
    else:
        at = unit(side, rng.normal(0, 0.4), rng.normal(0.4, 0.2))
    return Bleed(
        subtype="subdural", kind="crescent", at=at, size_ml=size_ml, blood=_of_any_age(case),
        reach_mm=reach, thick_mm=thick + _DURA_MM,
    )  # fmt: skip


def _of_any_age(case: Case) -> Blood:
    """Acute most often; subacute blood is about as dense as brain; new blood in old lies below serum."""
    age = case.pick(acute=0.7, anaemic=0.06, subacute=0.1, mixed=0.14)
    if age == "acute":
        return _fresh(case, 62)
    if age == "mixed":
        return _levelled(case)
    return case.blood(float(case.rng.normal(48 if age == "anaemic" else 41, 3)))


def _levelled(case: Case) -> Blood:
    rng = case.rng
    hu, thin_hu = float(rng.uniform(46, 64)), float(rng.uniform(20, 32))
    return case.blood(hu, "level", thin_hu=thin_hu, cells=float(rng.uniform(0.2, 0.7)))


def _old(case: Case) -> tuple[Bleed, ...]:
    """Chronic collections: nearly fluid, with membranes, or with a level after new bleeding; often on both sides."""
    rng = case.rng
    size_ml = case.ml(15, 110)
    shares = ((case.side, 0.6), (-case.side, 0.4)) if rng.random() < 0.35 else ((case.side, 1.0),)
    found = []
    for side, share in shares:
        bleed = _crescent(case, side, share * size_ml)
        thin_hu = float(rng.uniform(17, 30))
        look = case.pick(fluid=0.25, septa=0.3, level=0.25, subacute=0.2)
        if look == "level":
            blood = _levelled(case)
        elif look == "septa":
            blood = case.blood(float(rng.uniform(42, 60)), "septa", thin_hu=thin_hu)
        else:
            blood = case.blood(thin_hu + 3 if look == "fluid" else float(rng.uniform(30, 42)))
        found.append(replace(bleed, blood=blood))
    return tuple(found)


def _sheet(case: Case, kind: str, size_ml: float) -> Bleed:
    """Blood on one side of the falx, or on one leaf of the tentorium."""
    rng = case.rng
    reach = float(rng.uniform(14, 26) * np.clip(size_ml / 2, 0.6, 1.8))
    side = case.side if rng.random() < 0.7 else -case.side
    if kind == "falx":
        at = (side, float(rng.choice([-38.0, 42.0]) + rng.normal(0, 10)), float(rng.uniform(36, 52)))
    else:
        at = (side * float(rng.uniform(16, 30)), float(rng.uniform(32, 58)), 0.0)
    thick = max(float(size_ml * 1000 / (0.45 * np.pi * reach**2)), 1.8)
    return Bleed(
        subtype="subdural", kind=kind, at=at, size_ml=size_ml, blood=case.blood(float(rng.normal(62, 5))),
        reach_mm=reach, thick_mm=thick,
    )  # fmt: skip
