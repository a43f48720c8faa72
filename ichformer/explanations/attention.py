"""The attention inside a model's encoder: its weights, their gradients, and where on the scan its tokens lie."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ichformer.explanations.score import CannotExplainError, ExplainedScore
from ichformer.models.encoders.maxvit import MaxViT, MBConv, PartitionAttention
from ichformer.models.encoders.patch_encoder import PatchEncoder
from ichformer.models.encoders.swin import PatchMerging, SwinEncoder
from ichformer.models.encoders.volume_encoder import VolumeEncoder
from ichformer.models.ensemble import Ensemble
from ichformer.models.layers.attention.factorised import FactorisedBlock
from ichformer.models.layers.attention.partition import join, split
from ichformer.models.layers.attention.self_attention import SelfAttention
from ichformer.models.layers.attention.transformer import Block, without_loops
from ichformer.models.layers.attention.window_attention import WindowAttention, WindowBlock
from ichformer.models.layers.attention.windows import partition, tiling, unite

_OF_SLICES = (PatchEncoder, MaxViT)
_OF_SCANS = (VolumeEncoder, SwinEncoder)

_RUNS = ("__call__", "tokens", "before_last_attention", "class_vector")
"""Methods of encoders that run blocks."""

Move = Callable[[Array], Array]
"""From one number a token to the same numbers in another order."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """One attention, or a place where tokens become fewer.

    The order of tokens is [B S, ...] in an encoder of slices and [B, layers of tokens, ...] in an encoder of scans.

    Attributes:
      weights: float32 [sets, heads, n, n], the share that each key has in each query among n tokens that see each
        other; None where tokens become fewer.
      gradient: of the score by these weights.
      to_sets: from the order of tokens to [sets, n].
      back: from there to that order. Where tokens become fewer, from those behind to those before.
    """

    weights: Array | None
    gradient: Array | None
    to_sets: Move
    back: Move

    def carry(self, relevance: Array, shares: Array) -> Array:
        """The relevance of queries handed to their keys, ``shares`` being [sets, n, n]."""
        return self.back(jnp.einsum("sq,sqk->sk", self.to_sets(relevance), shares))


@dataclass(frozen=True, kw_only=True, eq=False)
class EncoderAttention:
    """What an encoder attended to.

    Attributes:
      layers: from the input on.
      read: for each token behind the last block, the length of the score's gradient there: how much the model reads it.
      inner_axes: of ``read``, those that tell the tokens of one slice apart.
      to_maps: from the order of tokens before the first block to [B,S,rows,columns].
    """

    layers: tuple[Layer, ...]
    read: Array
    inner_axes: tuple[int, ...]
    to_maps: Move


def attention_of(score: ExplainedScore) -> EncoderAttention:
    """What the encoder attended to when it gave ``score``.

    Attention between the vectors of slices, behind an encoder of slices, is in the gradients.

    Raises:
      CannotExplainError: the model has no encoder of the package that attends within slices, or several.
    """
    if isinstance(score.objective.model, Ensemble):
        raise CannotExplainError("its members attend each for themselves")
    windowed = score.windowed

    def watched(changes: list[Array] | None) -> tuple[Array, _Watch]:
        watch = _Watch(score.slice_mask.shape, changes)
        with without_loops(), nn.intercept_methods(watch):
            return score(windowed).sum(), watch

    watches: list[_Watch] = []

    def values_alone() -> list[Array]:
        watches.append(watched(None)[1])
        return watches[0].values

    def with_changes(changes: list[Array]) -> tuple[Array, list[Array]]:
        total, watch = watched(changes)
        return total, watch.values

    shapes = jax.eval_shape(values_alone)
    watch = watches[0]
    if watch.last is None or watch.to_maps is None:
        raise CannotExplainError("it has no attention within slices")
    gradients, values = jax.grad(with_changes, has_aux=True)([jnp.zeros(each.shape, each.dtype) for each in shapes])
    at, order = watch.last
    read = order(jnp.linalg.norm(gradients[at].astype(jnp.float32), axis=-1))
    axes = len(watch.order)
    return EncoderAttention(
        layers=tuple(
            Layer(weights=None, gradient=None, to_sets=_same, back=partial(_shared_out, real=values[i]))
            if moves is None
            else Layer(weights=values[i], gradient=gradients[i], to_sets=moves[0], back=moves[1])
            for i, moves in watch.layers
        ),
        read=read,
        inner_axes=tuple(range(axes, read.ndim)),
        to_maps=watch.to_maps,
    )


@dataclass(eq=False)
class _Watch:
    """An interceptor of Flax that keeps what passes by; ``values`` are arrays of the trace in which the model runs.

    Attributes:
      scans: their number, and that of slices of each.
      changes: what is added to each of ``values``, so that a gradient can be taken there; None for nothing.
      values: weights of attention, and what blocks give.
      layers: the place of their weights among ``values``, and the moves of ``Layer``. Where tokens become fewer, it is
        the place of which of them are real, and None.
      last: the place among ``values`` of what the last block gave, and how its tokens are put in order.
      order: the first axes of the order of tokens.
      grid: of the tokens that the block at hand was given.
      encoder: the encoder at hand.
      path: of the encoder that was met.
      to_maps: as for ``EncoderAttention``.
    """

    scans: tuple[int, ...]
    changes: list[Array] | None
    values: list[Array] = field(default_factory=list)
    layers: list[tuple[int, tuple[Move, Move] | None]] = field(default_factory=list)
    last: tuple[int, Move] | None = None
    order: tuple[int, ...] = ()
    grid: tuple[int, ...] = ()
    encoder: nn.Module | None = None
    path: tuple[str, ...] | None = None
    to_maps: Move | None = None

    def __call__(self, call: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        module, method = context.module, context.method_name
        if isinstance(module, (*_OF_SLICES, *_OF_SCANS)) and method in _RUNS and self.encoder is None:
            return self._within(module, call, args, kwargs)
        if self.encoder is None:
            return call(*args, **kwargs)
        if method == "attend" and isinstance(module, SelfAttention | WindowAttention | PartitionAttention):
            return self._attend(module, *args, **kwargs)
        if isinstance(module, WindowBlock | PartitionAttention) and method == "__call__":
            self.grid = args[0].shape[:-1]
            self._starts(self.grid)
        y = call(*args, **kwargs)
        if isinstance(module, MBConv | PatchMerging) and method == "__call__" and self.layers:
            real = args[1][:, :, None, None] if isinstance(module, PatchMerging) else True
            self._kept(jnp.broadcast_to(jnp.asarray(real, jnp.float32), args[0].shape[:-1]))
            self.layers.append((len(self.values) - 1, None))
        is_block = isinstance(module, FactorisedBlock | WindowBlock | PartitionAttention) and method == "__call__"
        if is_block or (isinstance(module, Block) and method == "from_norm"):
            order = (*self.order, -1) if isinstance(self.encoder, PatchEncoder | VolumeEncoder) else self.grid
            y = self._kept(y)
            self.last = len(self.values) - 1, lambda x: x.reshape(order)
        return y

    def _within(self, encoder: nn.Module, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """What ``call`` gives, a method of the encoder."""
        if self.path not in (None, encoder.path):
            raise CannotExplainError("several of its encoders attend")
        self.encoder, self.path = encoder, encoder.path
        if isinstance(encoder, PatchEncoder) and self.to_maps is None:
            n, h, w, _ = args[0].shape
            self._starts((n, h // encoder.patch_size, w // encoder.patch_size))
        if isinstance(encoder, VolumeEncoder):
            grid = [-(-size // side) for size, side in zip(args[0].shape[1:4], encoder.patch_size, strict=True)]
            self._starts((len(args[0]), *grid))
        try:
            return call(*args, **kwargs)
        finally:
            self.encoder = None

    def _starts(self, grid: tuple[int, ...]) -> None:
        """The tokens of the first block lie on this grid: [B S, rows, columns] or [B, layers, rows, columns]."""
        if self.to_maps is not None:
            return
        (b, s), (rows, columns) = self.scans, grid[-2:]
        if isinstance(self.encoder, _OF_SLICES):
            self.order = grid[:1]
            self.to_maps = lambda x: x.reshape(b * s, -1)[:, -rows * columns :].reshape(b, s, rows, columns)
        else:
            assert isinstance(self.encoder, _OF_SCANS)
            self.order, each = grid[:2], self.encoder.patch_size[0]
            self.to_maps = lambda x: jnp.repeat(x.reshape(grid), each, axis=1)[:, :s]

    def _attend(
        self, module: nn.Module, query: Array, key: Array, value: Array, mask: Array | None = None, **where: Any
    ) -> Array:
        """What ``module.attend`` gives."""
        scale, bias, shape = query.shape[-1] ** -0.5, where.get("bias"), value.shape
        if isinstance(module, WindowAttention):
            to_sets, back = _of_windows(module, self.grid, shape[:3])
            scale, bias = where["scale"], where["bias"][None]
            mask = where["group"][..., None] == where["attended"][:, :, None]
            query, key, value = (x.reshape(-1, *shape[2:]) for x in (query, key, value))
            mask = mask.reshape(-1, 1, *mask.shape[2:])
        elif isinstance(module, PartitionAttention):
            to_sets, back = _of_partition(module, self.grid)
        else:
            mask = None if mask is None else mask[:, None, None, :]
            to_sets, back = self._of_self_attention(module.name)
        logits = jnp.einsum("sqhd,skhd->shqk", query, key).astype(jnp.float32) * scale
        logits = logits if bias is None else logits + bias.astype(jnp.float32)
        weights = self._kept(jax.nn.softmax(logits if mask is None else jnp.where(mask, logits, _NEVER)))
        self.layers.append((len(self.values) - 1, (to_sets, back)))
        return jnp.einsum("shqk,skhd->sqhd", weights.astype(value.dtype), value).reshape(shape)

    def _of_self_attention(self, name: str | None) -> tuple[Move, Move]:
        order = self.order
        if isinstance(self.encoder, VolumeEncoder) and self.encoder.attention == "joint":
            return lambda x: x.reshape(order[0], -1), lambda x: x.reshape(*order, -1)
        if name == "attention_z":
            b, layers = order
            return (
                lambda x: jnp.moveaxis(x, 1, 2).reshape(-1, layers),
                lambda x: jnp.moveaxis(x.reshape(b, -1, layers), 1, 2),
            )
        return lambda x: x.reshape(math.prod(order), -1), lambda x: x.reshape(*order, -1)

    def _kept(self, x: Array) -> Array:
        if self.changes is not None:
            x = x + self.changes[len(self.values)]
        self.values.append(x)
        return x


def _of_windows(module: WindowAttention, grid: tuple[int, ...], windows: tuple[int, ...]) -> tuple[Move, Move]:
    slices, rows, columns = grid[1:]
    tiles = tiling((slices, rows, columns), module.window, shifted=module.shifted)
    return (
        lambda x: partition(x, tiles).reshape(-1, windows[2]),
        lambda x: unite(x.reshape(*windows, 1), tiles, (slices, rows, columns))[..., 0],
    )


def _of_partition(module: PartitionAttention, grid: tuple[int, ...]) -> tuple[Move, Move]:
    h, w = grid[1:]
    sides = min(module.window, h), min(module.window, w)
    return (
        lambda x: split(x[..., None], sides, module.kind)[0][..., 0],
        lambda x: join(x[..., None], sides, module.kind, shape=(h, w))[..., 0],
    )


def _same(x: Array) -> Array:
    return x


def _shared_out(x: Array, real: Array) -> Array:
    """What fewer tokens have, shared out evenly among those that are ``real`` and became them."""
    times = tuple(-(-fine // coarse) for fine, coarse in zip(real.shape, x.shape, strict=True))
    behind = [(0, n * coarse - fine) for n, coarse, fine in zip(times, x.shape, real.shape, strict=True)]
    x = x / jnp.maximum(jax.lax.reduce_window(real, 0.0, jax.lax.add, times, times, behind), 1.0)
    for axis, (n, fine) in enumerate(zip(times, real.shape, strict=True)):
        x = jnp.repeat(x, n, axis).take(jnp.arange(fine), axis)
    return x * real


_NEVER = -1e30
"""Stands for minus infinity: a token that may attend to nothing has equal weights, and nobody reads it."""
