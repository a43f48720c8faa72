"""slice_vit: a 2-D vision transformer in every slice, a transformer over the slices of the scan."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange
from jaxtyping import Array, Bool, Float

from ichformer.models.contract import CAM_LAYER, Prediction
from ichformer.models.heads import ScanPool, SliceAndScanHead, SliceContext, SlicePool
from ichformer.models.layers.patch_encoder import PatchEncoder


class SliceViT(nn.Module):
    """Slices to tokens (``PatchEncoder``), tokens to one vector a slice (attention pooling), context over slices.

    Attributes:
      patch_size: side of a patch in pixels.
      width: features of a token; divisible by 4 and by the head counts.
      depth: blocks inside a slice.
      num_heads: attention heads inside a slice.
      context_depth: blocks over the slices of a scan.
      context_heads: attention heads over slices.
      scan_pool: how scan logits come from slices.
      dropout: on the branches of every block.
      dtype: of the computation; parameters stay float32.
    """

    patch_size: int = 16
    width: int = 192
    depth: int = 12
    num_heads: int = 3
    context_depth: int = 2
    context_heads: int = 3
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
        """See ``contract.Classifier``; H and W are multiples of ``patch_size``."""
        b, s, h = x.shape[:3]
        tokens = PatchEncoder(
            self.patch_size, self.width, self.depth, self.num_heads, self.dropout, self.dtype, name="encoder"
        )(rearrange(x, "b s h w c -> (b s) h w c"), train=train)
        # The pool below reads every token, so the encoder's output is where gradients still have a place in the slice.
        grid = rearrange(tokens, "(b s) (h w) d -> b s h w d", b=b, s=s, h=h // self.patch_size)
        grid = self.perturb(CAM_LAYER, grid)
        vectors = SlicePool(self.dtype, name="slice_pool")(rearrange(grid, "b s h w d -> (b s) (h w) d"))
        vectors = rearrange(vectors, "(b s) d -> b s d", b=b)
        vectors = SliceContext(self.context_depth, self.context_heads, self.dropout, self.dtype, name="context")(
            vectors, slice_mask, spacing_mm, train=train
        )
        slice_logits, scan_logits = SliceAndScanHead(self.scan_pool, self.dtype, name="head")(vectors, slice_mask)
        return Prediction(
            slice_logits=slice_logits, scan_logits=scan_logits, features={"slices": vectors, CAM_LAYER: grid}
        )
