"""swin3d: attention in shifted windows of the whole scan, with slices and their features in one grid."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange
from jaxtyping import Array, Bool, Float

from ichformer.models.contract import CAM_LAYER, Prediction
from ichformer.models.heads import ScanPool, SliceAndScanHead, SlicePool
from ichformer.models.layers.attention import DENSE_INIT
from ichformer.models.layers.swin import SwinEncoder
from ichformer.models.layers.transformer import Remat
from ichformer.models.layers.window_attention import SwinVersion
from ichformer.models.layers.windows import Size

# Slices 5 mm apart, pixels of 0.5 mm: what most head CT is stored as.
_TYPICAL_MM = (5.0, 0.5)


class Swin3D(nn.Module):
    """``SwinEncoder`` over a scan, its grid brought back to the slices, then the heads.

    A grid that is coarser than the slices gives every slice its own share of a dense layer on the token that holds it:
    a transposed convolution whose stride is its kernel.

    Attributes:
      encoder: gives the grid.
      scan_pool: how scan logits come from slices.
      dtype: of the computation; parameters stay float32.
    """

    encoder: SwinEncoder
    scan_pool: ScanPool = "attention"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b s h w c"],
        slice_mask: Bool[Array, "b s"],
        spacing_mm: Float[Array, "b 3"],
        train: bool,
    ) -> Prediction:
        """See ``contract.Classifier``; any number of slices, any H and W."""
        b, slices = slice_mask.shape
        grid = self.encoder(x, slice_mask, spacing_mm, train=train)
        width, each = grid.shape[-1], self.encoder.slices_per_token
        if each > 1:
            grid = nn.Dense(each * width, kernel_init=DENSE_INIT, dtype=self.dtype, name="to_slices")(grid)
            grid = rearrange(grid, "b d h w (i c) -> b (d i) h w c", i=each)[:, :slices]
        grid = self.perturb(CAM_LAYER, grid)
        vectors = SlicePool(self.dtype, name="slice_pool")(rearrange(grid, "b s h w d -> (b s) (h w) d"))
        vectors = rearrange(vectors, "(b s) d -> b s d", b=b)
        slice_logits, scan_logits = SliceAndScanHead(self.scan_pool, self.dtype, name="head")(vectors, slice_mask)
        return Prediction(
            slice_logits=slice_logits, scan_logits=scan_logits, features={"slices": vectors, CAM_LAYER: grid}
        )


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
) -> Swin3D:
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
    return Swin3D(encoder=encoder, scan_pool=scan_pool, dtype=dtype)


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
