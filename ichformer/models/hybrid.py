"""hybrid: a convolutional network in every slice, a transformer over the slices, trained end to end."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange
from jaxtyping import Array, Bool, Float

from ichformer.models.contract import CAM_LAYER, Prediction
from ichformer.models.heads import ScanPool, SliceAndScanHead, SliceContext, SlicePool
from ichformer.models.layers.resnet import ResidualEncoder


class Hybrid(nn.Module):
    """The RSNA 2019 medal recipe as one network: encoder per slice, sequence model over slices.

    Attributes:
      widths: features of the encoder's stages, multiples of 8; the last is the width of the transformer.
      blocks: residual blocks a stage.
      context_depth: transformer blocks over the slices of a scan.
      context_heads: attention heads over slices.
      scan_pool: how scan logits come from slices.
      dropout: on the branches of the transformer's blocks.
      dtype: of the computation; parameters stay float32.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)
    blocks: int = 2
    context_depth: int = 2
    context_heads: int = 8
    scan_pool: ScanPool = "attention"
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b s h w c"],
        slice_mask: Bool[Array, "b s"],
        spacing_mm: Float[Array, "b 3"],
        train: bool,
    ) -> Prediction:
        """See ``contract.Classifier``."""
        b = x.shape[0]
        grid = ResidualEncoder(self.widths, self.blocks, self.dtype, name="encoder")(
            rearrange(x, "b s h w c -> (b s) h w c")
        )
        grid = self.perturb(CAM_LAYER, rearrange(grid, "(b s) h w d -> b s h w d", b=b))
        vectors = SlicePool(self.dtype, name="slice_pool")(rearrange(grid, "b s h w d -> (b s) (h w) d"))
        vectors = SliceContext(self.context_depth, self.context_heads, self.dropout, self.dtype, name="context")(
            rearrange(vectors, "(b s) d -> b s d", b=b), slice_mask, spacing_mm, train=train
        )
        slice_logits, scan_logits = SliceAndScanHead(self.scan_pool, self.dtype, name="head")(vectors, slice_mask)
        return Prediction(
            slice_logits=slice_logits, scan_logits=scan_logits, features={"slices": vectors, CAM_LAYER: grid}
        )
