"""The state of a training: everything that changes from step to step."""

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
      guard: what is remembered of the losses (``training.guard``).
    """

    step: Any
    params: Any
    opt_state: Any
    ema_params: Any
    guard: Any


def create_state(params: Any, optimizer: optax.GradientTransformation, *, ema: bool) -> TrainState:
    """The state before the first step."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=optimizer.init(params),
        ema_params=jax.tree.map(jnp.copy, params) if ema else None,
        guard=new_guard(),
    )


def parameter_table(params: Any) -> str:
    """A line for each array: its name, shape and how many numbers it holds; and their sum."""
    rows = [
        ("/".join(key.key for key in path), "x".join(map(str, x.shape)), f"{x.size:,}")
        for path, x in jax.tree_util.tree_leaves_with_path(params)
    ]
    rows.append(("all", "", f"{sum(x.size for x in jax.tree.leaves(params)):,}"))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    return "".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}\n" for a, b, c in rows)
