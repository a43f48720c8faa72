"""RISE in 3-D: which parts of the scan were seen when the score was high, over random masks."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ichformer.explanations.score import ExplainedScore, Explanation

_AT_ONCE = 4
"""Masked scans that run as one batch: each needs the memory of a prediction."""


def rise(
    score: ExplainedScore,
    *,
    masks: int = 512,
    cells: tuple[int, int, int] | None = None,
    seen: float = 0.5,
    seed: int = 0,
) -> Explanation:
    """RISE of Petsiuk et al. 2018 ("RISE", BMVC), equation 6, less its mean, with masks in three dimensions.

    A mask is a coarse grid of zeros and ones, shifted at random by less than a cell and interpolated. Where it is 0,
    the scan becomes ``ExplainedScore.reference``. The map is the mean of score x mask over the masks, over ``seen``,
    less the mean score: a voxel that has no say is 0 but for chance, which falls with the root of ``masks``. The score
    is the logit, not the probability, which hardly moves where the model is sure.

    Args:
      score: of any model.
      masks: how many; each is one pass of the model.
      cells: of a mask, along slices, rows and columns; a cell for 4 slices and 7 x 7, as in the paper, where None.
      seen: the share of cells that are 1.
      seed: of the masks.
    """
    windowed, reference = score.windowed, score.reference
    shape = windowed.shape[1:4]
    cells = cells or (-(-shape[0] // 4), 7, 7)
    # One cell more along each axis, to shift by.
    sides = [-(-size // count) for size, count in zip(shape, cells, strict=True)]
    larger = [side * (count + 1) for side, count in zip(sides, cells, strict=True)]

    def mask_of(key: Array) -> Float[Array, "s h w"]:
        draw, shift = jax.random.split(key)
        coarse = jax.random.bernoulli(draw, seen, tuple(count + 1 for count in cells)).astype(jnp.float32)
        fine = jax.image.resize(coarse, larger, "linear", antialias=False)
        start = jnp.floor(jax.random.uniform(shift, (3,)) * jnp.asarray(sides)).astype(jnp.int32)
        return jax.lax.dynamic_slice(fine, tuple(start), shape)

    def masked_score(key: Array) -> Float[Array, "b"]:
        return score(reference + mask_of(key)[None, ..., None] * (windowed - reference))

    def add(total: Array, given: tuple[Array, Array]) -> tuple[Array, None]:
        key, above = given
        return total + above[:, None, None, None] * mask_of(key)[None], None

    keys = jax.random.split(jax.random.key(seed), masks)
    scores = jax.lax.map(masked_score, keys, batch_size=min(_AT_ONCE, masks))
    total, _ = jax.lax.scan(
        add, jnp.zeros(score.hu.shape, jnp.float32), (keys, scores - scores.mean(axis=0, keepdims=True))
    )
    return Explanation(maps=score.only_real(total / (masks * seen)))
