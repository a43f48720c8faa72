"""One optimiser step, as a pure function that knows nothing of devices."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ichformer.models.layers.draws import scans_at
from ichformer.objectives.base import Metrics, Objective
from ichformer.objectives.teacher import Loss, Teacher, loss_with
from ichformer.pipeline.batch import Batch
from ichformer.training.recovery.guard import check_update, only_if
from ichformer.training.state import TrainState

_MEMORY = 0.9
"""Of the running means of metrics (that of the centre in Caron et al. 2021, section 3.1)."""


def train_step(
    state: TrainState,
    batch: Batch,
    rng: jax.Array,
    *,
    places: jax.Array | None = None,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    ema_decay: float,
    spike_factor: float = 0.0,
    accumulate: int = 1,
    axis_name: str | None = None,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """Loss, gradient, update; metrics are means over the whole batch.

    Sums are divided once, after they ran over all scans, and random numbers follow each scan's place in the whole batch
    (``models.layers.draws``): a batch gives the same loss and gradient on any layout. A step that is not to be believed
    (``guard.check_update``) counts, but leaves parameters, optimiser and average as they were.

    Args:
      state: the state before the step.
      batch: all scans of the step, or with ``axis_name`` this device's.
      rng: of the run; the step's own follows from it and ``state.step``.
      places: int32 [B], where each scan of ``batch`` stands in the whole batch; None where it is the whole, in order.
      objective: what is optimised.
      optimizer: how.
      ema_decay: of the averaged parameters.
      spike_factor: see ``guard.check_update``.
      accumulate: parts of the batch that are computed one after the other.
      axis_name: the mapped axis whose devices hold the other scans, where there is one.
    """
    rng = jax.random.fold_in(rng, state.step)
    places = jnp.arange(len(batch.weight)) if places is None else places
    loss_of = loss_with(objective, Teacher(params=state.ema_params, means=state.metric_means))
    sums = _accumulated(loss_of, state.params, batch, places, rng, accumulate)
    if axis_name is not None:
        sums = jax.lax.psum(sums, axis_name)
    total, weight, metric_sums, grads = sums
    # A batch without one known label has weight 0: its gradient is 0 and stays so.
    scale = 1.0 / jnp.maximum(weight, 1e-6)
    grads = jax.tree.map(lambda g: g * scale, grads)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    ema_params = state.ema_params
    if ema_params is not None:
        # Early on the mean follows fast, as the start is not worth remembering (TensorFlow's num_updates rule).
        decay = jnp.minimum(ema_decay, (1.0 + state.step) / (10.0 + state.step))
        ema_params = jax.tree.map(lambda mean, now: mean * decay + now * (1 - decay), ema_params, params)
    metric_means = {name: _follow(mean, *metric_sums.pop(name)) for name, mean in state.metric_means.items()}
    metrics = {name: value / jnp.maximum(count, 1e-6) for name, (value, count) in metric_sums.items()}
    loss, grad_norm = total * scale, optax.tree.norm(grads)
    good, guard = check_update(state.guard, loss, grad_norm, weight=weight, spike_factor=spike_factor)
    metrics |= {"loss": loss, "grad_norm": grad_norm, "bad_in_a_row": guard.bad_in_a_row}
    changed = {"params": params, "opt_state": opt_state, "ema_params": ema_params, "metric_means": metric_means}
    changed = only_if(good, changed, {name: getattr(state, name) for name in changed})
    return TrainState(step=state.step + 1, guard=guard, **changed), metrics


def _follow(mean: jax.Array, total: jax.Array, count: jax.Array) -> jax.Array:
    """The running mean after a step in which a metric had this sum over so many; over none, it stays as it was."""
    return jnp.where(count > 0, _MEMORY * mean + (1 - _MEMORY) * total / jnp.maximum(count, 1e-6), mean)


def _accumulated(
    loss_of: Loss, params: Any, batch: Batch, places: jax.Array, rng: jax.Array, parts: int
) -> tuple[jax.Array, jax.Array, Metrics, Any]:
    """``_sums`` over ``parts`` equal parts of the batch, one after the other."""
    if parts == 1:
        return _sums(loss_of, params, batch, places, rng)

    def split(x: jax.Array) -> jax.Array:
        # Every part takes scans from all over the batch, so that each device has its share of each part.
        return jnp.swapaxes(x.reshape(-1, parts, *x.shape[1:]), 0, 1)

    def add(sums: Any, part: tuple[Batch, jax.Array]) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, sums, _sums(loss_of, params, *part, rng)), None

    split_up = jax.tree.map(split, (batch, places))
    first = jax.tree.map(lambda x: x[0], split_up)
    shapes = jax.eval_shape(functools.partial(_sums, loss_of), params, *first, rng)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    return jax.lax.scan(add, zeros, split_up)[0]


def _sums(
    loss_of: Loss, params: Any, batch: Batch, places: jax.Array, rng: jax.Array
) -> tuple[jax.Array, jax.Array, Metrics, Any]:
    """Loss, weight, metrics and gradient, each summed over the scans of ``batch``."""

    def loss_sum(params: Any) -> tuple[jax.Array, tuple[jax.Array, Metrics]]:
        with scans_at(places):
            total, weight, metrics = loss_of(params, batch, rng, True)
        return total, (weight, metrics)

    (total, (weight, metrics)), grads = jax.value_and_grad(loss_sum, has_aux=True)(params)
    return total, weight, metrics, grads
