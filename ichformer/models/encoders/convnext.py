"""ConvNeXt: a residual network in the manner of a transformer."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ichformer.models.encoders.resnet import IMAGENET_MEAN, IMAGENET_STD
from ichformer.models.layers.attention.self_attention import DENSE_INIT
from ichformer.models.layers.checked import CheckedModule, check_lengths
from ichformer.models.layers.convolution import Conv
from ichformer.models.layers.dense import Dense
from ichformer.models.layers.dropout import DropPath
from ichformer.models.lesions import Finer


class ConvNextBlock(nn.Module):
    """A depth-wise 7x7 convolution, then an MLP over channels (Liu et al. 2022, figure 4), scaled by channel.

    LayerScale starts at 1e-6 (appendix A.1): a block is close to the identity at first.
    """

    drop_path: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "n h w d"], *, train: bool) -> Float[Array, "n h w d"]:
        """Features of the same shape."""
        width = x.shape[-1]
        y = Conv(width, (7, 7), feature_group_count=width, kernel_init=DENSE_INIT, dtype=self.dtype, name="depthwise")(
            x
        )
        y = _norm(self.dtype, "norm")(y)
        y = nn.gelu(Dense(4 * width, kernel_init=DENSE_INIT, dtype=self.dtype, name="up")(y), approximate=False)
        y = Dense(width, kernel_init=DENSE_INIT, dtype=self.dtype, name="down")(y)
        scale = self.param("scale", nn.initializers.constant(1e-6), (width,))
        return x + DropPath(self.drop_path)(y * scale.reshape(1, 1, 1, -1).astype(self.dtype), train=train)


class ConvNext(CheckedModule):
    """ConvNeXt over one slice (Liu et al. 2022), without its classifier.

    The norm that stands between pooling and classifier there is applied to every place of the grid here, as detectors
    on top of ConvNeXt do.

    Attributes:
      depths: blocks a stage.
      widths: features of a stage.
      drop_path: probability that the last block's branch is left out in training; those before it grow from zero.
      dtype: of the computation; parameters stay float32.
    """

    depths: tuple[int, ...] = (3, 3, 9, 3)
    widths: tuple[int, ...] = (96, 192, 384, 768)
    drop_path: float = 0.0
    dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        """InputError for settings that do not go together."""
        super().__post_init__()
        check_lengths(self, widths=len(self.depths))

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"], *, train: bool, stages: bool = False
    ) -> Float[Array, "n h2 w2 d"] | tuple[Float[Array, "n h2 w2 d"], Finer]:
        """Slices [N,H,W,C] in [0, 1] to a feature grid [N,H/32,W/32,D], rounded up; with ``stages`` finer ones too."""
        x = (x - IMAGENET_MEAN) / IMAGENET_STD
        rates = iter(np.linspace(0, self.drop_path, sum(self.depths)).tolist())
        finer = []
        for i, (depth, width) in enumerate(zip(self.depths, self.widths, strict=True)):
            # "SAME" is "VALID" where patches divide the image, and loses no edge where they don't.
            if i == 0:
                x = Conv(width, (4, 4), 4, kernel_init=DENSE_INIT, dtype=self.dtype, name="stem")(x)
                x = _norm(self.dtype, "stem_norm")(x)
            else:
                x = _norm(self.dtype, f"down{i}_norm")(x)
                x = Conv(width, (2, 2), 2, kernel_init=DENSE_INIT, dtype=self.dtype, name=f"down{i}")(x)
            for j in range(depth):
                x = ConvNextBlock(next(rates), self.dtype, name=f"stage{i}_block{j}")(x, train=train)
            finer.append(x)
        x = _norm(self.dtype, "norm")(x)
        return (x, tuple(finer[:-1])) if stages else x


def _norm(dtype: Any, name: str) -> nn.LayerNorm:
    return nn.LayerNorm(epsilon=1e-6, dtype=dtype, name=name)
