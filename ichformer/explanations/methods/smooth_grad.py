"""SmoothGrad: the gradient without what a little noise would change in it."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ichformer.explanations.score import ExplainedScore, Explanation


def smooth_grad(score: ExplainedScore, *, samples: int = 32, noise: float = 0.1, seed: int = 0) -> Explanation:
    """SmoothGrad of Smilkov et al. 2017 (arXiv 1706.03825) times the input, summed over windows.

    The gradient is the mean over noisy copies of the scan, one after another in constant memory; the input is counted
    from ``ExplainedScore.reference``, as for ``input_x_gradient``.

    Args:
      score: of any model with a gradient.
      samples: noisy copies.
      noise: standard deviation of the noise in each window, whose range is 1. The paper takes 0.1 to 0.2.
      seed: of the noise.
    """
    windowed = score.windowed

    def add(total: Float[Array, "b s h w c"], key: Array) -> tuple[Float[Array, "b s h w c"], None]:
        return total + score.gradient(windowed + noise * jax.random.normal(key, windowed.shape)), None

    keys = jax.random.split(jax.random.key(seed), samples)
    total, _ = jax.lax.scan(add, jnp.zeros_like(windowed), keys)
    return Explanation(maps=score.only_real(((windowed - score.reference) * total / samples).sum(axis=-1)))
