"""The optimiser and its schedule."""

from typing import Any

import jax
import optax

from ichformer.training.config import OptimConfig


def learning_rate(config: OptimConfig, steps: int) -> optax.Schedule:
    """Step -> rate: linear from 0 to the peak, then a cosine to 0 at ``steps``."""
    warmup_steps = min(config.warmup_steps, max(steps - 1, 0))
    return optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, warmup_steps, max(steps, warmup_steps + 1))


def build_optimizer(config: OptimConfig, steps: int) -> optax.GradientTransformation:
    """AdamW behind a clip of the gradient's global norm."""
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.adamw(learning_rate(config, steps), b2=config.b2, weight_decay=config.weight_decay, mask=_is_kernel),
    )


def _is_kernel(params: Any) -> Any:
    """True for the matrices of layers: biases, norms and tokens do not decay."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)
