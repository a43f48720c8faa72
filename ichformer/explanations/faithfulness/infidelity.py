"""Infidelity: whether sums of a map foretell how the score falls."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ichformer.explanations.blocks import in_block
from ichformer.explanations.score import ExplainedScore


def infidelity(
    score: ExplainedScore,
    maps: Float[Array, "b s h w"],
    *,
    block: tuple[int, int, int] = (2, 16, 16),
    samples: int = 64,
    seed: int = 0,
) -> Float[Array, "b"]:
    """Infidelity of Yeh et al. 2019 ("On the (in)fidelity and sensitivity of explanations", NeurIPS), equation 1.

    Blocks at random places become ``ExplainedScore.reference``. The figure is the mean square of the block's sum of the
    map less the fall of the score, with the map times the one factor that makes it smallest (their appendix), over the
    mean square of the falls: 0 for a map that foretells every fall, 1 for one that tells nothing.

    Args:
      score: what is explained.
      maps: on the grid of the prepared scan.
      block: slices, rows and columns of a block.
      samples: number of blocks.
      seed: of their places.
    """
    windowed, reference, whole = score.windowed, score.reference, score(score.windowed)
    shape = windowed.shape[1:4]
    last = jnp.asarray([[max(size - side, 0) + 1 for size, side in zip(shape, block, strict=True)]])
    starts = jax.random.randint(jax.random.key(seed), (samples, 3), 0, last)

    def one(start: Array) -> tuple[Array, Array]:
        covered = in_block(start, block, shape)
        told = jnp.where(covered, maps, 0.0).sum(axis=(1, 2, 3))
        return told, whole - score(jnp.where(covered[..., None], reference, windowed))

    told, fell = jax.lax.map(one, starts, batch_size=4)
    factor = (told * fell).sum(axis=0, keepdims=True) / jnp.maximum((told**2).sum(axis=0, keepdims=True), 1e-12)
    squares = (fell**2).mean(axis=0)
    return ((factor * told - fell) ** 2).mean(axis=0) / jnp.where(squares > 0, squares, 1.0)
