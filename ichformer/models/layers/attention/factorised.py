"""A transformer block over a scan that attends within each slice first and across slices next."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange, repeat
from jaxtyping import Array, Bool, Float

from ichformer.models.layers.attention.self_attention import SelfAttention
from ichformer.models.layers.attention.transformer import BlockStyle, BranchEnd, Mlp


class FactorisedBlock(nn.Module):
    """``Block`` with a second attention, over the slices at one place (Arnab et al. 2021, "ViViT", model 3).

    For S slices of N patches that is S N (S + N) products in the place of (S N)^2. Norms, attention and MLP of the
    slice are named as ``Block`` names them, so that weights of a 2-D transformer fit.
    """

    num_heads: int
    dropout: float = 0.0
    dtype: Any = jnp.float32
    style: BlockStyle = BlockStyle()

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b s n d"],
        mask: Bool[Array, "b s"],
        angles: tuple[Float[Array, "#rows n pairs"], Float[Array, "b s pairs"]] | None = None,
        *,
        drop_rate: Float[Array, ""] | None = None,
        train: bool,
    ) -> Float[Array, "b s n d"]:
        """Tokens of the same shape.

        Args:
          x: N patches of S slices.
          mask: the slices that are attended to.
          angles: rotary positions in the slice, for all slices of all scans or one for all, and along the slices; see
            ``positions.rotary_angles``.
          drop_rate: of ``drop_path``; None for none.
          train: whether to drop.
        """
        b, _, n, _ = x.shape
        style = self.style
        norm = partial(nn.LayerNorm, epsilon=style.epsilon, dtype=self.dtype)
        attention = partial(SelfAttention, self.num_heads, style.qkv_bias, style.qk_norm, style.epsilon, self.dtype)
        end = partial(BranchEnd, style.layer_scale, self.dropout)
        in_slice, along_z = angles or (None, None)

        y = rearrange(norm(name="norm1")(x), "b s n d -> (b s) n d")
        y = rearrange(attention(name="attention")(y, None, in_slice), "(b s) n d -> b s n d", b=b)
        x = x + end(name="scale1")(y, drop_rate, train=train)

        y = rearrange(norm(name="norm_z")(x), "b s n d -> (b n) s d")
        if along_z is not None:
            along_z = repeat(along_z, "b s pairs -> (b n) s pairs", n=n)
        y = attention(name="attention_z")(y, repeat(mask, "b s -> (b n) s", n=n), along_z)
        y = rearrange(y, "(b n) s d -> b s n d", b=b)
        x = x + end(name="scale_z")(y, drop_rate, train=train)

        y = Mlp(style.mlp, style.mlp_ratio, self.dtype, name="mlp")(norm(name="norm2")(x))
        return x + end(name="scale2")(y, drop_rate, train=train)
