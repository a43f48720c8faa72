"""One optimiser step, as a pure function that knows nothing of devices."""

import jax
import jax.numpy as jnp
import optax

from ichformer.objectives.base import Objective
from ichformer.pipeline.batch import Batch
from ichformer.training.state import TrainState


def train_step(
    state: TrainState,
    batch: Batch,
    rng: jax.Array,
    *,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    ema_decay: float,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """Loss, gradient, update; metrics are means over the whole batch.

    Sums are divided once, after they ran over all scans: a global batch gives the same loss on any layout.
    """
    rng = jax.random.fold_in(rng, state.step)

    def loss_sum(params: object) -> tuple[jax.Array, tuple]:
        total, weight, metrics = objective.loss(params, batch, rng, True)
        return total, (weight, metrics)

    (total, (weight, sums)), grads = jax.value_and_grad(loss_sum, has_aux=True)(state.params)
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
    metrics = {name: value / jnp.maximum(count, 1e-6) for name, (value, count) in sums.items()}
    metrics |= {"loss": total * scale, "grad_norm": optax.tree.norm(grads)}
    state = TrainState(step=state.step + 1, params=params, opt_state=opt_state, ema_params=ema_params)
    return state, metrics
