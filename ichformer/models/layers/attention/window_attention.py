"""Attention inside the windows of a 3-D grid: the block of Swin (Liu et al. 2021), its second version, in 3-D."""

import functools
import math
from collections.abc import Callable
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from ichformer.models.layers.attention.self_attention import DENSE_INIT
from ichformer.models.layers.attention.transformer import Mlp
from ichformer.models.layers.attention.windows import Size, bias_index, groups, partition, tiling, unite
from ichformer.models.layers.backends import cpu_attention
from ichformer.models.layers.backends.backend import by_platform, gpu_kernels
from ichformer.models.layers.checked import CheckedModule, check_heads
from ichformer.models.layers.dense import Dense, DenseGeneral
from ichformer.models.layers.dropout import drop_path

SwinVersion = Literal["v1", "v2"]

EPSILON = 1e-5

# Half a megabyte of float32.
_CACHED_LOGITS = 2**17


class WindowAttention(CheckedModule):
    """Multi-head attention inside windows, with a bias for every offset of two tokens.

    Keys have no bias: it would add the same to all logits of a query, and version 2 leaves it out (Liu et al. 2022,
    code). Version 2 takes the cosine of query and key, times a learned scale of at most 100, and its bias comes from a
    small network of the offset ("Swin Transformer V2", sections 3.2-3.3).

    Attributes:
      num_heads: divides the width.
      window: tokens along slices, rows and columns.
      shifted: whether the windows lie half a window further than those of the block before.
      version: of Swin.
      dtype: of the computation; the logits are float32.
    """

    num_heads: int
    window: Size
    shifted: bool
    version: SwinVersion = "v1"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b d h w c"], slice_mask: Bool[Array, "b d"]) -> Float[Array, "b d h w c"]:
        """Tokens of the same shape; nobody attends to those of masked slices."""
        _, slices, rows, columns, width = x.shape
        check_heads(self, self.num_heads, width)
        grid = (slices, rows, columns)
        tiles = tiling(grid, self.window, shifted=self.shifted)
        head = (self.num_heads, width // self.num_heads)
        qkv = DenseGeneral((3, *head), use_bias=False, kernel_init=DENSE_INIT, dtype=self.dtype, name="qkv")(
            partition(x, tiles)
        )
        query, key, value = jnp.moveaxis(qkv, 3, 0)
        query, value = (y + self._head_bias(name, head) for name, y in (("query_bias", query), ("value_bias", value)))
        scale = head[1] ** -0.5
        if self.version == "v2":
            # A learned temperature for each head (eq. 2): tau = 0.1 at first, and 0.01 at least.
            temperature = self.param("logit_scale", nn.initializers.constant(math.log(10.0)), (self.num_heads,))
            temperature = jnp.exp(jnp.minimum(temperature, math.log(100.0))).reshape(1, 1, 1, -1, 1)
            query, key, scale = _unit(query) * temperature.astype(self.dtype), _unit(key), 1.0
        group = jnp.asarray(groups(tiles, grid))[None]
        real = jnp.broadcast_to(slice_mask[:, :, None, None], x.shape[:4])
        y = self.attend(
            query,
            key,
            value,
            bias=self._bias(tiles.window),
            group=group,
            attended=jnp.where(partition(real, tiles), group, -1),
            scale=scale,
        )
        y = DenseGeneral(width, axis=(-2, -1), kernel_init=DENSE_INIT, dtype=self.dtype, name="out")(y)
        return unite(y, tiles, grid)

    def attend(self, query: Array, key: Array, value: Array, **where: Any) -> Array:
        """``attend_in_windows``, as a method that ``nn.intercept_methods`` sees."""
        return attend_in_windows(query, key, value, **where)

    def _head_bias(self, name: str, head: tuple[int, int]) -> Float[Array, "1 1 1 k d"]:
        return self.param(name, nn.initializers.zeros_init(), head).astype(self.dtype)[None, None, None]

    def _bias(self, window: Size) -> Float[Array, "k n n"]:
        sides = tuple(2 * side - 1 for side in self.window)
        if self.version == "v1":
            table = self.param("relative_bias", DENSE_INIT, (*sides, self.num_heads))
        else:
            hidden = nn.relu(Dense(512, name="bias_up")(_log_offsets(self.window)))
            table = 16 * nn.sigmoid(Dense(self.num_heads, use_bias=False, name="bias_down")(hidden))
        pairs = table.reshape(-1, self.num_heads)[bias_index(window, self.window)]
        return jnp.moveaxis(pairs, -1, 0)


class WindowBlock(CheckedModule):
    """A transformer block whose attention stays inside windows.

    Version 1 norms before attention and MLP, version 2 after them, on the branch ("res-post-norm", Liu et al. 2022,
    section 3.1). Attributes as for ``WindowAttention``.
    """

    num_heads: int
    window: Size
    shifted: bool
    version: SwinVersion = "v1"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b d h w c"],
        slice_mask: Bool[Array, "b d"],
        drop_rate: Float[Array, ""] | None = None,
        *,
        train: bool,
    ) -> Float[Array, "b d h w c"]:
        """Tokens of the same shape; in training, scans lose a branch at ``drop_rate``."""

        def drop(y: Array) -> Array:
            return y if drop_rate is None or not train else drop_path(y, drop_rate, self.make_rng("dropout"))

        attention = WindowAttention(
            self.num_heads, self.window, self.shifted, self.version, self.dtype, name="attention"
        )
        mlp = Mlp("gelu", dtype=self.dtype, name="mlp")
        norm1, norm2 = (nn.LayerNorm(epsilon=EPSILON, dtype=self.dtype, name=name) for name in ("norm1", "norm2"))
        if self.version == "v1":
            x = x + drop(attention(norm1(x), slice_mask))
            return x + drop(mlp(norm2(x)))
        x = x + drop(norm1(attention(x, slice_mask)))
        return x + drop(norm2(mlp(x)))


