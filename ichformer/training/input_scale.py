"""Measures the scale of the input channels on the training scans, before the first step."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64, Int16

from ichformer.ct.windows import Window, apply_windows
from ichformer.models.layers.standardise import STANDARDISE
from ichformer.pipeline.store.records import Store
from ichformer.training.optimizer.layer_depth import names_of
from ichformer.training.state import TrainState

_SCANS = 32
"""On five cohorts of phantoms their standard deviations lay within 4 % of those of all 128 to 131 training scans."""

_SMALLEST_SD = 0.02
"""A window in which next to nothing lies is not blown up to noise."""


def standardise_inputs(
    state: TrainState, store: Store, *, split: str, windows: tuple[Window, ...], neighbours: int
) -> TrainState:
    """``state`` in which every ``Standardise`` layer holds mean and standard deviation of the split's scans.

    They are those of up to 32 scans spread over the split, the same ones on every host. Where the model has no such
    layer nothing is read.

    Args:
      state: before the first step.
      store: the scans.
      split: of those to train on.
      windows: channels of one slice.
      neighbours: slices of either side that come as further channels (``objectives.inputs.model_inputs``).
    """
    if not any(_is_constant(path) for path, _ in jax.tree_util.tree_leaves_with_path(state.params)):
        return state
    rows = store.rows(split)
    spread = rows[np.linspace(0, len(rows) - 1, min(_SCANS, len(rows))).astype(int)]
    moments = np.mean([_moments(store.read(int(row)).volume.hu, windows) for row in spread], axis=0)
    mean = moments[0]
    sd = np.sqrt(np.maximum(moments[1] - mean**2, _SMALLEST_SD**2))
    values = {name: np.tile(value, 2 * neighbours + 1) for name, value in (("mean", mean), ("sd", sd))}

    def filled(params: Any) -> Any:
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: jnp.asarray(values[path[-1].key], leaf.dtype) if _is_constant(path) else leaf, params
        )

    ema_params = None if state.ema_params is None else filled(state.ema_params)
    return dataclasses.replace(state, params=filled(state.params), ema_params=ema_params)


def _moments(hu: Int16[np.ndarray, "s h w"], windows: tuple[Window, ...]) -> Float64[np.ndarray, "2 c"]:
    """Means of the channels and of their squares over one scan; a scan counts as much as any other."""
    x = apply_windows(hu, windows)
    return np.stack([values.mean((0, 1, 2), dtype=np.float64) for values in (x, np.square(x))])


def _is_constant(path: tuple[Any, ...]) -> bool:
    return STANDARDISE in names_of(path)
