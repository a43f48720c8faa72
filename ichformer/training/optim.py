"""The optimiser and its schedule."""

from typing import Any

import jax
import optax
from optax.contrib import MuonDimensionNumbers, muon

from ichformer.training.config import OptimConfig


def learning_rate(config: OptimConfig, steps: int) -> optax.Schedule:
    """Step -> rate: linear from 0 to the peak, then a cosine to 0 at ``steps``."""
    warmup_steps = min(config.warmup_steps, max(steps - 1, 0))
    return optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, warmup_steps, max(steps, warmup_steps + 1))


def build_optimizer(config: OptimConfig, steps: int) -> optax.GradientTransformation:
    """The optimiser of ``config`` behind a clip of the gradient's global norm."""
    rate = learning_rate(config, steps)
    if config.name == "muon":
        # Liu et al. 2025 (arXiv:2502.16982), section 2.2: updates of AdamW's size, so that its rates and decays hold.
        optimizer = muon(
            rate,
            weight_decay=config.weight_decay,
            weight_decay_mask=_is_kernel,
            adam_b2=config.b2,
            muon_weight_dimension_numbers=_matrices,
            consistent_rms=0.2,
        )
    else:
        optimizer = optax.adamw(rate, b2=config.b2, weight_decay=config.weight_decay, mask=_is_kernel)
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), optimizer)


def _is_kernel(params: Any) -> Any:
    """True for the matrices of layers: biases, norms and tokens do not decay."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)


def _matrices(params: Any) -> Any:
    """Which axes of a kernel Muon takes as rows and as columns; None for what AdamW optimises: all else, and heads."""

    def axes(path: tuple[Any, ...], x: jax.Array) -> MuonDimensionNumbers | None:
        names = [key.key for key in path]
        if names[-1] != "kernel" or "head" in names:
            return None
        first = 1 if "blocks" in names else 0  # equal blocks are stacked: each is a matrix of its own
        if names[-2] == "qkv":  # [features, 3, heads, features of a head]: query, key and value are three matrices
            return MuonDimensionNumbers(reduction_axis=first, output_axis=(first + 2, first + 3))
        return MuonDimensionNumbers(reduction_axis=tuple(range(first, x.ndim - 1)), output_axis=x.ndim - 1)

    return jax.tree_util.tree_map_with_path(axes, params)
