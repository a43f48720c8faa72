"""The heads on which pretrainings are compared: phantoms of one site, made once."""

import functools
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from ichformer.ct.phantom.make import POSITIVE_ML, make_phantom
from ichformer.ct.phantom.plan import plan_scan
from ichformer.ct.phantom.population import Population
from ichformer.process.workers import map_processes
from ichformer.testing import TINY_SITES

PATIENTS, SLICES = 360, 10
"""Heads, and the upper slices of each that are kept."""

SEEN_ML = 1.0
"""A slice counts as one with a bleed from here on. Those with less, but with some, count for nothing."""


class Heads(NamedTuple):
    """int16 HU [N,S,H,W], labels [N,S] that are NaN where unknown, and the spacing of all."""

    hu: np.ndarray
    labels: np.ndarray
    spacing_mm: np.ndarray


@functools.cache
def heads() -> Heads:
    """Phantoms of one site, each a patient: 7 of 10 with bleeds, which are 2.5 times as large as usual."""
    made = map_processes(_head, range(PATIENTS), desc="heads", unit="head", progress=False)
    hu, labels, spacing_mm = zip(*made, strict=True)
    return Heads(np.stack(hu), np.stack(labels), spacing_mm[0])


def _head(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    site = replace(TINY_SITES[0], pixels=32, population=Population(bleed_ml=2.5))
    order = plan_scan(number, seed=0, sites=(site,), prevalence=0.7)
    with threadpool_limits(1):  # sums in another order would round otherwise, and threads of small matrices wait
        phantom = make_phantom(number, site=site, subtypes=order.subtypes, mechanism=order.mechanism)
    blood_ml = phantom.blood_ml.sum(1)[-SLICES:]
    labels = np.where(blood_ml >= SEEN_ML, 1.0, np.where(blood_ml < POSITIVE_ML, 0.0, np.nan))
    return phantom.volume.hu[-SLICES:], labels, np.asarray(phantom.volume.spacing_mm, np.float32)
