"""Which steps are not to be believed: those whose loss or gradient is no number, or whose loss leaps."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

_MEMORY = 0.98
_SETTLED = 100


@struct.dataclass
class Guard:
    """What a run remembers of its losses. Part of its state, so that a resumed run judges as an undisturbed one would.

    Attributes:
      mean_loss: float32 [], a running mean over the good steps.
      good: int32 [], steps that were believed.
      bad_in_a_row: int32 [], steps that were not, since the last good one.
    """

    mean_loss: Any
    good: Any
    bad_in_a_row: Any


def new_guard() -> Guard:
    """Before the first step."""
    return Guard(mean_loss=jnp.zeros(()), good=jnp.zeros((), jnp.int32), bad_in_a_row=jnp.zeros((), jnp.int32))


def judge(guard: Guard, loss: jax.Array, grad_norm: jax.Array, *, spike_factor: float) -> tuple[jax.Array, Guard]:
    """Whether a step is good, and what is remembered after it.

    A loss leaps where it is over ``spike_factor`` times the running mean of the last 50 good steps or so; in the first
    100, while it still falls fast, only numbers that are none count. A step without any known label (loss 0) is good
    and teaches nothing.

    Args:
      guard: before the step.
      loss: of the whole batch.
      grad_norm: global norm of its gradient.
      spike_factor: above 1; 0 to let every finite loss pass.
    """
    good = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
    if spike_factor:
        good &= (guard.good < _SETTLED) | (loss <= spike_factor * guard.mean_loss)
    # Early on a plain mean: a memory of 50 steps would hold on to the zero that it started from.
    memory = jnp.minimum(_MEMORY, guard.good / (guard.good + 1.0))
    mean_loss = jnp.where(good, memory * guard.mean_loss + (1 - memory) * loss, guard.mean_loss)
    bad_in_a_row = jnp.where(good, 0, guard.bad_in_a_row + 1)
    return good, Guard(mean_loss=mean_loss, good=guard.good + good, bad_in_a_row=bad_in_a_row)


def only_if(good: jax.Array, new: Any, old: Any) -> Any:
    """``new`` after a good step, ``old`` after another, array by array."""
    return jax.tree.map(lambda after, before: jnp.where(good, after, before), new, old)
