"""slice_vit: a 2-D vision transformer in every slice, a transformer over the slices of the scan."""

from typing import Any

import jax.numpy as jnp

from ichformer.models.heads import ScanPool, SliceContext
from ichformer.models.layers.patch_encoder import PatchEncoder
from ichformer.models.slice_sequence import SliceSequence


def slice_vit(
    *,
    patch_size: int = 16,
    width: int = 192,
    depth: int = 12,
    num_heads: int = 3,
    context_depth: int = 2,
    context_heads: int = 3,
    scan_pool: ScanPool = "attention",
    dropout: float = 0.0,
    dtype: Any = jnp.float32,
) -> SliceSequence:
    """Slices to tokens (``PatchEncoder``), tokens to one vector a slice, context over slices.

    Args:
      patch_size: side of a patch in pixels; H and W are multiples of it.
      width: features of a token; divisible by 4 and by the head counts.
      depth: blocks inside a slice.
      num_heads: attention heads inside a slice.
      context_depth: blocks over the slices of a scan.
      context_heads: attention heads over slices.
      scan_pool: how scan logits come from slices.
      dropout: on the branches of every block.
      dtype: of the computation; parameters stay float32.
    """
    return SliceSequence(
        encoder=PatchEncoder(patch_size, width, depth, num_heads, dropout, dtype),
        context=SliceContext(context_depth, context_heads, dropout, dtype),
        scan_pool=scan_pool,
        dtype=dtype,
    )
