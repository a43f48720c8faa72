"""The state of a training: everything that changes from step to step."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from ichformer.training.recovery.guard import new_guard


@struct.dataclass
class TrainState:
    """A pytree; the random numbers of a step follow from the seed and ``step``, so there is no generator in it.

    Attributes:
      step: int32 [], steps done.
      params: what is optimised.
      opt_state: the optimiser's own.
      ema_params: a running mean of ``params``, or None.
      metric_means: running means of metrics, by name, for an objective with a teacher (``objectives.teacher``).
      guard: what is remembered of the losses (``training.guard``).
    """

    step: Any
    params: Any
    opt_state: Any
    ema_params: Any
    metric_means: Any
    guard: Any


def create_state(
    params: Any, optimizer: optax.GradientTransformation, *, ema: bool, metric_means: Mapping[str, jax.Array] = {}
) -> TrainState:
    """The state before the first step."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=optimizer.init(params),
        ema_params=jax.tree.map(jnp.copy, params) if ema else None,
        metric_means=dict(metric_means),
        guard=new_guard(),
    )


def to_stored(state: TrainState) -> dict[str, Any]:
    """The fields of a state as checkpoints hold them: without means of metrics where there are none.

    So checkpoints of runs that knew none are read as well.
    """
    fields = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    return fields if state.metric_means else {name: fields[name] for name in fields if name != "metric_means"}


def from_stored(fields: Mapping[str, Any]) -> TrainState:
    """The inverse of ``to_stored``."""
    return TrainState(**{"metric_means": {}, **fields})


def parameter_table(params: Any) -> str:
    """A line for each array: its name, shape and how many numbers it holds; and their sum."""
    rows = [
        ("/".join(key.key for key in path), "x".join(map(str, x.shape)), f"{x.size:,}")
        for path, x in jax.tree_util.tree_leaves_with_path(params)
    ]
    rows.append(("all", "", f"{sum(x.size for x in jax.tree.leaves(params)):,}"))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    return "".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}\n" for a, b, c in rows)
