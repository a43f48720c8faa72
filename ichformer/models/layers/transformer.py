"""The pre-norm transformer block, shared by every family."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

DENSE_INIT = nn.initializers.truncated_normal(stddev=0.02)


class SelfAttention(nn.Module):
    """Multi-head self-attention; tokens outside ``mask`` are not attended to."""

    num_heads: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b n d"], mask: Bool[Array, "b n"] | None = None) -> Float[Array, "b n d"]:
        """Tokens of the same shape. Vaswani et al. 2017, section 3.2."""
        width = x.shape[-1]
        qkv = nn.DenseGeneral(
            (3, self.num_heads, width // self.num_heads), kernel_init=DENSE_INIT, dtype=self.dtype, name="qkv"
        )(x)
        query, key, value = (qkv[:, :, i] for i in range(3))
        attend = None if mask is None else mask[:, None, None, :]
        y = jax.nn.dot_product_attention(query, key, value, mask=attend)
        return nn.DenseGeneral(width, axis=(-2, -1), kernel_init=DENSE_INIT, dtype=self.dtype, name="out")(y)


class Mlp(nn.Module):
    """Two dense layers with GELU between them."""

    ratio: float = 4.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "... d"]) -> Float[Array, "... d"]:
        """Features of the same width."""
        width = x.shape[-1]
        y = nn.Dense(int(width * self.ratio), kernel_init=DENSE_INIT, dtype=self.dtype, name="up")(x)
        return nn.Dense(width, kernel_init=DENSE_INIT, dtype=self.dtype, name="down")(nn.gelu(y))


class Block(nn.Module):
    """Pre-norm block: ``x + attention(norm(x))``, then ``x + mlp(norm(x))`` (ViT, Dosovitskiy et al. 2021, eq. 2-3)."""

    num_heads: int
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "b n d"], mask: Bool[Array, "b n"] | None = None, *, train: bool
    ) -> Float[Array, "b n d"]:
        """Tokens of the same shape; dropout on both branches when training."""
        drop = nn.Dropout(self.dropout, deterministic=not train)
        x = x + drop(SelfAttention(self.num_heads, self.dtype, name="attention")(_norm(self.dtype, "norm1")(x), mask))
        return x + drop(Mlp(dtype=self.dtype, name="mlp")(_norm(self.dtype, "norm2")(x)))


def _norm(dtype: Any, name: str) -> nn.LayerNorm:
    return nn.LayerNorm(epsilon=1e-6, dtype=dtype, name=name)
