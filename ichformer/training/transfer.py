"""Starting a run from the parameters of another one, as far as names and shapes agree."""

import dataclasses
import sys
from pathlib import Path

import jax
from flax import traverse_util

from ichformer.errors import InputError
from ichformer.training.build import build_objective
from ichformer.training.config import read_config
from ichformer.training.run import load_params, read_prepare
from ichformer.training.state import TrainState


def transfer_params(state: TrainState, source: Path) -> TrainState:
    """``state`` with every parameter that the run ``source`` has under the same name and in the same shape.

    What was taken and what was left is said on standard error. InputError where nothing fits.
    """
    config = read_config(source / "config.json")
    found, _ = load_params(source, build_objective(config), config, read_prepare(source).size)
    there = traverse_util.flatten_dict(found)
    here = traverse_util.flatten_dict(state.params)
    taken = {path: there[path] for path in here if path in there and there[path].shape == here[path].shape}
    if not taken:
        raise InputError(
            f"no parameter of {config.model.name} ({config.objective.name}) fits this model",
            where=source,
            mend="name a run of the same model and the same windows",
        )
    print(f"init: {len(taken)} of {len(here)} arrays from {source.name}, the others new", file=sys.stderr)  # noqa: T201
    params = traverse_util.unflatten_dict(here | taken)
    ema_params = None if state.ema_params is None else jax.tree.map(lambda x: x.copy(), params)
    return dataclasses.replace(state, params=params, ema_params=ema_params)
