"""Features of a model at a layer that is named: what they are, and what the score is when they are changed."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ichformer.errors import nearest
from ichformer.explanations.score import CannotExplainError, ExplainedScore

Changed = Callable[[Array], tuple[Array, Array]]
"""From what is added to a grid of features [B,S,h,w,D] to the score of each scan [B] and the changed grid."""

_SHOWN = 12


def features_at(score: ExplainedScore) -> tuple[tuple[int, ...], Changed]:
    """The shape of the features at ``score.layer``, and the score as a function of a change of them.

    A layer is a module of the model that gives a grid, such as ``encoder/stage1_block0``: for each slice, [B S,h,w,D],
    or for each layer of tokens, [B,tokens,h,w,D]. Blocks of a transformer that run as a loop are none, as what the
    loop holds cannot be changed from outside.

    Raises:
      CannotExplainError: the model has no such layer.
    """
    windowed, (scans, slices) = score.windowed, score.slice_mask.shape

    def grid_of(shape: tuple[int, ...]) -> tuple[int, ...] | None:
        if len(shape) == 4 and shape[0] == scans * slices:
            return (scans, slices, *shape[1:])
        return shape if len(shape) == 5 and shape[0] == scans and slices % shape[1] == 0 else None

    def run(change: Array | None) -> tuple[Array, dict[str, list[Array]]]:
        met: dict[str, list[Array]] = {}

        def watch(call: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
            y, name = call(*args, **kwargs), "/".join(context.module.path)
            if context.method_name != "__call__" or not isinstance(y, jax.Array):
                return y
            if change is not None and name == score.layer:
                y = y + change.reshape(y.shape).astype(y.dtype)
            if change is None or name == score.layer:
                met.setdefault(name, []).append(y)
            return y

        with nn.intercept_methods(watch):
            return score(windowed), met

    shapes: dict[str, list[tuple[int, ...]]] = {}

    def first() -> Array:
        total, met = run(None)
        shapes.update({name: [y.shape for y in ys] for name, ys in met.items()})
        return total

    jax.eval_shape(first)
    grids = {name: found for name, ys in shapes.items() if len(ys) == 1 and (found := grid_of(ys[0])) is not None}
    if score.layer not in grids:
        near = nearest(score.layer, tuple(grids))
        names = near or ", ".join(sorted(grids, key=lambda name: (name.count("/"), name))[:_SHOWN])
        raise CannotExplainError(f"it has no layer {score.layer!r} with a grid of features; perhaps {names}")
    shape = grids[score.layer]

    def changed(change: Array) -> tuple[Array, Array]:
        total, met = run(change)
        return total, met[score.layer][0].reshape(shape)

    return shape, changed


def to_slices(maps: Array, slices: int) -> Array:
    """Maps of layers of tokens [B,tokens,h,w], each given to all slices that it holds."""
    return jnp.repeat(maps, slices // maps.shape[1], axis=1)
