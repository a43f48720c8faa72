"""Self-attention of all families but the windowed ones; it picks the kernel for the backend."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ichformer.models.layers.attention.positions import rotate
from ichformer.models.layers.backends import cpu_attention
from ichformer.models.layers.backends.backend import has_cudnn, when_lowered
from ichformer.models.layers.checked import CheckedModule, check_heads
from ichformer.models.layers.dense import DenseGeneral

DENSE_INIT = nn.initializers.truncated_normal(stddev=0.02)


class SelfAttention(CheckedModule):
    """Multi-head self-attention; tokens outside ``mask`` are not attended to.

    Attributes:
      num_heads: divides the width.
      qkv_bias: whether queries, keys and values have one.
      qk_norm: LayerNorm with a scale alone over each head of queries and keys (Dehghani et al. 2023, section 2): large
        models otherwise let their attention logits grow until training diverges.
      epsilon: of those norms.
      dtype: of the computation.
    """

    num_heads: int
    qkv_bias: bool = True
    qk_norm: bool = False
    epsilon: float = 1e-6
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b n d"],
        mask: Bool[Array, "b n"] | None = None,
        angles: Float[Array, "#b n pairs"] | None = None,
    ) -> Float[Array, "b n d"]:
        """Tokens of the same shape (Vaswani et al. 2017, section 3.2); ``angles`` are their rotary positions."""
        width = x.shape[-1]
        check_heads(self, self.num_heads, width)
        qkv = DenseGeneral(
            (3, self.num_heads, width // self.num_heads),
            use_bias=self.qkv_bias,
            kernel_init=DENSE_INIT,
            dtype=self.dtype,
            name="qkv",
        )(x)
        query, key, value = (qkv[:, :, i] for i in range(3))
        if self.qk_norm:
            query, key = (
                nn.LayerNorm(epsilon=self.epsilon, use_bias=False, dtype=self.dtype, name=name)(each)
                for name, each in (("query_norm", query), ("key_norm", key))
            )
        if angles is not None:
            query, key = rotate(query, angles), rotate(key, angles)
        y = self.attend(query, key, value, mask)
        return DenseGeneral(width, axis=(-2, -1), kernel_init=DENSE_INIT, dtype=self.dtype, name="out")(y)

    def attend(self, query: Array, key: Array, value: Array, mask: Array | None) -> Array:
        """``attend``, as a method that ``nn.intercept_methods`` sees."""
        return attend(query, key, value, mask)


def attend(
    query: Float[Array, "b n k d"],
    key: Float[Array, "b n k d"],
    value: Float[Array, "b n k d"],
    mask: Bool[Array, "b n"] | None = None,
) -> Float[Array, "b n k d"]:
    """softmax(query key^T / sqrt(d)) value in each head, over the tokens in ``mask``.

    cuDNN's fused kernel takes it on a GPU where it holds: half precision and heads of a multiple of 8 up to 128. Masks
    stay with XLA: cuDNN wants a whole matrix for them, and masked sequences are those of slices, which are short. On a
    CPU, ``cpu_attention`` computes the same. It has first derivatives by reverse mode alone.
    """

    def on_cpu(query: Array, key: Array, value: Array, mask: Array | None) -> Array:
        attended = None if mask is None else mask[:, None, :]
        return cpu_attention.attention(query, key, value, scale=query.shape[-1] ** -0.5, mask=attended)

    def by_xla(query: Array, key: Array, value: Array, mask: Array | None) -> Array:
        attended = None if mask is None else mask[:, None, None, :]
        return jax.nn.dot_product_attention(query, key, value, mask=attended, implementation="xla")

    def by_cudnn(query: Array, key: Array, value: Array, mask: None) -> Array:
        del mask
        return jax.nn.dot_product_attention(query, key, value, implementation="cudnn")

    half = query.dtype in (jnp.bfloat16, jnp.float16)
    is_fused = mask is None and half and query.shape[-1] % 8 == 0 and query.shape[-1] <= 128 and has_cudnn()
    fused = {"cuda": by_cudnn} if is_fused else {}
    return when_lowered(query, key, value, mask, cpu=on_cpu, default=by_xla, **fused)
