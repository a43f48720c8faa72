"""The layer that a parameter belongs to, for layer-wise learning rates and trust ratios."""

import re
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

# Parts that read the trunk; their own numbered blocks are not layers of it.
_READERS = ("context", "head", "lesion_head", "slice_pool")
_FIRST = re.compile(r"patch|stem|class_token|register|position")
_NUMBERED = re.compile(r"(?:stage|block|layer)_?\d")


LOOPS = frozenset({"block", "pair"})
"""What the loops of this package call what they repeat; its parameters are stacked on a first axis, one turn a row."""


def is_stacked(names: tuple[str, ...]) -> bool:
    """Whether a parameter of this path is of equal blocks in one loop (``models.layers.transformer.repeated``)."""
    return not LOOPS.isdisjoint(names)


def layer_scales(params: Any, decay: float) -> Any:
    """What to multiply the rate of each parameter with: ``decay`` to the power of its distance from the head.

    Clark et al. 2020 (ELECTRA), appendix; Bao et al. 2022 (BEiT), section 3: patches, stem and positions are layer 0,
    the blocks are 1 to L in their order, and what reads them is L + 1, which keeps the full rate.

    Args:
      params: the tree of a model's parameters.
      decay: of the rate from a layer to the one below it, in (0, 1].

    Returns:
      A tree of float32 arrays that broadcast against the parameters: [] or, of stacked blocks, [L, 1, ...].
    """
    paths = jax.tree_util.tree_leaves_with_path(params)
    places = sorted({place for path, x in paths for place in _places(path, x)} - {_BELOW, _ABOVE})
    layer = {_BELOW: 0, _ABOVE: len(places) + 1} | {place: i + 1 for i, place in enumerate(places)}

    def scale(path: tuple[Any, ...], x: Any) -> np.ndarray:
        powers = [decay ** (layer[_ABOVE] - layer[place]) for place in _places(path, x)]
        shape = (-1,) + (1,) * (x.ndim - 1) if is_stacked(names_of(path)) else ()
        return np.asarray(powers, np.float32).reshape(shape)

    return jax.tree_util.tree_map_with_path(scale, params)


def each_layer(function: Callable[..., jax.Array], path: tuple[Any, ...], *arrays: jax.Array) -> jax.Array:
    """``function`` of the arrays of one parameter, or of each layer's by itself where the layers are stacked."""
    return jax.vmap(function)(*arrays) if is_stacked(names_of(path)) else function(*arrays)


def names_of(path: tuple[Any, ...]) -> tuple[str, ...]:
    """The names on the way to a parameter, from the keys that ``jax.tree_util`` gives."""
    return tuple(key.key for key in path)


_Place = tuple[float, ...]
_BELOW: _Place = ()
_ABOVE: _Place = (np.inf, np.inf)


def _places(path: tuple[Any, ...], x: Any) -> list[_Place]:
    """Numbers that sort the layers of a parameter: of its stage, of its block; one entry, or one a stacked layer."""
    names = names_of(path)
    if names[0] in _READERS:
        return [_ABOVE]
    if any(_FIRST.match(name) for name in names[:2]):
        return [_BELOW]
    numbers = tuple(float(n) for name in names if _NUMBERED.match(name) for n in re.findall(r"\d+", name))
    if is_stacked(names):
        # Of a pair of Swin, the shifted block is a layer above the level one.
        return [(*numbers, float(i), float("shifted" in names)) for i in range(x.shape[0])]
    return [numbers or _ABOVE]
