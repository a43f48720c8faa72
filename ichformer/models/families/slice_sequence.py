"""The parts that slice_vit, the hybrids and the 2-D baselines share: slice encoder, context over slices, heads."""

from typing import Literal

import flax.linen as nn
from einops import rearrange
from jaxtyping import Array, Bool, Float

from ichformer.models.contract import CAM_LAYER, Prediction
from ichformer.models.families.base import ScanModel
from ichformer.models.heads import ScanPool, SliceAndScanHead, SlicePool, SlicePooling
from ichformer.models.layers.dense import Dense
from ichformer.models.lesions import Finer, encode


class SliceSequence(ScanModel):
    """Slices to feature grids (``encoder``), grids to one vector a slice, vectors to vectors that know their scan.

    Attributes:
      encoder: ``encoder(x [N,H,W,C], train=...) -> [N,h,w,D]``, blind to the other slices.
      context: ``context(x [B,S,D], slice_mask, spacing_mm, train=...) -> [B,S,D]``; None scores each slice alone.
      scan_pool: how scan logits come from slices.
      slice_pool: how a slice's vector comes from its grid (``SlicePool``); "token" asks the encoder for what its class
        token read there (``PatchEncoder.class_vector``).
      width: what the grid's features are projected to, where an encoder has more than a context can afford.

    ``dtype``, ``labels``, ``channels`` and ``lesions`` are ``ScanModel``'s.
    """

    encoder: nn.Module
    context: nn.Module | None
    scan_pool: ScanPool = "attention"
    slice_pool: SlicePooling | Literal["token"] = "attention_max"
    width: int | None = None

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b s h w c"],
        slice_mask: Bool[Array, "b s"],
        spacing_mm: Float[Array, "b 3"],
        train: bool,
    ) -> Prediction:
        """See ``contract.Classifier``; the encoder says which H and W it takes."""
        self.check(x, slice_mask, spacing_mm)
        b = x.shape[0]
        finer: Finer = ()
        x = rearrange(x, "b s h w c -> (b s) h w c")
        if self.slice_pool == "token":
            grid, tokens = self.encoder.before_last_attention(x, train=train)
        else:
            grid, finer = encode(self.encoder, x, train=train, stages=self.lesions)
        grids = (*finer, grid)
        if self.width is not None:
            grid = Dense(self.width, dtype=self.dtype, name="project")(grid)
        # What makes a vector of the grid reads all of it, so this is where gradients still have a place in the slice.
        grid = self.perturb(CAM_LAYER, rearrange(grid, "(b s) h w d -> b s h w d", b=b))
        cells = rearrange(grid, "b s h w d -> (b s) h w d")
        if self.slice_pool == "token":
            vectors = self.encoder.class_vector(cells, tokens, train=train)
        else:
            pool = SlicePool(self.dtype, self.slice_pool, name="slice_pool")
            vectors = pool(rearrange(cells, "n h w d -> n (h w) d"))
        vectors = rearrange(vectors, "(b s) d -> b s d", b=b)
        vectors, lesion_logits = self.find_lesions(vectors, x, grids, slice_mask)
        if self.context is not None:
            vectors = self.context(vectors, slice_mask, spacing_mm, train=train)
        head = SliceAndScanHead(self.scan_pool, self.dtype, len(self.labels), name="head")
        slice_logits, scan_logits = head(vectors, slice_mask)
        return Prediction(
            slice_logits=slice_logits,
            scan_logits=scan_logits,
            features={"slices": vectors, CAM_LAYER: grid},
            lesion_logits=lesion_logits,
        )
