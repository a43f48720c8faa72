"""The optimiser and its schedule."""

import fnmatch
from typing import Any

import jax
import jax.numpy as jnp
import optax
from optax.contrib import MuonDimensionNumbers, muon

from ichformer.errors import InputError
from ichformer.settings import option
from ichformer.training.config import OptimConfig
from ichformer.training.optimizer.layer_depth import each_layer, is_stacked, layer_scales, names_of


def learning_rate(config: OptimConfig, steps: int) -> optax.Schedule:
    """Step -> rate: linear from 0 to the peak, then what ``config.schedule`` says, to 0 at ``steps``."""
    warmup_steps = min(config.warmup_steps, max(steps - 1, 0))
    steps = max(steps, warmup_steps + 1)
    peak = config.learning_rate
    if config.schedule == "cosine":
        return optax.warmup_cosine_decay_schedule(0.0, peak, warmup_steps, steps)
    falling = steps - warmup_steps if config.schedule == "linear" else max(round(steps * config.cooldown_fraction), 1)
    falling = min(falling, steps - warmup_steps)
    pieces = {
        0: optax.linear_schedule(0.0, peak, warmup_steps) if warmup_steps else optax.constant_schedule(peak),
        warmup_steps: optax.constant_schedule(peak),
        steps - falling: optax.linear_schedule(peak, 0.0, falling),
    }
    return optax.join_schedules(list(pieces.values()), list(pieces)[1:])


def build_optimizer(
    config: OptimConfig, steps: int, *, rate: optax.Schedule | None = None
) -> optax.GradientTransformation:
    """The optimiser of ``config`` behind a clip of the gradient's global norm.

    ``rate`` is a learning rate by step in place of that of ``config``.

    ``init`` raises InputError where a pattern of ``config.freeze`` names no parameter, and where ``encoder_factor`` or
    ``head_warmup_steps`` is for a model that has no encoder.
    """
    parts = [_optimizer(config, learning_rate(config, steps) if rate is None else rate)]
    if config.clip_norm > 0:
        parts.insert(0, optax.clip_by_global_norm(config.clip_norm))
    if config.layer_decay < 1:
        parts.append(_scale_by_layer(config.layer_decay))
    if config.encoder_factor not in (None, 1.0):
        parts.append(_scale_encoder(config.encoder_factor))
    if config.head_warmup_steps:
        # Last, so that decay is held back too. By its turn the moments of the encoder's gradient are known.
        parts.append(_hold_encoder(config.head_warmup_steps, config.warmup_steps))
    whole = optax.chain(*parts)
    if not config.freeze:
        return whole
    return optax.partition(
        {"learned": whole, "frozen": optax.set_to_zero()}, lambda params: _frozen_or_learned(params, config.freeze)
    )


def _optimizer(config: OptimConfig, rate: optax.Schedule) -> optax.GradientTransformation:
    decay: dict[str, Any] = {"weight_decay": config.weight_decay, "mask": _is_kernel}
    match config.name:
        case "muon":
            # Liu et al. 2025 (arXiv:2502.16982), section 2.2: updates of AdamW's size, so that its rates and decays
            # hold.
            return muon(
                rate,
                weight_decay=config.weight_decay,
                weight_decay_mask=_is_kernel,
                adam_learning_rate=lambda step: rate(step) * config.adamw_factor,
                adam_b1=config.b1,
                adam_b2=config.b2,
                muon_weight_dimension_numbers=_matrices,
                consistent_rms=0.2,
            )
        case "adamw":
            return optax.adamw(rate, b1=config.b1, b2=config.b2, **decay)
        case "lion":
            return optax.lion(rate, b1=config.b1, b2=config.b2, **decay)
        case "lamb":
            # optax.lamb, but for layers that lie stacked in one array: each has a trust ratio of its own.
            return optax.chain(
                optax.scale_by_adam(config.b1, config.b2, eps=1e-6),
                optax.add_decayed_weights(**decay),
                _scale_by_trust_ratio(),
                optax.scale_by_learning_rate(rate),
            )
        case "sgd":
            return optax.chain(
                optax.add_decayed_weights(**decay),
                optax.sgd(rate, momentum=config.b1 or None),
            )


