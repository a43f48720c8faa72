"""An encoder of slices that sees some patches of each slice alone, as a network of sparse convolutions would."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from ichformer.errors import InputError
from ichformer.models.encoders.maxvit import PartitionAttention
from ichformer.models.encoders.patch_encoder import PatchEncoder
from ichformer.models.layers.channel_norm import GroupNorm
from ichformer.models.layers.pooling import SliceMean
from ichformer.models.lesions import Finer, encode


def encode_visible(
    encoder: nn.Module,
    x: Float[Array, "n h w c"],
    visible: Bool[Array, "n rows columns"],
    *,
    stride: int,
    train: bool,
) -> tuple[Float[Array, "n rows columns d"], Finer]:
    """The output of an encoder and its finer grids, of which nothing stems from hidden patches; these are 0.

    A dense convolution lets visible places grow into hidden ones, layer by layer, until no mask is left. As in Tian et
    al. 2023 (SparK, section 3.1), each map that a module of the encoder takes or gives is set to 0 where it is hidden,
    which is what a sparse convolution computes. ``GroupNorm`` and ``SliceMean`` count visible places alone. Attention
    (``PartitionAttention``, ``PatchEncoder``) attends to visible places alone. Maxima are taken behind a ReLU here, so
    that zeros do not win. The encoder has to know nothing of it, and its parameters are the same. With nothing hidden
    it computes what it always does.

    An encoder of others is seen through as far as its layers are modules that take and give [N,H,W,C]: a norm or
    an attention of another kind, or a mean outside of a module, counts hidden places as zeros.

    Args:
      encoder: ``encoder(x [N,H,W,C], train=...) -> [N,h,w,D]``, see ``encoders.registry``.
      x: windowed slices.
      visible: patches of ``stride`` x ``stride`` pixels that are seen; those at the edges may be cut off.
      stride: pixels of a side of a place of the encoder's output.
      train: whether the encoder is being trained.

    Raises:
      InputError: a map of the encoder cannot be laid over the patches.
    """
    with nn.intercept_methods(_Visible(visible, x.shape[1:3], stride)):
        return encode(encoder, x, train=train, stages=True)


class _Visible:
    """Intercepts the calls of an encoder's modules; see ``encode_visible``."""

    def __init__(self, visible: Array, size: tuple[int, ...], stride: int) -> None:
        self._visible, self._size, self._stride = visible, size, stride
        # A slice of which nothing is seen would have no statistics: it is counted as a whole, and is all zeros.
        self._counted = visible | ~visible.any((1, 2), keepdims=True)
        self._in_attention = False

    def __call__(
        self,
        call: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        context: nn.module.InterceptorContext,
    ) -> Any:
        module, method = context.module, context.method_name
        if self._in_attention:
            return call(*args, **kwargs)
        if isinstance(module, PatchEncoder) and method == "tokens":
            grid = tuple(pixels // module.patch_size for pixels in self._size)
            attended = self._on(self._counted, grid).reshape(len(args[0]), -1)
            return self._attend(call, args, {**kwargs, "attended": attended})
        if method != "__call__":
            return call(*args, **kwargs)
        args, kwargs = jax.tree.map(self._hide, (args, kwargs))
        if isinstance(module, GroupNorm):
            (x,) = args
            counted = self._on(self._counted, x.shape[1:3])
            y = call(x.reshape(len(x), -1, x.shape[-1]), counted.reshape(len(x), -1)).reshape(x.shape)
        elif isinstance(module, SliceMean):
            y = call(*args, self._on(self._counted, args[0].shape[1:3]))
        elif isinstance(module, PartitionAttention):
            attended = self._on(self._counted, args[0].shape[1:3])
            y = self._attend(call, args, {**kwargs, "attended": attended})
        else:
            y = call(*args, **kwargs)
        return jax.tree.map(self._hide, y)

    def _attend(self, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call inside of which heads and sets of tokens have four axes as well, and nothing is hidden by zeros."""
        self._in_attention = True
        try:
            return call(*args, **kwargs)
        finally:
            self._in_attention = False

    def _hide(self, x: Any) -> Any:
        """``x`` with zeros at hidden places, if it is a map [N,h,w,C] over the slices; what they pool to may pass."""
        is_map = isinstance(x, jax.Array) and x.ndim == 4 and len(x) == len(self._visible)
        if not is_map or x.shape[1:3] == (1, 1):
            return x
        return jnp.where(self._on(self._visible, x.shape[1:3])[..., None], x, jnp.zeros((), x.dtype))

    def _on(self, patches: Array, grid: tuple[int, ...]) -> Array:
        """What ``patches`` say of each place of a grid over the slice."""
        return enlarge(patches[..., None], self._stride // step_of(grid, self._size, self._stride), grid)[..., 0]


def step_of(grid: tuple[int, ...], size: tuple[int, ...], stride: int) -> int:
    """Pixels of a side of a place of a grid of ``rows, columns``, which has as many as are needed for the slice.

    Args:
      grid: its rows and columns.
      size: those of the slice.
      stride: a multiple of the side.

    Raises:
      InputError: no divisor of ``stride`` gives this grid.
    """
    for step in range(1, stride + 1):
        if stride % step == 0 and all(-(-pixels // step) == count for pixels, count in zip(size, grid, strict=True)):
            return step
    raise InputError(
        f"a map of {grid[0]}x{grid[1]} places does not lie on patches of {stride} pixels of a slice of "
        f"{size[0]}x{size[1]}",
        where="encoder",
        fix="take an encoder of convolutions whose padding is SAME, or --objective.name contrastive",
    )


def enlarge(x: Shaped[Array, "n h w c"], times: int, grid: tuple[int, ...]) -> Shaped[Array, "n h2 w2 c"]:
    """Each place of ``x`` as ``times`` x ``times`` places, of which those of ``grid`` (rows, columns) are kept."""
    return jnp.repeat(jnp.repeat(x, times, 1), times, 2)[:, : grid[0], : grid[1]]
