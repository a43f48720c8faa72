"""What each scan of a phantom cohort shows, drawn from the seed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ichformer import SUBTYPES
from ichformer.ct.phantom.acquisition.sites import Site
from ichformer.ct.phantom.bleeds.bleed import Mechanism
from ichformer.ct.phantom.findings.confounders import CONFOUNDERS, LASTING

_PATTERNS: tuple[tuple[float, Mechanism, tuple[str, ...]], ...] = (
    # One subtype alone.
    (0.12, "trauma", ("epidural",)),
    (0.05, "trauma", ("intraparenchymal",)),
    (0.08, "spontaneous", ("intraparenchymal",)),
    (0.03, "trauma", ("intraventricular",)),
    (0.04, "spontaneous", ("intraventricular",)),
    (0.07, "trauma", ("subarachnoid",)),
    (0.03, "spontaneous", ("subarachnoid",)),
    (0.09, "trauma", ("subdural",)),
    (0.06, "spontaneous", ("subdural",)),
    # A blow bruises the brain and tears the vessels over it.
    (0.06, "trauma", ("intraparenchymal", "subarachnoid", "subdural")),
    (0.05, "trauma", ("subarachnoid", "subdural")),
    (0.05, "trauma", ("intraparenchymal", "subarachnoid")),
    (0.04, "trauma", ("epidural", "intraparenchymal")),
    (0.04, "trauma", ("epidural", "subarachnoid")),
    (0.04, "trauma", ("epidural", "subdural")),
    (0.02, "trauma", ("intraventricular", "subarachnoid", "subdural")),
    # An artery bursts in the brain and the blood breaks through into the ventricles, or an aneurysm does.
    (0.08, "spontaneous", ("intraparenchymal", "intraventricular")),
    (0.05, "spontaneous", ("intraventricular", "subarachnoid")),
)
"""What bleeds together: weight, mechanism and subtypes."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What scan ``number`` of a cohort shows; it does not depend on the cohort's size."""

    number: int
    first_of_patient: int
    site: Site
    subtypes: tuple[str, ...]
    mechanism: Mechanism | None = None
    small: tuple[str, ...] = ()
    confounders: tuple[str, ...] = ()


def plan_scan(
    number: int,
    *,
    seed: int,
    sites: Sequence[Site],
    prevalence: float,
    confounders: float = 0.0,
    small: float = 0.0,
) -> Order:
    """Draw site, patient, bleeds and confounders of one scan; every sixth round of sites repeats its patients."""
    rng = np.random.default_rng([seed, number, 2])
    is_second = number // len(sites) % 6 == 5
    mechanism: Mechanism | None = None
    subtypes: tuple[str, ...] = ()
    if rng.random() < prevalence:
        weights = np.array([weight for weight, _, _ in _PATTERNS])
        _, mechanism, subtypes = _PATTERNS[int(rng.choice(len(_PATTERNS), p=weights / weights.sum()))]
    first = number - len(sites) if is_second else number
    # From generators of their own: with confounders or without, the bleeds stay as they are.
    of_patient, of_scan, of_size = (
        np.random.default_rng([seed, of, stream]) for of, stream in ((first, 6), (number, 7), (number, 8))
    )
    lasting, passing = of_patient.random(len(CONFOUNDERS)), of_scan.random(len(CONFOUNDERS))
    drawn = zip(CONFOUNDERS, lasting, passing, strict=True)
    return Order(
        number=number,
        first_of_patient=first,
        site=sites[number % len(sites)],
        subtypes=subtypes,
        mechanism=mechanism,
        small=tuple(name for name, u in zip(SUBTYPES, of_size.random(len(SUBTYPES)), strict=True) if u < small),
        confounders=tuple(name for name, a, b in drawn if (a if name in LASTING else b) < confounders),
    )
