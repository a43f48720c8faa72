"""vit3d: a vision transformer over the whole scan, with patches in three dimensions."""

from typing import Any

import jax.numpy as jnp

from ichformer import LABELS
from ichformer.models.encoders.volume_encoder import VolumeAttention, VolumeEncoder
from ichformer.models.families.scan_volume import ScanVolume
from ichformer.models.heads import ScanPool
from ichformer.models.layers.attention.positions import Positions, ZPosition
from ichformer.models.layers.attention.transformer import BlockStyle, Remat


def vit3d(
    *,
    patch_size: tuple[int, int, int] = (1, 16, 16),
    width: int = 384,
    depth: int = 12,
    num_heads: int = 6,
    attention: VolumeAttention = "factorised",
    style: BlockStyle = BlockStyle(),  # noqa: B008, it is frozen
    positions: Positions = "sincos",
    position_grid: tuple[int, int, int] = (32, 14, 14),
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
) -> ScanVolume:
    """A scan to tokens (``VolumeEncoder``), tokens to slices (``ScanVolume``); any number of slices, any H and W.

    Args:
      patch_size: of a token in slices, rows and columns. One slice keeps bleeds of one slice apart; with slices of 5 mm
        and pixels of 1 mm, (3, 16, 16) is about a cube.
      width: features of a token; even, and divisible by ``num_heads``.
      depth: blocks.
      num_heads: attention heads.
      attention: over the slice and then over the slices, or over all tokens at once, which costs the square of them.
      style: of the blocks.
      positions: of the tokens in the scan.
      position_grid: of the table where positions are learned, in tokens.
      z_position: whether a slice is placed in its scan by millimetres or by its index.
      position_step: patches of the full size from one patch to the next, for slices of a smaller one; see
        ``positions.grid_positions``.
      scan_pool: how scan logits come from slices.
      dropout: on the branches of every block.
      drop_path: rate of stochastic depth of the last block.
      remat: what the backward pass computes anew; see ``Blocks``.
      dtype: of the computation; parameters stay float32.
      labels: names of the labels that it scores.
      channels: of its input; None takes the number that it is first called with.
      lesions: whether it has a lesion head.
    """
    encoder = VolumeEncoder(
        patch_size=patch_size,
        width=width,
        depth=depth,
        num_heads=num_heads,
        attention=attention,
        dropout=dropout,
        dtype=dtype,
        style=style,
        positions=positions,
        position_grid=position_grid,
        z_position=z_position,
        drop_path=drop_path,
        remat=remat,
        position_step=position_step,
    )
    return ScanVolume(
        encoder=encoder, scan_pool=scan_pool, dtype=dtype, labels=labels, channels=channels, lesions=lesions
    )
