"""The pre-norm transformer block, shared by every family, and a run of equal ones that is compiled once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ichformer.models.layers.attention.self_attention import DENSE_INIT, SelfAttention
from ichformer.models.layers.backends.backend import is_expected
from ichformer.models.layers.checked import CheckedModule
from ichformer.models.layers.dense import Dense
from ichformer.models.layers.dropout import Dropout, drop_path
from ichformer.settings import check_ranges, check_settings

Feedforward = Literal["gelu_tanh", "gelu", "swiglu"]
Remat = Literal["none", "dots", "full"]

# "dots" keeps what matrix products gave, so that only cheap operations run twice; "full" keeps the input of each block.
_POLICIES = {"dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable, "full": None}

_WITHOUT_LOOPS: ContextVar[bool] = ContextVar("without_loops", default=False)


@dataclass(frozen=True, kw_only=True)
class BlockStyle:
    """What the variants of the transformer's block differ in.

    Attributes:
      mlp: "gelu", its approximation "gelu_tanh", or "swiglu" (Shazeer 2020), a gated layer of as many parameters.
      mlp_ratio: hidden features of the MLP over the width.
      layer_scale: start of a learned scale of each channel on both branches (Touvron et al. 2021b, "Going deeper with
        image transformers", section 2); None for none.
      qk_norm: whether queries and keys are normalised; see ``SelfAttention``.
      qkv_bias: whether queries, keys and values have a bias.
      epsilon: of the norms.
    """

    mlp: Feedforward = "gelu_tanh"
    mlp_ratio: float = 4.0
    layer_scale: float | None = None
    qk_norm: bool = False
    qkv_bias: bool = True
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        """InputError for a value that is not of its type or outside its range."""
        check_settings(self, "BlockStyle.")
        check_ranges(
            "BlockStyle.",
            ("mlp_ratio", self.mlp_ratio, self.mlp_ratio > 0, "a number above 0"),
            ("epsilon", self.epsilon, self.epsilon > 0, "a number above 0"),
        )


class Mlp(CheckedModule):
    """Two dense layers with GELU between them, or the gated form of them.

    "swiglu" has two thirds of the hidden features, rounded up to a multiple of 8, as DINOv2 has: three matrices then
    count as much as two.
    """

    kind: Feedforward = "gelu_tanh"
    ratio: float = 4.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "... d"]) -> Float[Array, "... d"]:
        """Features of the same width."""
        width = x.shape[-1]
        hidden = int(width * self.ratio)
        if self.kind == "swiglu":
            hidden = -(-int(hidden * 2 / 3) // 8) * 8
            both = Dense(2 * hidden, kernel_init=DENSE_INIT, dtype=self.dtype, name="up")(x)
            gate, y = jnp.split(both, 2, axis=-1)
            y = self.gate(gate, y)
        else:
            y = Dense(hidden, kernel_init=DENSE_INIT, dtype=self.dtype, name="up")(x)
            y = self.activate(y)
        return Dense(width, kernel_init=DENSE_INIT, dtype=self.dtype, name="down")(y)

    def activate(self, y: Array) -> Array:
        """GELU, as a method that ``nn.intercept_methods`` sees."""
        return nn.gelu(y, approximate=self.kind == "gelu_tanh")

    def gate(self, gate: Array, y: Array) -> Array:
        """The gated form of it, likewise."""
        return nn.silu(gate) * y


class BranchEnd(nn.Module):
    """What a branch goes through before it is added: LayerScale, dropout, stochastic depth.

    Attributes:
      layer_scale: see ``BlockStyle``.
      dropout: rate.
    """

    layer_scale: float | None = None
    dropout: float = 0.0

    @nn.compact
    def __call__(
        self, y: Float[Array, "b *n d"], drop_rate: Float[Array, ""] | None, *, train: bool
    ) -> Float[Array, "b *n d"]:
        """Features of the same shape; ``drop_rate`` is that of ``drop_path``, None for none."""
        if self.layer_scale is not None:
            scale = self.param("scale", nn.initializers.constant(self.layer_scale), y.shape[-1:])
            y = y * scale.reshape((1,) * (y.ndim - 1) + (-1,)).astype(y.dtype)
        y = Dropout(self.dropout)(y, train=train)
        return y if drop_rate is None or not train else drop_path(y, drop_rate, self.make_rng("dropout"))


class Block(nn.Module):
    """Pre-norm block: ``x + attention(norm(x))``, then ``x + mlp(norm(x))`` (ViT, Dosovitskiy et al. 2021, eq. 2-3)."""

    num_heads: int
    dropout: float = 0.0
    dtype: Any = jnp.float32
    style: BlockStyle = BlockStyle()

    def setup(self) -> None:
        """Both branches, norm to scale."""
        style = self.style
        self.norm1, self.norm2 = (nn.LayerNorm(epsilon=style.epsilon, dtype=self.dtype) for _ in range(2))
        self.attention = SelfAttention(self.num_heads, style.qkv_bias, style.qk_norm, style.epsilon, self.dtype)
        self.mlp = Mlp(style.mlp, style.mlp_ratio, self.dtype)
        self.scale1, self.scale2 = (BranchEnd(style.layer_scale, self.dropout) for _ in range(2))

    def __call__(
        self,
        x: Float[Array, "b n d"],
        mask: Bool[Array, "b n"] | None = None,
        angles: Float[Array, "#b n pairs"] | None = None,
        *,
        drop_rate: Float[Array, ""] | None = None,
        train: bool,
    ) -> Float[Array, "b n d"]:
        """Tokens of the same shape; dropout and stochastic depth on both branches when training.

        Args:
          x: tokens.
          mask: the tokens that are attended to; all where None.
          angles: rotary positions, see ``positions.rotary_angles``.
          drop_rate: of ``drop_path``; None for none.
          train: whether to drop.
        """
        return self.from_norm(x, self.norm1(x), mask, angles, drop_rate=drop_rate, train=train)

    def from_norm(
        self,
        x: Float[Array, "b n d"],
        normed: Float[Array, "b n d"],
        mask: Bool[Array, "b n"] | None = None,
        angles: Float[Array, "#b n pairs"] | None = None,
        *,
        drop_rate: Float[Array, ""] | None = None,
        train: bool,
    ) -> Float[Array, "b n d"]:
        """The block from ``normed = norm1(x)`` on: the last place where a token's say in the others can be seen."""
        x = x + self.scale1(self.attention(normed, mask, angles), drop_rate, train=train)
        return x + self.scale2(self.mlp(self.norm2(x)), drop_rate, train=train)


class Blocks(CheckedModule):
    """``depth`` equal blocks as one loop: compiled once, their parameters stacked on a first axis under "block".

    Attributes:
      depth: how many, at least 1.
      num_heads: of each.
      dropout: of each.
      dtype: of each.
      style: of each.
      drop_path: a rate for each, by place; () for none.
      remat: what the backward pass computes anew instead of keeping it: nothing, all but the results of dense layers,
        or all but the input of each block.
      kind: of block; one that is made and called as ``Block`` is.
    """

    depth: int
    num_heads: int
    dropout: float = 0.0
    dtype: Any = jnp.float32
    style: BlockStyle = BlockStyle()
    drop_path: tuple[float, ...] = ()
    remat: Remat = "none"
    kind: type[nn.Module] = Block

    def setup(self) -> None:
        """What the loop repeats."""
        self.block = self.kind(self.num_heads, self.dropout, self.dtype, self.style)

    def __call__(
        self,
        x: Float[Array, "b *tokens d"],
        mask: Bool[Array, "b n"] | None = None,
        angles: Any = None,
        *,
        train: bool,
    ) -> Float[Array, "b *tokens d"]:
        """Tokens of the same shape; arguments as for the block."""
        return self._loop(self.depth, mask, angles, train)(self.block, x, self._rates)

    def before_last(
        self,
        x: Float[Array, "b *tokens d"],
        mask: Bool[Array, "b n"] | None = None,
        angles: Any = None,
        *,
        train: bool,
    ) -> Float[Array, "b *tokens d"]:
        """What the last block is given; the module has to have its parameters."""
        if self.depth == 1:
            return x
        loop = self._loop(self.depth - 1, mask, angles, train)
        first = nn.map_variables(loop, "params", trans_in_fn=_sliced(slice(-1)))
        return first(self.block, x, None if self._rates is None else self._rates[:-1])

    def last(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """``function(block, drop_rate, *arguments)`` with the last block; the module has to have its parameters."""
        rate = None if self._rates is None else self._rates[-1]
        return nn.map_variables(function, "params", trans_in_fn=_sliced(-1))(self.block, rate, *arguments)

    def _loop(self, times: int, mask: Array | None, angles: Any, train: bool) -> Callable[..., Array]:
        def step(block: nn.Module, x: Array, rate: Array | None) -> tuple[Array, None]:
            return block(x, mask, angles, drop_rate=rate, train=train), None

        loop = repeated(step, times, self.remat, train=train)
        return lambda block, x, rates: loop(block, x, rates)[0]

    @property
    def _rates(self) -> Array | None:
        return jnp.asarray(self.drop_path, jnp.float32) if any(self.drop_path) else None


def _sliced(of_stack: int | slice) -> Callable[[Any], Any]:
    return lambda stacked: jax.tree.map(lambda p: p[of_stack], stacked)


def repeated(step: Callable[..., Any], times: int, remat: Remat, *, train: bool) -> Callable[..., Any]:
    """An ``nn.scan`` of equal blocks; their parameters get a first axis, and ``remat`` says what is computed anew.

    On a CPU and a GPU it is written out in training: a loop would copy what each block keeps for the backward pass into
    one array and out again, a sixth of the time of a step on a CPU and two fifths on a GPU. What is computed anew stays
    a loop, as XLA would merge both computations where it sees them side by side.
    """
    if _WITHOUT_LOOPS.get():
        return _one_by_one(step, times)
    written_out = train and remat == "none" and is_expected("cpu", "gpu")
    if remat != "none":
        step = nn.remat(step, policy=_POLICIES[remat], prevent_cse=False)
    return nn.scan(
        step,
        variable_axes={"params": 0},
        split_rngs={"params": True, "dropout": True},
        length=times,
        unroll=times if written_out else 1,
    )


@contextmanager
def without_loops() -> Iterator[None]:
    """Inside, equal blocks run one after the other in Python, for those who want arrays of each of them.

    The modules have to have their parameters, and nothing is computed anew. It compiles as long as it is deep.
    """
    token = _WITHOUT_LOOPS.set(True)
    try:
        yield
    finally:
        _WITHOUT_LOOPS.reset(token)


def _one_by_one(step: Callable[..., Any], times: int) -> Callable[..., Any]:
    def run(block: nn.Module, x: Array, rates: Array | None) -> tuple[Array, None]:
        for i in range(times):
            of_block = nn.map_variables(step, "params", trans_in_fn=_sliced(i))
            x, _ = of_block(block, x, None if rates is None else rates[i])
        return x, None

    return run
