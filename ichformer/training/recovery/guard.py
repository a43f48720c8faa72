"""Which updates are skipped: those whose loss or gradient is not finite, or whose loss jumps."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

_MEMORY = 0.98
_SETTLED = 100


@struct.dataclass
class Guard:
    """The running loss of a training, as a part of its state: a resumed run skips what an undisturbed one would.

    Attributes:
      mean_loss: float32 [], the running mean over the good steps.
      good: int32 [], how many steps were good.
      bad_in_a_row: int32 [], how many steps were skipped since the last good one.
    """

    mean_loss: Any
    good: Any
    bad_in_a_row: Any


def new_guard() -> Guard:
    """The guard before the first step."""
    return Guard(mean_loss=jnp.zeros(()), good=jnp.zeros((), jnp.int32), bad_in_a_row=jnp.zeros((), jnp.int32))


def check_update(
    guard: Guard, loss: jax.Array, grad_norm: jax.Array, *, weight: jax.Array, spike_factor: float
) -> tuple[jax.Array, Guard]:
    """Says whether an update is applied, and gives the guard after it.

    A loss jumps where it is over ``spike_factor`` times the running mean of the last 50 good steps or so; in the first
    100, while it still falls fast, only a loss that is not finite counts. A step without any known label (weight 0) is
    good and leaves the guard as it is: its loss of 0 says nothing, and where most scans have no labels every other loss
    would be a jump beside a mean of such zeros.

    Args:
      guard: before the step.
      loss: of the whole batch.
      grad_norm: global norm of its gradient.
      weight: of the whole batch, by which its loss was divided.
      spike_factor: above 1; 0 lets every finite loss pass.
    """
    good = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
    if spike_factor:
        good &= (guard.good < _SETTLED) | (loss <= spike_factor * guard.mean_loss)
    # Early on a plain mean: a memory of 50 steps would hold on to the zero that it started from.
    memory = jnp.minimum(_MEMORY, guard.good / (guard.good + 1.0))
    counts = good & (weight > 0)
    mean_loss = jnp.where(counts, memory * guard.mean_loss + (1 - memory) * loss, guard.mean_loss)
    bad_in_a_row = jnp.where(counts, 0, guard.bad_in_a_row + ~good)
    return good, Guard(mean_loss=mean_loss, good=guard.good + counts, bad_in_a_row=bad_in_a_row)


def only_if(good: jax.Array, new: Any, old: Any) -> Any:
    """Takes ``new`` where the step was good and ``old`` where it was not, array by array."""
    return jax.tree.map(lambda after, before: jnp.where(good, after, before), new, old)
