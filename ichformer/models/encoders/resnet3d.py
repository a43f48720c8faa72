"""ResNet in three dimensions, in MedicalNet's layout, for scans of any number of slices."""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ichformer.models.encoders.resnet import ResNetBlock, Shortcut, stride_planes
from ichformer.models.layers.channel_norm import Norm, normalise
from ichformer.models.layers.checked import CheckedModule, check_lengths
from ichformer.models.layers.convolution import Conv
from ichformer.models.layers.pooling import max_pool
from ichformer.models.lesions import Finer


class ResNet3D(CheckedModule):
    """A 3-D ResNet (Hara et al. 2018; Chen et al. 2019, "Med3D") that gives a feature for every slice.

    What is not real is zero behind every convolution, just as it is beyond the edge of a scan, and no statistic counts
    it: padded slices change nothing.

    Attributes:
      depths: blocks a stage.
      widths: width of a stage; a bottleneck's result has four times as many features.
      bottleneck: whether blocks are bottlenecks (ResNet-50 and larger).
      shortcut: "pad" in MedicalNet's ResNet-18 and -34, "project" in the others.
      depth_strides: how many of the strided layers (stem, pool, stages 2, 3, 4) halve the number of slices as well. A
        slice is some ten pixels thick, so the default is none; the references have all, which suits thin slices.
      dilated: stages 3 and 4 keep their resolution and dilate by 2 and 4, as MedicalNet's do.
      norm: what follows every convolution; imported weights need "affine".
      dtype: of the computation; parameters stay float32.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...] = (64, 128, 256, 512)
    bottleneck: bool = False
    shortcut: Shortcut = "project"
    depth_strides: int = 0
    dilated: bool = False
    norm: Norm = "group"
    dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        """InputError for settings that do not go together."""
        super().__post_init__()
        check_lengths(self, widths=len(self.depths))

    @nn.compact
    def __call__(
        self, x: Float[Array, "b s h w c"], slice_mask: Bool[Array, "b s"], *, stages: bool = False
    ) -> Float[Array, "b s h2 w2 d"] | tuple[Float[Array, "b s h2 w2 d"], Finer]:
        """Scans [B,S,H,W,C] in [0, 1] to features [B,S,H/32,W/32,D], rounded up (H/8 where dilated).

        With ``stages``, the features of the stages before it too, interpolated at every slice as well.
        """
        real = slice_mask.reshape((*slice_mask.shape, 1, 1, 1))
        # Soft tissue lies near 0.4 in every window; MedicalNet's volumes have mean 0 and deviation 1.
        x = jnp.where(real, (x - 0.4) * 3, 0.0).astype(self.dtype)
        halved = [2 if i < self.depth_strides else 1 for i in range(len(self.depths) + 1)]
        if self.dilated:
            halved[3:] = [1] * len(halved[3:])

        planes = stride_planes(slice_mask, halved[0])
        stem = Conv(
            self.widths[0], (7, 7, 7), (halved[0], 2, 2), ((3, 3),) * 3, use_bias=False, dtype=self.dtype, name="stem"
        )
        x = nn.relu(normalise(stem(x), self.norm, dtype=self.dtype, name="stem_norm", planes=planes))
        # Behind ReLU a zero is as good as the minus infinity that a pool finds beyond the edge.
        x = max_pool(x, (halved[1], 2, 2))
        planes = stride_planes(planes, halved[1])
        x = jnp.where(planes.reshape((*planes.shape, 1, 1, 1)), x, jnp.zeros((), x.dtype))
        grids = []
        for i, (depth, width) in enumerate(zip(self.depths, self.widths, strict=True)):
            dilation = 2 ** (i - 1) if self.dilated and i > 1 else 1
            for j in range(depth):
                strides = (1, 1, 1) if i == 0 or j > 0 or dilation > 1 else (halved[i + 1], 2, 2)
                block = ResNetBlock(
                    width * 4 if self.bottleneck else width,
                    strides,
                    self.bottleneck,
                    dilation,
                    self.shortcut,
                    self.norm,
                    self.dtype,
                    name=f"stage{i}_block{j}",
                )
                x, planes = block(x, planes), stride_planes(planes, strides[0])
            if stages or i + 1 == len(self.depths):
                stride = math.prod(halved[: i + 2])
                grids.append(planes_to_slices(x, planes, slices=slice_mask.shape[1], stride=stride))
        *finer, grid = grids
        return (grid, tuple(finer)) if stages else grid


def planes_to_slices(
    x: Float[Array, "b d h w c"], planes: Bool[Array, "b d"], *, slices: int, stride: int
) -> Float[Array, "b {slices} h w c"]:
    """Planes that stand ``stride`` slices apart, interpolated at every slice; only between real planes."""
    if stride == 1:
        return x
    index = jnp.arange(slices)
    below = index // stride
    above = jnp.minimum(below + 1, x.shape[1] - 1)
    share = (index % stride / stride).astype(x.dtype)[None] * planes[:, above].astype(x.dtype)
    share = share.reshape((*share.shape, 1, 1, 1))
    return (1 - share) * x[:, below] + share * x[:, above]
