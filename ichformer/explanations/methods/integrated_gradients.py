"""Integrated gradients: the difference to a scan of plain brain, divided among the voxels without a rest."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ichformer.explanations.score import ExplainedScore, Explanation

_FIRST_STEPS = 10


def integrated_gradients(score: ExplainedScore, *, tolerance: float = 1e-3, most_steps: int = 270) -> Explanation:
    """Integrated gradients of Sundararajan et al. 2017 ("Axiomatic attribution for deep networks", ICML), equation 1.

    The path leads from ``ExplainedScore.reference``, plain brain, to the scan. The map is summed over windows. Its sum
    is the difference of the two scores, up to ``completeness_error``.

    The integral is taken by the midpoint rule at 10 points. As long as the error is too large, each step is cut in
    three, which keeps all points that are there. Memory is that of one gradient, whatever the number of steps.

    Args:
      score: of any model with a gradient.
      tolerance: the completeness error that is small enough.
      most_steps: no more points than these. The error that is left is reported.
    """
    windowed, reference = score.windowed, score.reference
    away = windowed - reference
    difference = score(windowed) - score(reference)

    def sum_of_gradients(steps: Array, places: Float[Array, "k"]) -> Float[Array, "b s h w c"]:
        """Over all steps, at these places of each; a step is 0 to 1."""

        def add(i: Array, total: Array) -> Array:
            for place in places:
                total = total + score.gradient(reference + (i + place) / steps * away)
            return total

        return jax.lax.fori_loop(0, steps, add, jnp.zeros_like(away))

    def with_error(steps: Array, mean: Array) -> tuple[Array, Array, Array]:
        missed = jnp.abs((mean * away).sum(axis=(1, 2, 3, 4)) - difference)
        return steps, mean, missed / jnp.maximum(jnp.abs(difference), 1.0)

    def is_rough(state: tuple[Any, Any, Any]) -> Array:
        steps, _, error = state
        return (error.max() > tolerance) & (3 * steps <= most_steps)

    def finer(state: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        steps, mean, _ = state
        added = sum_of_gradients(steps, jnp.asarray([1 / 6, 5 / 6]))
        return with_error(3 * steps, mean / 3 + added / (3 * steps))

    first = jnp.asarray(_FIRST_STEPS)
    start = with_error(first, sum_of_gradients(first, jnp.asarray([0.5])) / first)
    _, mean, error = jax.lax.while_loop(is_rough, finer, start)
    return Explanation(maps=score.only_real((mean * away).sum(axis=-1)), completeness_error=error)
