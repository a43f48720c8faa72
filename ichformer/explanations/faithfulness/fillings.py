"""What stands where voxels were taken out of a scan. It decides what a curve of pixel flipping means."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ichformer.explanations.faithfulness.flipping import Fill


def from_scan(other: Float[Array, "b s h w c"]) -> Fill:
    """Voxels of another scan of the same shape, such as ``ExplainedScore.reference``.

    For a phantom, take the windowed slices of the same phantom without its bleed: then every scan on the way is one
    that could be.
    """

    def fill(windowed: Float[Array, "b s h w c"], gone: Bool[Array, "b s h w"]) -> Float[Array, "b s h w c"]:
        return jnp.where(gone[..., None], other, windowed)

    return fill


def from_neighbours(*, passes: int = 32, noise: float = 0.02, seed: int = 0) -> Fill:
    """Weighted means of the neighbours in the slice, and noise: nothing tells where voxels were taken out.

    After ROAD (Rong et al. 2022, "A consistent and efficient evaluation strategy for attribution methods", ICML), which
    solves for values that are the means of their eight neighbours, 1/6 for those beside and 1/12 for diagonal ones.
    Here some passes of Jacobi's method begin from the mean of what is left of the slice, so the middle of a large hole
    is flatter than ROAD has it.

    Args:
      passes: of the iteration; what lies around reaches as many voxels into a hole.
      noise: standard deviation in units of a window, as ROAD's.
      seed: of the noise.
    """
    weights = jnp.asarray([[1 / 12, 1 / 6, 1 / 12], [1 / 6, 0.0, 1 / 6], [1 / 12, 1 / 6, 1 / 12]])

    def fill(windowed: Float[Array, "b s h w c"], gone: Bool[Array, "b s h w"]) -> Float[Array, "b s h w c"]:
        hole = gone[..., None]
        left = jnp.where(hole, 0.0, windowed).sum(axis=(2, 3), keepdims=True)
        mean = left / jnp.maximum((~hole).sum(axis=(2, 3), keepdims=True), 1)

        def smooth(values: Array) -> Array:
            padded = jnp.pad(values, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
            rows, columns = values.shape[2:4]
            around = sum(
                weights[i, j] * padded[:, :, i : i + rows, j : j + columns] for i in range(3) for j in range(3)
            )
            return jnp.where(hole, around, values)

        filled = jax.lax.fori_loop(0, passes, lambda _, values: smooth(values), jnp.where(hole, mean, windowed))
        grain = noise * jax.random.normal(jax.random.key(seed), windowed.shape)
        return jnp.where(hole, jnp.clip(filled + grain, 0.0, 1.0), windowed)

    return fill
