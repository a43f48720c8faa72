"""Occlusion in 3-D: how far the score falls where a block of the scan becomes plain brain."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ichformer.explanations.blocks import in_block
from ichformer.explanations.score import ExplainedScore, Explanation

_AT_ONCE = 4
"""Changed scans that run as one batch: each needs the memory of a prediction."""


def occlusion(
    score: ExplainedScore,
    *,
    block: tuple[int, int, int] | None = None,
    stride: tuple[int, int, int] | None = None,
) -> Explanation:
    """Occlusion of Zeiler & Fergus 2014 ("Visualizing and understanding convolutional networks", ECCV), in blocks.

    A voxel is given the mean, over the blocks that cover it, of the score without a change minus the score with the
    block replaced by ``ExplainedScore.reference``. Every position of the block is one pass of the model; all of them
    are one compiled program. The default block of a scan of 32 slices has 2304 positions.

    Args:
      score: of any model.
      block: slices, rows and columns of a block; 2 slices and a twelfth of the rows and columns where None.
      stride: from one block to the next; the block where None, so that blocks do not overlap.
    """
    windowed, reference = score.windowed, score.reference
    shape = windowed.shape[1:4]
    block = block or (min(2, shape[0]), -(-shape[1] // 12), -(-shape[2] // 12))
    stride = stride or block
    counts = [-(-(size - side) // step) + 1 for size, side, step in zip(shape, block, stride, strict=True)]
    starts = jnp.stack(
        [grid.ravel() for grid in jnp.meshgrid(*[jnp.arange(n) for n in counts], indexing="ij")], axis=1
    ) * jnp.asarray([stride])
    whole = score(windowed)

    def fall(start: Array) -> Float[Array, "b"]:
        return whole - score(jnp.where(in_block(start, block, shape)[..., None], reference, windowed))

    def add(total: Array, given: tuple[Array, Array]) -> tuple[Array, None]:
        start, fallen = given
        return total + jnp.where(in_block(start, block, shape), fallen[:, None, None, None], 0.0), None

    falls = jax.lax.map(fall, starts, batch_size=min(_AT_ONCE, len(starts)))
    total, _ = jax.lax.scan(add, jnp.zeros(score.hu.shape, jnp.float32), (starts, falls))
    times, _ = jax.lax.scan(add, jnp.zeros((1, *shape), jnp.float32), (starts, jnp.ones((len(starts), 1))))
    return Explanation(maps=score.only_real(total / jnp.maximum(times, 1.0)))
