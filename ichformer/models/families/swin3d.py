"""swin3d: attention in shifted windows of the whole scan, with slices and their features in one grid."""

from typing import Any

import jax.numpy as jnp

from ichformer import LABELS
from ichformer.models.encoders.swin import SwinEncoder
from ichformer.models.families.scan_volume import ScanVolume
from ichformer.models.heads import ScanPool
from ichformer.models.layers.attention.transformer import Remat
from ichformer.models.layers.attention.window_attention import SwinVersion
from ichformer.models.layers.attention.windows import Size

# Slices 5 mm apart, pixels of 0.5 mm: what most head CT is stored as.
_TYPICAL_MM = (5.0, 0.5)


def swin3d(
    *,
    patch_size: Size = (1, 4, 4),
    width: int = 96,
    depths: tuple[int, ...] = (2, 2, 6, 2),
    num_heads: tuple[int, ...] = (3, 6, 12, 24),
    window: Size = (8, 7, 7),
    slice_merges: tuple[int, ...] | None = None,
    version: SwinVersion = "v1",
    scan_pool: ScanPool = "attention",
    drop_path: float = 0.0,
    remat: Remat = "none",
    dtype: Any = jnp.float32,
    labels: tuple[str, ...] = LABELS,
    channels: int | None = None,
    lesions: bool = False,
) -> ScanVolume:
    """The classifier of a size; the default is the tiny one of Liu et al. 2022, with patches one slice deep.

    Args:
      patch_size: of a token in slices, rows and columns.
      width: features of a token in the first stage.
      depths: blocks of each stage, even numbers.
      num_heads: attention heads of each stage.
      window: tokens a window, along slices, rows and columns.
      slice_merges: before each stage after the first, how many tokens along the slices become one. None leaves slices
        alone while they are the longer side of a token: see ``even_merges``, for slices of 5 mm and pixels of 0.5 mm.
        Video Swin, whose frames are never merged, is (1, 1, 1).
      version: of Swin; "v2" has cosine attention, a continuous bias and norms behind the branches (Liu et al. 2022).
      scan_pool: how scan logits come from slices.
      drop_path: share of scans that skip the last block's branches; rises from 0 at the first.
      remat: what the backward pass computes anew instead of keeping it.
      dtype: of the computation; parameters stay float32.
      labels: names of the labels that it scores.
      channels: of its input; None takes the number that it is first called with.
      lesions: whether it has a lesion head.
    """
    if slice_merges is None:
        slice_mm, pixel_mm = _TYPICAL_MM
        slice_merges = even_merges(slice_mm * patch_size[0], pixel_mm * patch_size[1], len(depths) - 1)
    encoder = SwinEncoder(
        patch_size=patch_size,
        width=width,
        depths=depths,
        num_heads=num_heads,
        window=window,
        slice_merges=slice_merges,
        version=version,
        drop_path=drop_path,
        remat=remat,
        dtype=dtype,
    )
    return ScanVolume(
        encoder=encoder, scan_pool=scan_pool, dtype=dtype, labels=labels, channels=channels, lesions=lesions
    )


def even_merges(token_slice_mm: float, token_pixel_mm: float, count: int) -> tuple[int, ...]:
    """How many tokens along the slices each merge makes one, so that tokens grow as even as they can.

    Rows and columns are always halved; slices only where a token is less than twice as long along them as it is wide.
    Tokens of 5 x 2 x 2 mm become 5 x 4 x 4, 10 x 8 x 8 and 20 x 16 x 16. It goes by millimetres and not by the number
    of slices at hand: parameters are for all scans, and padded slices must not decide about real ones.
    """
    merges = []
    for _ in range(count):
        merges.append(2 if token_slice_mm < 2 * token_pixel_mm else 1)
        token_slice_mm, token_pixel_mm = token_slice_mm * merges[-1], token_pixel_mm * 2
    return tuple(merges)
