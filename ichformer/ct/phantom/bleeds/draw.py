"""What bleeds in a head: those of every subtype asked for."""

from collections.abc import Callable, Collection

import numpy as np

from ichformer import SUBTYPES
from ichformer.ct.phantom.bleeds.bleed import MECHANISMS, Bleed, Case, Mechanism
from ichformer.ct.phantom.bleeds.extraaxial import epidural, subdural
from ichformer.ct.phantom.bleeds.fluid import intraventricular, subarachnoid
from ichformer.ct.phantom.bleeds.parenchymal import intraparenchymal
from ichformer.ct.phantom.population import Population

_DRAW: dict[str, Callable[[Case], tuple[Bleed, ...]]] = {
    "epidural": epidural,
    "intraparenchymal": intraparenchymal,
    "intraventricular": intraventricular,
    "subarachnoid": subarachnoid,
    "subdural": subdural,
}


def draw_bleeds(
    rng: np.random.Generator,
    subtypes: Collection[str],
    *,
    small: Collection[str] = (),
    mechanism: Mechanism | None = None,
    population: Population,
) -> tuple[Bleed, ...]:
    """One bleed or several of every subtype asked for, in the order of ``SUBTYPES``.

    They share a side, as injuries do, and a mechanism, which is drawn where it is None.
    """
    side = float(rng.choice([-1.0, 1.0]))
    drawn = MECHANISMS[int(rng.integers(len(MECHANISMS)))]
    # Every subtype draws from its own stream, so that planting one more does not change the others.
    streams = zip(SUBTYPES, rng.spawn(len(SUBTYPES)), strict=True)
    cases = {
        name: Case(rng=stream, side=side, mechanism=mechanism or drawn, is_small=name in small, population=population)
        for name, stream in streams
    }
    return tuple(bleed for name in SUBTYPES if name in subtypes for bleed in _DRAW[name](cases[name]))
