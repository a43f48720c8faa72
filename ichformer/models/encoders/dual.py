"""A convolutional network and a transformer side by side over one slice, fused on one grid (Zhang et al. 2021)."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from ichformer.errors import InputError
from ichformer.models.encoders.patch_encoder import PatchEncoder
from ichformer.models.encoders.residual import ResidualBlock, ResidualEncoder
from ichformer.models.layers.channel_norm import GroupNorm
from ichformer.models.layers.convolution import Conv
from ichformer.models.layers.dense import Dense
from ichformer.models.layers.pooling import SliceMean, largest
from ichformer.models.lesions import Finer, encode


class DualEncoder(nn.Module):
    """Two encoders that see the same slice, and ``BiFusion`` of what they say.

    Fused at the end and not at every stage (Conformer, Peng et al. 2021): each branch stays a network of its own, so
    that each takes pretrained weights as they are.

    Attributes:
      cnn: ``encoder(x [N,H,W,C], train=...) -> [N,h,w,D]``.
      vit: another one with the same h and w, so that a place of the fused grid means the same place in both.
      width: features of the fused grid, a multiple of 8.
      dtype: of the computation.
    """

    cnn: nn.Module
    vit: nn.Module
    width: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"], *, train: bool, stages: bool = False
    ) -> Float[Array, "n rows columns width"] | tuple[Float[Array, "n rows columns width"], Finer]:
        """Slices [N,H,W,C] to the fused grid [N,h,w,width]; with ``stages``, the finer grids of ``cnn`` too."""
        local, finer = encode(self.cnn, x, train=train, stages=stages)
        wide = self.vit(x, train=train)
        if local.shape[:3] != wide.shape[:3]:
            raise InputError(
                f"the branches' grids differ: {local.shape[1:3]} and {wide.shape[1:3]}",
                where="DualEncoder",
                fix="take a patch size that is the stride of the convolutional network",
            )
        fused = BiFusion(self.width, self.dtype, name="fusion")(local, wide)
        return (fused, finer) if stages else fused


class BiFusion(nn.Module):
    """TransFuse's fusion module (Zhang, Liu & Hu 2021, eq. 1): both branches, each gated by what it is good at, and the
    product of the two, through a residual block.

    The transformer's channels are gated by their means over the slice; the places of the convolutional grid, which is
    sharp but noisy, by a map over the slice; the product is large where both agree. GroupNorm takes the place of batch
    norms, and a bias that of the norm on the one-channel map.
    """

    width: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, local: Float[Array, "n h w c"], wide: Float[Array, "n h w d"]) -> Float[Array, "n h w width"]:
        """The grids of the convolutional network and of the transformer to one."""
        both = self._projected(local, "local") * self._projected(wide, "wide")
        both = Conv(self.width, (3, 3), use_bias=False, dtype=self.dtype, name="product")(both)
        both = nn.relu(GroupNorm(self.dtype, name="product_norm")(both))
        places = jnp.concatenate([local.mean(-1, keepdims=True), largest(local, -1)[..., None]], -1)
        local = local * nn.sigmoid(Conv(1, (7, 7), dtype=self.dtype, name="places")(places))
        channels = Dense(wide.shape[-1] // 4, dtype=self.dtype, name="channels_down")(SliceMean()(wide))
        wide = wide * nn.sigmoid(Dense(wide.shape[-1], dtype=self.dtype, name="channels_up")(nn.relu(channels)))
        fused = jnp.concatenate([local, wide, both], -1)
        fused = ResidualBlock(self.width, dtype=self.dtype, name="fuse")(fused)
        return nn.relu(GroupNorm(self.dtype, name="norm")(fused))

    def _projected(self, x: Array, name: str) -> Array:
        x = Conv(self.width, (1, 1), use_bias=False, dtype=self.dtype, name=name)(x)
        return GroupNorm(self.dtype, name=f"{name}_norm")(x)


def residual_and_vit(
    *, widths: tuple[int, ...], blocks: int, width: int, depth: int, num_heads: int, dtype: Any = jnp.float32
) -> DualEncoder:
    """The residual network of this package, which sees edges and texture, beside a ViT, which sees the whole slice.

    Patches are as large as the residual network's stride, so that the two grids lie on one another.

    Args:
      widths: features of the residual network's stages; its stride is 2 x 2^stages.
      blocks: residual blocks a stage.
      width: features of a token and of the fused grid.
      depth: transformer blocks.
      num_heads: attention heads of each.
      dtype: of the computation; parameters stay float32.
    """
    vit = PatchEncoder(patch_size=2 * 2 ** len(widths), width=width, depth=depth, num_heads=num_heads, dtype=dtype)
    return DualEncoder(ResidualEncoder(widths, blocks, dtype), vit, width, dtype)
