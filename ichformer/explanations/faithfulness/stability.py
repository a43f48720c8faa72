"""Whether a map stays where the scan hardly changes, and does not where the model or the label does."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from scipy.stats import spearmanr

from ichformer.explanations.score import ExplainedScore


def max_sensitivity(
    score: ExplainedScore,
    explain: Callable[[ExplainedScore], Float[Array, "b s h w"]],
    *,
    radius_hu: float = 4.0,
    samples: int = 8,
    seed: int = 0,
) -> Float[Array, "b"]:
    """The largest change of the map under noise of at most ``radius_hu``, over the map; both as Euclidean norms.

    Max-sensitivity of Yeh et al. 2019 (see ``infidelity``), equation 3, over random changes in place of all.

    Args:
      score: what is explained.
      explain: from the score to its maps.
      radius_hu: of the noise, uniform in each voxel and rounded to whole HU.
      samples: number of changed scans.
      seed: of the noise.
    """
    first = explain(score)

    def norm(x: Array) -> Float[Array, "b"]:
        return jnp.sqrt((x**2).sum(axis=(1, 2, 3)))

    def change(key: Array) -> Float[Array, "b"]:
        noise = jax.random.uniform(key, score.hu.shape, minval=-radius_hu, maxval=radius_hu)
        changed = (score.hu + jnp.round(noise)).astype(score.hu.dtype)
        return norm(explain(dataclasses.replace(score, hu=changed)) - first)

    changes = jax.lax.map(change, jax.random.split(jax.random.key(seed), samples))
    return changes.max(axis=0) / jnp.maximum(norm(first), 1e-12)


def similarity(
    first: Float[np.ndarray, "s h w"], second: Float[np.ndarray, "s h w"], tissue: Bool[np.ndarray, "s h w"]
) -> float | None:
    """Spearman's correlation of two maps over the tissue; None where one of them is flat there.

    Adebayo et al. 2018 ("Sanity checks for saliency maps", NeurIPS) compare the map of a model with that of the model
    with random parameters, and Sixt et al. 2020 ("When explanations lie", ICML) the maps of two labels. A map that
    stays the same explains the picture, and not the model.
    """
    a, b = first[tissue], second[tissue]
    if a.size < 2 or a.min() == a.max() or b.min() == b.max():
        return None
    return float(spearmanr(a, b).statistic)
