"""Ablation-CAM: how far the score falls where a channel of a slice is taken away, without a gradient."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ichformer.explanations.methods.cam import explained_by, features
from ichformer.explanations.score import ExplainedScore, Explanation

_AT_ONCE = 32
"""Channels whose ablations run together; the model up to the grid runs once for all of them."""


def ablation_cam(score: ExplainedScore) -> Explanation:
    """Ablation-CAM of Desai & Ramaswamy 2020 ("Ablation-CAM", WACV), equations 4 and 5, for each slice of each scan.

    The weight of channel k in slice s is the fall of the score where that channel is 0 all over that slice, and the map
    is ReLU(sum over k of weight_k A_k). The paper divides by the score, which is one number for the whole scan and of
    either sign, so here it is left out.

    One compiled program scans over all channels of all slices, ``_AT_ONCE`` at a time. It takes as many passes of the
    model behind the grid as there are channels and slices.

    Args:
      score: as for ``cam.grad_cam``.

    Raises:
      CannotExplainError: see ``cam.grad_cam``.
    """
    shape, changed = features(score)
    whole, grid = changed(jnp.zeros(shape))
    slices, channels = grid.shape[1], grid.shape[-1]

    def without(place: Array) -> Float[Array, "b"]:
        here = jnp.arange(slices * channels).reshape(1, slices, 1, 1, channels) == place
        return changed(jnp.where(here, -grid, jnp.zeros((), grid.dtype)))[0]

    places = jnp.arange(slices * channels)
    scores = jax.lax.map(without, places, batch_size=min(_AT_ONCE, len(places)))  # [s*d, b]
    weights = (whole[None] - scores).T.reshape(len(whole), slices, 1, 1, channels)
    return explained_by(score, weights * grid.astype(jnp.float32))
