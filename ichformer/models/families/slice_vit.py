"""slice_vit: a 2-D vision transformer in every slice, a transformer over the slices of the scan."""

from typing import Any, Literal

import jax.numpy as jnp

from ichformer import LABELS
from ichformer.errors import InputError
from ichformer.models.encoders.patch_encoder import PatchEncoder
from ichformer.models.families.slice_sequence import SliceSequence
from ichformer.models.heads import ScanPool, SliceContext, SlicePooling
from ichformer.models.layers.attention.positions import Positions, ZPosition
from ichformer.models.layers.attention.transformer import BlockStyle, Remat


def slice_vit(
    *,
    patch_size: int = 16,
    width: int = 192,
    depth: int = 12,
    num_heads: int = 3,
    style: BlockStyle = BlockStyle(),  # noqa: B008, it is frozen
    positions: Positions = "sincos",
    position_grid: tuple[int, int] = (14, 14),
    class_token: bool = False,
    num_registers: int = 0,
    slice_pool: SlicePooling | Literal["token"] = "attention_max",
    context_depth: int = 2,
    context_heads: int = 3,
    z_position: ZPosition = "mm",
    position_step: float = 1.0,
    scan_pool: ScanPool = "attention",
    dropout: float = 0.0,
    drop_path: float = 0.0,
    remat: Remat = "none",
    dtype: Any = jnp.float32,
    labels: tuple[str, ...] = LABELS,
    channels: int | None = None,
    lesions: bool = False,
) -> SliceSequence:
    """Slices to tokens (``PatchEncoder``), tokens to one vector a slice, context over slices.

    Args:
      patch_size: side of a patch in pixels; H and W are multiples of it.
      width: features of a token; divisible by 4 and by the head counts.
      depth: blocks inside a slice.
      num_heads: attention heads inside a slice.
      style: of the blocks inside a slice.
      positions: of the patches in their slice.
      position_grid: rows and columns of the table where positions are learned.
      class_token: whether a token of no place goes with the patches.
      num_registers: further such tokens, which nobody reads.
      slice_pool: how a slice's vector comes from its patches; "token" takes the class token's.
      context_depth: blocks over the slices of a scan.
      context_heads: attention heads over slices.
      z_position: whether a slice is placed in its scan by millimetres or by its index.
      position_step: patches of the full size from one patch to the next, for slices of a smaller one; see
        ``positions.grid_positions``.
      scan_pool: how scan logits come from slices.
      dropout: on the branches of every block.
      drop_path: rate of stochastic depth of the last block inside a slice.
      remat: what the backward pass inside a slice computes anew; see ``Blocks``.
      dtype: of the computation; parameters stay float32.
      labels: names of the labels that it scores.
      channels: of its input; None takes the number that it is first called with.
      lesions: whether it has a lesion head.
    """
    if slice_pool == "token" and not class_token:
        raise InputError("needs class_token=True", where='slice_pool="token"', fix="ask for the class token too")
    encoder = PatchEncoder(
        patch_size,
        width,
        depth,
        num_heads,
        dropout,
        dtype,
        style,
        positions,
        position_grid,
        class_token,
        num_registers,
        drop_path,
        remat,
        position_step,
    )
    return SliceSequence(
        encoder=encoder,
        context=SliceContext(context_depth, context_heads, dropout, dtype, z_position),
        scan_pool=scan_pool,
        dtype=dtype,
        slice_pool=slice_pool,
        labels=labels,
        channels=channels,
        lesions=lesions,
    )
