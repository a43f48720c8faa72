"""The parts that swin3d and vit3d share: an encoder of the whole scan, a vector for each slice, heads."""

import flax.linen as nn
from einops import rearrange
from jaxtyping import Array, Bool, Float

from ichformer.models.contract import CAM_LAYER, Prediction
from ichformer.models.families.base import ScanModel
from ichformer.models.heads import ScanPool, SliceAndScanHead, SlicePool
from ichformer.models.layers.attention.self_attention import DENSE_INIT
from ichformer.models.layers.dense import Dense
from ichformer.models.lesions import encode


class ScanVolume(ScanModel):
    """An encoder of the whole scan, its grid brought back to the slices, then the heads.

    A grid that is coarser than the slices gives every slice its own share of a dense layer on the token that holds it:
    a transposed convolution whose stride is its kernel.

    Attributes:
      encoder: ``encoder(x [B,S,H,W,C], slice_mask, spacing_mm, train=...) -> [B,tokens,h,w,D]``, in which masked slices
        change nothing; it has ``slices_per_token``.
      scan_pool: how scan logits come from slices.

    ``dtype``, ``labels``, ``channels`` and ``lesions`` are ``ScanModel``'s.
    """

    encoder: nn.Module
    scan_pool: ScanPool = "attention"

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b s h w c"],
        slice_mask: Bool[Array, "b s"],
        spacing_mm: Float[Array, "b 3"],
        train: bool,
    ) -> Prediction:
        """See ``contract.Classifier``; any number of slices, any H and W."""
        self.check(x, slice_mask, spacing_mm)
        b, slices = slice_mask.shape
        grid, finer = encode(self.encoder, x, slice_mask, spacing_mm, train=train, stages=self.lesions)
        width, each = grid.shape[-1], self.encoder.slices_per_token
        if each > 1:
            grid = Dense(each * width, kernel_init=DENSE_INIT, dtype=self.dtype, name="to_slices")(grid)
            grid = rearrange(grid, "b d h w (i c) -> b (d i) h w c", i=each)[:, :slices]
        grid = self.perturb(CAM_LAYER, grid)
        vectors = SlicePool(self.dtype, name="slice_pool")(rearrange(grid, "b s h w d -> (b s) (h w) d"))
        vectors = rearrange(vectors, "(b s) d -> b s d", b=b)
        vectors, lesion_logits = self.find_lesions(vectors, x, (*finer, grid), slice_mask)
        head = SliceAndScanHead(self.scan_pool, self.dtype, len(self.labels), name="head")
        slice_logits, scan_logits = head(vectors, slice_mask)
        return Prediction(
            slice_logits=slice_logits,
            scan_logits=scan_logits,
            features={"slices": vectors, CAM_LAYER: grid},
            lesion_logits=lesion_logits,
        )