def attend_in_windows(
    query: Float[Array, "b w n k d"],
    key: Float[Array, "b w n k d"],
    value: Float[Array, "b w n k d"],
    *,
    bias: Float[Array, "k n n"],
    group: Int[Array, "1 w n"],
    attended: Int[Array, "b w n"],
    scale: float,
) -> Float[Array, "b w n k d"]:
    """Attention in each window ``w`` of each scan, from a token of ``group`` g to those that are ``attended`` by g.

    On a GPU kernels of our own take half precision, on one alone: XLA would gather the windows of all devices for them.
    On a CPU a few windows at a time, whose weights then stay in the cache: that halves the time. Elsewhere all at once.
    It has first derivatives by reverse mode alone.
    """
    kernels = gpu_kernels()
    ways: dict[str, Callable[..., Array]] = {"cpu": _attend_to_some_at_a_time, "default": _attend_to_all}
    if kernels is not None and kernels.holds(query):
        ways["cuda"] = functools.partial(_attend_by_kernels, kernels.attention)
    operands = query, key, value, bias, jnp.broadcast_to(group, attended.shape), attended
    return by_platform(*operands, **{platform: functools.partial(way, scale=scale) for platform, way in ways.items()})


def _attend_to_all(
    query: Array, key: Array, value: Array, bias: Array, group: Array, attended: Array, *, scale: float
) -> Array:
    flat = (x.reshape(-1, *x.shape[2:]) for x in (query, key, value, group, attended))
    queries, keys, values, group, attended = flat
    mask = group[:, None, :, None] == attended[:, None, None, :]
    y = jax.nn.dot_product_attention(queries, keys, values, bias=bias[None], mask=mask, scale=scale)
    return y.reshape(query.shape)


def _attend_by_kernels(
    attention: Callable[..., Array],
    query: Array,
    key: Array,
    value: Array,
    bias: Array,
    group: Array,
    attended: Array,
    *,
    scale: float,
) -> Array:
    flat = (x.reshape(-1, *x.shape[2:]) for x in (query, key, value, group, attended))
    return attention(*flat, bias=bias, scale=scale).reshape(query.shape)


def _attend_to_some_at_a_time(
    query: Array, key: Array, value: Array, bias: Array, group: Array, attended: Array, *, scale: float
) -> Array:
    b, windows, tokens, heads, _ = query.shape
    fit = max(_CACHED_LOGITS // (b * heads * tokens**2), 1)
    each = max(n for n in range(1, windows + 1) if windows % n == 0 and n <= fit)

    def some(parts: tuple[Array, ...]) -> Array:
        query, key, value, group, attended = parts
        mask = group[:, :, None] == attended[:, None, :]
        return cpu_attention.attention(query, key, value, scale=scale, bias=bias, mask=mask)

    def split(x: Array) -> Array:
        x = jnp.moveaxis(x.reshape(b, windows // each, each, *x.shape[2:]), 1, 0)
        return x.reshape(windows // each, b * each, *x.shape[3:])

    parts = tuple(map(split, (query, key, value, group, attended)))
    if each == windows:
        return some(tuple(part[0] for part in parts)).reshape(query.shape)
    y = lax.map(some, parts)
    return jnp.moveaxis(y.reshape(windows // each, b, each, *y.shape[2:]), 0, 1).reshape(query.shape)


def _unit(x: Float[Array, "b w n k d"]) -> Float[Array, "b w n k d"]:
    """Features of each head of length 1; a vector of zeros stays one."""
    square = jnp.sum(jnp.square(x), -1, keepdims=True)
    return x * lax.rsqrt(jnp.where(square > 1e-24, square, 1e-24))


def _log_offsets(window: Size) -> Float[np.ndarray, "d h w 3"]:
    """Offsets in a window from -8 to 8, their logarithms scaled so that 7 stays near 1 (Liu et al. 2022, eq. 4)."""
    axes = [np.arange(1 - side, side) / max(side - 1, 1) * 8 for side in window]
    offset = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    return (np.sign(offset) * np.log2(1 + np.abs(offset)) / 3).astype(np.float32)
