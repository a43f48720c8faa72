"""Tiny cohorts for tests, ours and those of people who build on the library."""

from dataclasses import replace
from pathlib import Path

from ichformer.ct.phantom.acquisition.sites import SITES, Site
from ichformer.ct.phantom.cohort import write_cohort


def _tiny(site: Site, name: str) -> Site:
    return replace(site, name=name, pixels=64, thickness_mm=14.0, step_mm=3.6)


TINY_SITES = (_tiny(SITES["alder"], "tiny-a"), _tiny(SITES["birch"], "tiny-b"))
"""Two scanners of 64 x 64 pixels and about ten thick slices; the second is tilted and pads."""


def tiny_cohort(out: Path | str, *, scans: int = 8, seed: int = 0, prevalence: float = 0.5) -> Path:
    """Writes a tiny cohort of synthetic scans (see ``write_phantom_cohort``) in well under a second, in this process.

    Args:
      out: folder to write, which does not exist yet.
      scans: number of scans. Sites take turns, and from 11 scans on some patients have two studies.
      seed: of everything random.
      prevalence: share of the scans with a bleed.

    Returns:
      ``out``.
    """
    return write_cohort(out, scans=scans, seed=seed, sites=TINY_SITES, prevalence=prevalence, workers=1, progress=False)
