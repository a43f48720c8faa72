"""The 2-D vision transformer over the patches of one slice."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ichformer.models.layers.attention import DENSE_INIT
from ichformer.models.layers.positions import sincos_2d
from ichformer.models.layers.transformer import Block


class PatchEncoder(nn.Module):
    """Patches with fixed 2-D sine-cosine positions through ``depth`` transformer blocks."""

    patch_size: int
    width: int
    depth: int
    num_heads: int
    dropout: float = 0.0
    dtype: Any = jnp.float32

    def __call__(self, x: Float[Array, "n h w c"], *, train: bool) -> Float[Array, "n rows columns width"]:
        """Slices [N,H,W,C] to the grid of their patches [N, H/p, W/p, D]; H and W multiples of p."""
        rows, columns = x.shape[1] // self.patch_size, x.shape[2] // self.patch_size
        return self.tokens(x, train=train).reshape(x.shape[0], rows, columns, self.width)

    @nn.compact
    def tokens(
        self, x: Float[Array, "n h w c"], keep: Int[Array, "n kept"] | None = None, *, train: bool
    ) -> Float[Array, "n tokens width"]:
        """Slices [N,H,W,C] to tokens [N, (H/p)(W/p), D], row by row, or [N, kept, D] of the patches in ``keep``.

        Only what is kept is computed: what a masked autoencoder wants (He et al. 2022, section 3).
        """
        p = self.patch_size
        rows, columns = x.shape[1] // p, x.shape[2] // p
        if (rows * p, columns * p) != x.shape[1:3]:
            raise ValueError(f"slices of {x.shape[1]}x{x.shape[2]} cannot be cut into patches of {p}")
        x = nn.Conv(
            self.width, (p, p), (p, p), padding="VALID", kernel_init=DENSE_INIT, dtype=self.dtype, name="patches"
        )(x)
        x = x.reshape(x.shape[0], rows * columns, self.width)
        x = x + jnp.asarray(sincos_2d(rows, columns, self.width), x.dtype)[None]
        if keep is not None:
            x = jnp.take_along_axis(x, keep[..., None], axis=1)
        for i in range(self.depth):
            x = Block(self.num_heads, self.dropout, self.dtype, name=f"block{i}")(x, train=train)
        return nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, name="norm")(x)
