"""Made-up head CT with a known truth: heads, bleeds, scanners, written as real DICOM series."""

from ichformer.ct.phantom.acquisition.sites import DEFAULT_SITES, SITES, Site
from ichformer.ct.phantom.cohort import write_phantom_cohort
from ichformer.ct.phantom.findings.confounders import CONFOUNDERS
from ichformer.ct.phantom.make import POSITIVE_ML, Phantom, make_phantom

__all__ = [
    "CONFOUNDERS", "DEFAULT_SITES", "POSITIVE_ML", "SITES", "Phantom", "Site", "make_phantom", "write_phantom_cohort",
]  # fmt: skip
