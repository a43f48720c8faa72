"""What each scan of a phantom cohort shows, drawn from the seed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ichformer import SUBTYPES
from ichformer.ct.phantom.acquisition.sites import Site
from ichformer.ct.phantom.findings.confounders import CONFOUNDERS, LASTING


@dataclass(frozen=True, kw_only=True)
class Order:
    """What scan ``number`` of a cohort shows; it does not depend on the cohort's size."""

    number: int
    first_of_patient: int
    site: Site
    subtypes: tuple[str, ...]
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
    subtypes: tuple[str, ...] = ()
    if rng.random() < prevalence:
        count = rng.choice([1, 2, 3], p=[0.6, 0.28, 0.12])
        chosen = rng.choice(len(SUBTYPES), size=count, replace=False, p=[0.2, 0.22, 0.18, 0.2, 0.2])
        subtypes = tuple(SUBTYPES[k] for k in sorted(chosen))
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
        small=tuple(name for name, u in zip(SUBTYPES, of_size.random(len(SUBTYPES)), strict=True) if u < small),
        confounders=tuple(name for name, a, b in drawn if (a if name in LASTING else b) < confounders),
    )
