"""hybrid: a convolutional network in every slice, a transformer over the slices, trained end to end."""

from typing import Any

import jax.numpy as jnp

from ichformer.models.heads import ScanPool, SliceContext
from ichformer.models.layers.resnet import ResidualEncoder
from ichformer.models.slice_sequence import SliceSequence


def hybrid(
    *,
    widths: tuple[int, ...] = (64, 128, 256, 512),
    blocks: int = 2,
    context_depth: int = 2,
    context_heads: int = 8,
    scan_pool: ScanPool = "attention",
    dropout: float = 0.0,
    dtype: Any = jnp.float32,
) -> SliceSequence:
    """The RSNA 2019 medal recipe as one network: encoder per slice, sequence model over slices.

    Args:
      widths: features of the encoder's stages, multiples of 8; the last is the width of the transformer.
      blocks: residual blocks a stage.
      context_depth: transformer blocks over the slices of a scan.
      context_heads: attention heads over slices.
      scan_pool: how scan logits come from slices.
      dropout: on the branches of the transformer's blocks.
      dtype: of the computation; parameters stay float32.
    """
    return SliceSequence(
        encoder=ResidualEncoder(widths, blocks, dtype),
        context=SliceContext(context_depth, context_heads, dropout, dtype),
        scan_pool=scan_pool,
        dtype=dtype,
    )
