"""Creates a model of the registry with pretrained weights."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ichformer.models.registry import create_model, model_options, registered_models
from ichformer.models.weights.files import read_tensors
from ichformer.models.weights.fit import Inflation, Report
from ichformer.models.weights.imagenet import imagenet_weights
from ichformer.models.weights.layouts.registry import Layout, recognise
from ichformer.models.weights.load import load_weights
from ichformer.models.weights.source import Tree

_SIDE = 224
"""Of the slice that shapes are found with: every patch size of published weights divides it."""


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A model with its start.

    Attributes:
      model: built as the weights want it.
      params: its parameters; ``model.apply({"params": params}, ...)``.
      report: what became of the weights; ``print`` it.
      layout: whose weights they are.
    """

    model: nn.Module
    params: Tree
    report: Report
    layout: str


def load_pretrained(
    model: str | nn.Module,
    source: str | os.PathLike,
    *,
    channels: int = 3,
    seed: int = 0,
    inflation: Inflation = "mean",
    **options: Any,
) -> Pretrained:
    """A model that starts from ``source``; what was loaded, changed and left is said on standard error.

    Example:
      >>> import ichformer as ich
      >>> found = ich.load_pretrained("slice_vit_nano", "dinov2.safetensors")
      >>> found.model.labels == ich.LABELS
      True

    Args:
      model: a name of ``ichformer models``, built as the weights want it (positions, class token, registers, norms), or
        a module that is taken as it is.
      source: a file (safetensors, ``.npz``, torch), or "imagenet" for a model on an EfficientNet-Lite.
      channels: of the input: windows times slices.
      seed: of the parameters that the file does not have, such as the heads.
      inflation: how 2-D kernels become 3-D ones, see ``weights.fit``.
      options: settings of a named model, as ``create_model`` takes them; they go before what the weights want.

    Raises:
      InputError: no such model, a file that cannot be read, of no known layout, or of another architecture or size.
    """
    name = model if isinstance(model, str) else type(model).__name__
    path = weights_path(name, source, encoder=options.get("encoder", ""))
    if isinstance(model, str):
        layout = recognise(read_tensors(path), where=path).layout
        model = create_model(model, **wanted_options(model, layout) | options)
    elif options:
        raise TypeError(f"a module that is built already takes no {', '.join(options)}")
    inputs = jnp.zeros((1, 1, _SIDE, _SIDE, channels)), jnp.ones((1, 1), bool), jnp.ones((1, 3))
    built = model
    # Compiled in a moment, where the default generator takes seconds; most of what it draws is written over.
    key = jax.random.key(seed, impl="unsafe_rbg")
    fresh = jax.jit(lambda: built.init(key, *inputs, False)["params"])()
    params, report, name = load_weights(fresh, path, inflation=inflation)
    print(f"{path.name}, {name}\n{report}", file=sys.stderr)  # noqa: T201
    return Pretrained(model=model, params=jax.tree.map(jnp.asarray, params), report=report, layout=name)


def weights_path(model: str, source: str | os.PathLike, *, encoder: str = "") -> Path:
    """The file that ``source`` names for the model called ``model``; InputError where "imagenet" has none for it.

    Args:
      model: its name.
      source: a file or "imagenet".
      encoder: the encoder that takes the place of the model's own; "" where none does.
    """
    if source != "imagenet":
        return Path(source)
    entry = registered_models().get(model)
    return imagenet_weights(encoder or (str(entry.options.get("encoder", model)) if entry else model))


def wanted_options(model: str, layout: Layout) -> dict[str, Any]:
    """How the model called ``model`` has to be built for weights of ``layout``, as far as it has these options."""
    known = model_options(model)
    return {name: value for name, value in layout.needs.items() if name in known}
