"""Which parameters a gradient does not reach, by its size and not by what rounding leaves of a zero."""

from typing import Any

import jax
import numpy as np

from ichformer.models.layers.standardise import STANDARDISE

DEAD_SHARE = 2.0**-24
"""Half a rounding of float32: the share of a gradient's largest number under which it is taken for none. What is
mathematically zero comes out a hundred times smaller, what acts several times larger."""


def silent_parameters(grads: Any) -> set[str]:
    """Names of the arrays without a gradient, and of those with one that is no number.

    The biases of queries, keys and values, which lie in one array, are looked at one by one.
    """
    sizes: dict[str, float] = {}
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):
        name = "/".join(key.key for key in path)
        if name.endswith("qkv/bias"):
            parts = np.moveaxis(np.asarray(grad), -3, 0)
            sizes |= {
                f"{name}/{part}": _size(each) for part, each in zip(("query", "key", "value"), parts, strict=True)
            }
        else:
            sizes[name] = _size(grad)
    least = DEAD_SHARE * max(sizes.values())
    return {name for name, size in sizes.items() if not least < size < np.inf}


def key_biases(params: Any) -> set[str]:
    """The biases of keys, by the names of ``silent_parameters``.

    They are dead by mathematics, as a softmax over keys takes no notice of what all of them have in common, unless
    rotary positions or norms come between. They are kept because ViT, MAE, DINOv2 and MaxViT have them: weights of
    these load as they are, and give the same gradients.
    """
    names = ("/".join(key.key for key in path) for path, _ in jax.tree_util.tree_leaves_with_path(params))
    return {f"{name}/key" for name in names if name.endswith("qkv/bias")}


def constants(params: Any) -> set[str]:
    """What lies among the parameters and is not learned: the scale of the input."""
    names = ("/".join(key.key for key in path) for path, _ in jax.tree_util.tree_leaves_with_path(params))
    return {name for name in names if f"/{STANDARDISE}/" in name}


def _size(grad: Any) -> float:
    """The largest number, NaN where one is none."""
    return float(np.max(np.abs(grad)))
