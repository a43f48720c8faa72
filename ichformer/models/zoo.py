"""Every model by name: the one registry that training, the command line and the tests over all models read."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ichformer.errors import InputError
from ichformer.models.hybrid import Hybrid
from ichformer.models.slice_vit import SliceViT

MODELS: dict[str, Callable[..., nn.Module]] = {
    # "nano" is for laptops and tests; ti to l are the sizes of DeiT and ViT (Touvron 2021, Dosovitskiy 2021).
    "slice_vit_nano": partial(
        SliceViT, patch_size=8, width=96, depth=3, num_heads=3, context_depth=1, context_heads=3, scan_pool="max"
    ),
    "slice_vit_ti": partial(SliceViT, width=192, depth=12, num_heads=3, context_heads=3),
    "slice_vit_s": partial(SliceViT, width=384, depth=12, num_heads=6, context_heads=6),
    "slice_vit_b": partial(SliceViT, width=768, depth=12, num_heads=12, context_heads=12),
    "slice_vit_l": partial(SliceViT, width=1024, depth=24, num_heads=16, context_heads=16),
    "hybrid_nano": partial(Hybrid, widths=(16, 32, 64), blocks=1, context_depth=1, context_heads=4, scan_pool="max"),
    "hybrid_ti": partial(Hybrid, widths=(32, 64, 128, 256), blocks=2, context_heads=4),
    "hybrid_s": partial(Hybrid, widths=(64, 128, 256, 512), blocks=2, context_heads=8),
}
"""Name -> constructor with that size's settings; keyword arguments override them."""


def build_model(name: str, **options: Any) -> nn.Module:
    """The model called ``name``, with some of its settings changed; InputError for a name that is not there."""
    if name not in MODELS:
        raise InputError("there is no such model", where=name, mend=f"choose one of {', '.join(MODELS)}")
    return MODELS[name](**options)


def count_parameters(name: str) -> int:
    """How many numbers the model called ``name`` learns, with three windows as channels."""
    model = build_model(name)
    shapes = jax.eval_shape(
        lambda: model.init(
            jax.random.key(0), jnp.zeros((1, 1, 64, 64, 3)), jnp.ones((1, 1), bool), jnp.ones((1, 3)), False
        )
    )
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes["params"]))
