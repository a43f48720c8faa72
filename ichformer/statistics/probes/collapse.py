"""Whether features have collapsed, measured without any label: a model that gives every scan the same is of no use."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from ichformer.statistics.probes.neighbours import unit_length

LEAST_SPREAD = 1e-3
"""Share of ``Collapse.full_spread`` below which features have collapsed: networks were seen with 0.01 to 0.4."""

LEAST_RANK = 1.01
"""Effective rank below which features have collapsed: networks were seen with 1.2 and more."""


@dataclass(frozen=True, kw_only=True)
class Collapse:
    """Measures of collapse of the features of some scans.

    Attributes:
      scans: how many there are.
      dimensions: features of each scan.
      effective_rank: how many directions the features use, from 1 to the smaller of ``scans`` and ``dimensions``.
      spread: mean standard deviation of a feature, the features of a scan having length 1. It is 0 after a collapse,
        and at most ``1 / sqrt(dimensions)``.
      similarity: mean cosine similarity of two different scans, 1 after a collapse.
    """

    scans: int
    dimensions: int
    effective_rank: float
    spread: float
    similarity: float

    @property
    def full_spread(self) -> float:
        """The ``spread`` of features that point in all directions alike."""
        return float(self.dimensions**-0.5)

    @property
    def has_happened(self) -> bool:
        """Whether nearly nothing is left of what tells scans apart: ``LEAST_SPREAD`` and ``LEAST_RANK``."""
        return self.spread < LEAST_SPREAD * self.full_spread or self.effective_rank < LEAST_RANK


def measure_collapse(features: Float64[np.ndarray, "n d"]) -> Collapse:
    """Measure the collapse of the features of two or more scans."""
    return Collapse(
        scans=len(features),
        dimensions=features.shape[1],
        effective_rank=effective_rank(features),
        spread=mean_spread(features),
        similarity=mean_similarity(features),
    )


def effective_rank(features: Float64[np.ndarray, "n d"]) -> float:
    """RankMe: exp of the entropy of the singular values as shares of their sum; 0 where all features are 0.

    Source: Garrido, Balestriero, Najman, LeCun, RankMe, ICML 2023, equation 1, without the 1e-7 that is added there to
    every share so that none is 0. The features are not centred, as there.
    """
    singular = np.linalg.svd(features, compute_uv=False)
    total = singular.sum()
    from scipy.special import entr  # only where it is asked for: a training that is not probed loads no SciPy

    return float(np.exp(entr(singular / total).sum())) if total > 0 else 0.0


def mean_spread(features: Float64[np.ndarray, "n d"]) -> float:
    """Mean over the dimensions of the standard deviation of features of length 1.

    Source: Chen, He, Exploring Simple Siamese Representation Learning, CVPR 2021, section 4.1.
    """
    return float(unit_length(features).std(axis=0).mean())


def mean_similarity(features: Float64[np.ndarray, "n d"]) -> float:
    """Mean cosine similarity over all pairs of different rows."""
    unit, n = unit_length(features), len(features)
    # The square of the sum holds each pair twice, and each row with itself once.
    return float((np.sum(unit.sum(axis=0) ** 2) - np.sum(unit**2)) / (n * (n - 1)))