def _scale_by_trust_ratio() -> optax.GradientTransformation:
    one = optax.scale_by_trust_ratio()

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        def scale(path: tuple[Any, ...], u: jax.Array, p: jax.Array) -> jax.Array:
            return each_layer(lambda u, p: one.update(u, optax.EmptyState(), p)[0], path, u, p)

        return jax.tree_util.tree_map_with_path(scale, updates, params), state

    return optax.GradientTransformation(lambda _: optax.EmptyState(), update)


def _scale_by_layer(decay: float) -> optax.GradientTransformation:
    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        return jax.tree.map(lambda u, scale: u * scale, updates, layer_scales(updates, decay)), state

    return optax.GradientTransformation(lambda _: optax.EmptyState(), update)


def _scale_encoder(factor: float) -> optax.GradientTransformation:
    def init(params: Any) -> optax.EmptyState:
        _check_encoder(params, "encoder_factor", fix="leave it out, and lower --optim.learning-rate instead")
        return optax.EmptyState()

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        return jax.tree_util.tree_map_with_path(
            lambda path, u: u * factor if _is_of_encoder(path) else u, updates
        ), state

    return optax.GradientTransformation(init, update)


def _hold_encoder(held_steps: int, rise_steps: int) -> optax.GradientTransformation:
    """The encoder's updates are 0 for ``held_steps``, then rise on a line to their size in ``rise_steps`` more."""

    def init(params: Any) -> optax.ScaleByScheduleState:
        _check_encoder(params, "head_warmup_steps", fix="leave it out, or name what stays as it is (--optim.freeze)")
        return optax.ScaleByScheduleState(count=jnp.zeros((), jnp.int32))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        factor = jnp.clip((state.count + 1 - held_steps) / max(rise_steps, 1), 0.0, 1.0)
        return jax.tree_util.tree_map_with_path(
            lambda path, u: u * factor.astype(u.dtype) if _is_of_encoder(path) else u, updates
        ), optax.ScaleByScheduleState(count=optax.safe_increment(state.count))

    return optax.GradientTransformation(init, update)


def _check_encoder(params: Any, setting: str, *, fix: str) -> None:
    if not any(_is_of_encoder(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)):
        what = "this model has no parameters under the name encoder"
        raise InputError(what, where=option("--optim.", setting), fix=fix)


def _is_of_encoder(path: tuple[Any, ...]) -> bool:
    return names_of(path)[0] == "encoder"


def _frozen_or_learned(params: Any, patterns: tuple[str, ...]) -> Any:
    names = {path: "/".join(key.key for key in path) for path, _ in jax.tree_util.tree_leaves_with_path(params)}
    for pattern in patterns:
        if not fnmatch.filter(names.values(), pattern):
            raise InputError(
                f"{pattern!r} matches none of the parameters",
                where="--optim.freeze",
                fix=f"name some of them, such as {next(iter(names.values()))!r}; * stands for anything",
            )

    def label(path: tuple[Any, ...], _: Any) -> str:
        return "frozen" if any(fnmatch.fnmatchcase(names[path], pattern) for pattern in patterns) else "learned"

    return jax.tree_util.tree_map_with_path(label, params)


def _is_kernel(params: Any) -> Any:
    """True for the matrices of layers: biases, norms and tokens do not decay."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)


def _matrices(params: Any) -> Any:
    """Which axes of a kernel Muon takes as rows and as columns; None for what AdamW optimises: all else, and heads.

    Axes that are neither are of several matrices: the layers of stacked blocks, and query, key and value.
    """

    def axes(path: tuple[Any, ...], x: jax.Array) -> MuonDimensionNumbers | None:
        names = names_of(path)
        if names[-1] != "kernel" or "head" in names:
            return None
        first = int(is_stacked(names))
        if names[-2] == "qkv":  # [features, 3, heads, features of a head]
            return MuonDimensionNumbers(reduction_axis=first, output_axis=(first + 2, first + 3))
        return MuonDimensionNumbers(reduction_axis=tuple(range(first, x.ndim - 1)), output_axis=x.ndim - 1)

    return jax.tree_util.tree_map_with_path(axes, params)
