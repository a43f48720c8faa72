"""Heads: from one vector for each slice to the logits of slices and scan."""

from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ichformer import LABELS
from ichformer.models.layers.attention.positions import LONGEST_MM, ZPosition, sincos_1d, slice_heights_mm
from ichformer.models.layers.attention.self_attention import DENSE_INIT
from ichformer.models.layers.attention.transformer import Block
from ichformer.models.layers.checked import CheckedModule
from ichformer.models.layers.dense import Dense
from ichformer.models.layers.pooling import largest

ScanPool = Literal["attention", "max"]
SlicePooling = Literal["attention_max", "attention", "mean"]

START_LOGIT = -2.0
"""The bias of every output before training. A head that starts with the prevalence it will meet does not spend its
first steps on learning it."""

_MASKED = -1e9


class AttentionPool(nn.Module):
    """A weighted mean over tokens, the weights from a small gated scorer (Ilse et al. 2018, eq. 8-9)."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b n d"], mask: Bool[Array, "b n"] | None = None) -> Float[Array, "b d"]:
        """Tokens [B,N,D] to their mean [B,D]; tokens outside ``mask`` weigh nothing."""
        hidden = max(x.shape[-1] // 4, 8)
        gate = nn.sigmoid(Dense(hidden, dtype=self.dtype, name="gate")(x))
        # No bias: a softmax takes no notice of what it would add to every score alike.
        score = Dense(1, use_bias=False, dtype=jnp.float32, name="score")(
            nn.tanh(Dense(hidden, dtype=self.dtype, name="value")(x)) * gate
        )
        if mask is not None:
            # Finite, so that a scan without any slice gives a number and not NaN.
            score = jnp.where(mask[..., None], score, _MASKED)
        return self.weigh(nn.softmax(score, axis=1).astype(x.dtype), x)

    def weigh(self, weights: Array, x: Array) -> Array:
        """The weighted sum over tokens, as a method that ``nn.intercept_methods`` sees."""
        return jnp.sum(weights * x, axis=1)


class SlicePool(CheckedModule):
    """One vector a slice from its tokens: their mean, their weighted mean, or that and their maximum, mixed.

    A mean thins out a small bleed among many quiet tokens; the maximum keeps it and gives it a gradient from the start.
    """

    dtype: Any = jnp.float32
    kind: SlicePooling = "attention_max"

    @nn.compact
    def __call__(self, x: Float[Array, "b n d"]) -> Float[Array, "b d"]:
        """Tokens [B,N,D] to [B,D]."""
        if self.kind == "mean":
            return x.mean(axis=1)
        mean = AttentionPool(self.dtype, name="mean")(x)
        if self.kind == "attention":
            return mean
        return Dense(x.shape[-1], dtype=self.dtype, name="mix")(jnp.concatenate([mean, largest(x, 1)], axis=-1))


class SliceContext(CheckedModule):
    """A transformer over the slices of a scan, each at its height (``positions.slice_heights_mm``)."""

    depth: int
    num_heads: int
    dropout: float = 0.0
    dtype: Any = jnp.float32
    z_position: ZPosition = "mm"

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b s d"],
        slice_mask: Bool[Array, "b s"],
        spacing_mm: Float[Array, "b 3"],
        *,
        train: bool,
    ) -> Float[Array, "b s d"]:
        """One vector a slice, now with what its scan says about it."""
        heights_mm = slice_heights_mm(slice_mask, spacing_mm, self.z_position)
        height = sincos_1d(heights_mm, x.shape[-1], longest=LONGEST_MM)
        x = x + 0.1 * height.astype(x.dtype)
        for i in range(self.depth):
            x = Block(self.num_heads, self.dropout, self.dtype, name=f"block{i}")(x, slice_mask, train=train)
        return nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, name="norm")(x)


class SliceAndScanHead(CheckedModule):
    """Slice logits from every slice's vector, scan logits from all of them.

    ``scan_pool="max"`` takes the largest slice logit, as a scan's label is the largest of its slices' labels;
    ``"attention"`` classifies an attention-weighted mean of the slices' vectors.
    """

    scan_pool: ScanPool = "attention"
    dtype: Any = jnp.float32
    num_labels: int = len(LABELS)

    @nn.compact
    def __call__(
        self, x: Float[Array, "b s d"], slice_mask: Bool[Array, "b s"]
    ) -> tuple[Float[Array, "b s labels"], Float[Array, "b labels"]]:
        """Vectors [B,S,D] to float32 slice logits [B,S,labels] and scan logits [B,labels]."""
        bias = nn.initializers.constant(START_LOGIT)
        slice_logits = Dense(self.num_labels, kernel_init=DENSE_INIT, bias_init=bias, name="slice_logits")(
            x.astype(jnp.float32)
        )
        if self.scan_pool == "max":
            return slice_logits, largest(jnp.where(slice_mask[..., None], slice_logits, _MASKED), 1)
        pooled = AttentionPool(self.dtype, name="scan_pool")(x, slice_mask)
        scan_logits = Dense(self.num_labels, kernel_init=DENSE_INIT, bias_init=bias, name="scan_logits")(
            pooled.astype(jnp.float32)
        )
        return slice_logits, scan_logits
