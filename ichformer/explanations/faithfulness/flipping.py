"""Pixel flipping: what becomes of the score while places are taken out in the order of a map."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float

from ichformer.ct.anatomy.head import SKIN_HU
from ichformer.explanations.score import ExplainedScore

Fill = Callable[[Float[Array, "b s h w c"], Bool[Array, "b s h w"]], Float[Array, "b s h w c"]]
"""From windowed slices and the voxels that are taken out to slices in which something else stands there."""

_AT_ONCE = 4
"""Changed scans that run as one batch: each needs the memory of a prediction."""


@struct.dataclass
class FlippingCurves:
    """Scores in logits after 0, 1/K, ..., 1 of the voxels were taken out.

    Attributes:
      most_first: float32 [B,K+1], voxels with the largest values of the map first. It should fall at once.
      least_first: float32 [B,K+1], voxels with the smallest values first. It should stay until the end.
    """

    # Any: JAX rebuilds a pytree with shapes, shardings and tracers in the place of its arrays.
    most_first: Any
    least_first: Any

    @property
    def deletion(self) -> Float[Array, "b"]:
        """The mean score while the largest values go first; low is good (Petsiuk et al. 2018, "RISE", section 4.2)."""
        return _mean(self.most_first)

    @property
    def insertion(self) -> Float[Array, "b"]:
        """The mean score while the largest values come first into a scan of fillings; high is good.

        A scan that has lost all but its largest values is one into which these alone were put.
        """
        return _mean(self.least_first)

    @property
    def symmetric_relevance_gain(self) -> Float[Array, "b"]:
        """Insertion less deletion (Blücher et al. 2024, "Decoupling pixel flipping and occlusion strategy").

        0 for a random order, whatever the filling.
        """
        return self.insertion - self.deletion


def flipping_curves(
    score: ExplainedScore, maps: Float[Array, "b s h w"], fill: Fill, *, steps: int = 20, seed: int = 0
) -> FlippingCurves:
    """Takes out the voxels of tissue in the order of a map, and in the opposite order; one program for all steps.

    Voxels of air and padding are never taken out. Equal values go in random order: in reading order a map that is flat
    would seem to say that the lowest slices matter.

    Args:
      score: what is explained.
      maps: on the grid of the prepared scan; signed or not.
      fill: what stands where voxels were taken out.
      steps: K; the score is computed twice K + 1 times.
      seed: of the order among equal values.
    """
    tissue = tissue_of(score)
    fractions = jnp.linspace(0.0, 1.0, steps + 1)
    count = tissue.sum(axis=(1, 2, 3))

    def scores_of(ranks: Float[Array, "b s h w"]) -> Float[Array, "b k"]:
        def at(fraction: Array) -> Float[Array, "b"]:
            gone = tissue & (ranks < jnp.round(fraction * count)[:, None, None, None])
            return score(fill(score.windowed, gone))

        return jax.lax.map(at, fractions, batch_size=min(_AT_ONCE, steps + 1)).T

    ranks = _ranks(maps, jax.random.uniform(jax.random.key(seed), maps.shape), tissue)
    opposite = count[:, None, None, None] - 1 - ranks
    return FlippingCurves(most_first=scores_of(opposite), least_first=scores_of(ranks))


def tissue_of(score: ExplainedScore) -> Bool[Array, "b s h w"]:
    """The voxels of real slices that are not air."""
    return score.slice_mask[:, :, None, None] & (score.hu >= SKIN_HU)


def _ranks(
    values: Float[Array, "b s h w"], noise: Float[Array, "b s h w"], tissue: Bool[Array, "b s h w"]
) -> Float[Array, "b s h w"]:
    """The place of each voxel in the order of rising values, from 0; voxels that are no tissue come last."""

    def of_scan(values: Array, noise: Array, tissue: Array) -> Array:
        order = jnp.lexsort((noise.ravel(), values.ravel(), ~tissue.ravel()))
        places = jnp.arange(order.size, dtype=jnp.float32)
        return jnp.zeros(order.size).at[order].set(places).reshape(values.shape)

    return jax.vmap(of_scan)(values, noise, tissue)


def _mean(curve: Float[Array, "b k"]) -> Float[Array, "b"]:
    """The area under a curve over [0, 1], by the trapezoidal rule."""
    return (curve[:, 1:] + curve[:, :-1]).mean(axis=1) / 2
