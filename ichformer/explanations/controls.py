"""Maps that know nothing of the model: what a method has to be better than."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from ichformer.explanations.registry import Explain
from ichformer.explanations.score import ExplainedScore, Explanation

_CELLS = 16
"""Rows and columns of the random map, about as many as a feature grid has."""


def random_map(score: ExplainedScore, *, seed: int = 0) -> Explanation:
    """Uniform noise on a grid of 16 x 16 cells in each slice: where a coarse map points by chance."""
    scans, slices = score.slice_mask.shape
    return Explanation(maps=score.only_real(jax.random.uniform(jax.random.key(seed), (scans, slices, _CELLS, _CELLS))))


def edges(score: ExplainedScore) -> Explanation:
    """The size of the gradient of the picture, by Sobel's operator, as a mean over the windows.

    Adebayo et al. 2018 ("Sanity checks for saliency maps", NeurIPS) found that maps of some methods are little else.
    """
    padded = jnp.pad(score.windowed, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    rows, columns = score.hu.shape[2:]

    def at(row: int, column: int) -> jax.Array:
        return padded[:, :, row : row + rows, column : column + columns]

    down = at(2, 0) + 2 * at(2, 1) + at(2, 2) - at(0, 0) - 2 * at(0, 1) - at(0, 2)
    right = at(0, 2) + 2 * at(1, 2) + at(2, 2) - at(0, 0) - 2 * at(1, 0) - at(2, 0)
    return Explanation(maps=score.only_real(jnp.hypot(down, right).mean(axis=-1)))


CONTROLS: Mapping[str, Explain] = {"random": random_map, "edges": edges}
"""The controls by name."""
