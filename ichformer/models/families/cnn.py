"""The convolutional baselines: cnn2d scores every slice alone, cnn3d takes the scan as one volume."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange
from jaxtyping import Array, Bool, Float

from ichformer import LABELS
from ichformer.models.contract import CAM_LAYER, Prediction
from ichformer.models.encoders.registry import build_encoder
from ichformer.models.encoders.resnet import Shortcut
from ichformer.models.encoders.resnet3d import ResNet3D
from ichformer.models.families.base import ScanModel
from ichformer.models.families.slice_sequence import SliceSequence
from ichformer.models.heads import ScanPool, SliceAndScanHead, SlicePool
from ichformer.models.layers.channel_norm import Norm
from ichformer.models.layers.checked import CheckedModule
from ichformer.models.layers.dense import Dense
from ichformer.models.layers.dropout import Dropout
from ichformer.models.lesions import encode


def cnn2d(
    *,
    encoder: str = "resnet18",
    width: int | None = None,
    norm: Norm = "group",
    drop_path: float = 0.0,
    scan_pool: ScanPool = "max",
    dropout: float = 0.0,
    dtype: Any = jnp.float32,
    labels: tuple[str, ...] = LABELS,
    channels: int | None = None,
    lesions: bool = False,
) -> SliceSequence:
    """A convolutional network for every slice; only the scan's logits know all slices.

    Args:
      encoder: which one, by its name in ``ENCODERS``.
      width: of a slice's vector; None takes the encoder's own.
      norm: of the encoder (``build_encoder``).
      drop_path: of the encoder (``build_encoder``).
      scan_pool: how scan logits come from slices.
      dropout: on the slices' vectors.
      dtype: of the computation; parameters stay float32.
      labels: names of the labels that it scores.
      channels: of its input; None takes the number that it is first called with.
      lesions: whether it has a lesion head.
    """
    return SliceSequence(
        encoder=build_encoder(encoder, norm=norm, drop_path=drop_path, dtype=dtype),
        width=width,
        context=NoContext(dropout),
        scan_pool=scan_pool,
        dtype=dtype,
        labels=labels,
        channels=channels,
        lesions=lesions,
    )


class NoContext(CheckedModule):
    """In the place of a context: every slice for itself, with dropout on its vector."""

    dropout: float = 0.0

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b s d"],
        slice_mask: Bool[Array, "b s"],  # noqa: ARG002
        spacing_mm: Float[Array, "b 3"],  # noqa: ARG002
        *,
        train: bool,
    ) -> Float[Array, "b s d"]:
        """The vectors as they are."""
        return Dropout(self.dropout)(x, train=train)


def cnn3d(
    *,
    depths: tuple[int, ...] = (2, 2, 2, 2),
    widths: tuple[int, ...] = (64, 128, 256, 512),
    bottleneck: bool = False,
    shortcut: Shortcut = "project",
    depth_strides: int = 0,
    dilated: bool = False,
    width: int | None = None,
    norm: Norm = "group",
    scan_pool: ScanPool = "attention",
    dropout: float = 0.0,
    dtype: Any = jnp.float32,
    labels: tuple[str, ...] = LABELS,
    channels: int | None = None,
    lesions: bool = False,
) -> "Cnn3d":
    """A 3-D ResNet over the scan; ``width`` and ``dropout`` are of the slices' vectors, the others ``ResNet3D``'s."""
    return Cnn3d(
        encoder=ResNet3D(depths, widths, bottleneck, shortcut, depth_strides, dilated, norm, dtype),
        width=width,
        scan_pool=scan_pool,
        dropout=dropout,
        dtype=dtype,
        labels=labels,
        channels=channels,
        lesions=lesions,
    )


class Cnn3d(ScanModel):
    """A 3-D encoder, one vector a slice, heads.

    Attributes:
      encoder: ``encoder(x [B,S,H,W,C], slice_mask) -> [B,S,h,w,D]``, in which masked slices change nothing.
      width: what the grid's features are projected to; None keeps the encoder's.
      scan_pool: how scan logits come from slices.
      dropout: on the slices' vectors.

    ``dtype``, ``labels``, ``channels`` and ``lesions`` are ``ScanModel``'s.
    """

    encoder: nn.Module
    width: int | None = None
    scan_pool: ScanPool = "attention"
    dropout: float = 0.0

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b s h w c"],
        slice_mask: Bool[Array, "b s"],
        spacing_mm: Float[Array, "b 3"],
        train: bool,
    ) -> Prediction:
        """See ``contract.Classifier``; any H and W."""
        self.check(x, slice_mask, spacing_mm)
        grid, finer = encode(self.encoder, x, slice_mask, stages=self.lesions)
        grids = (*finer, grid)
        if self.width is not None:
            grid = Dense(self.width, dtype=self.dtype, name="project")(grid)
        grid = self.perturb(CAM_LAYER, grid)
        vectors = SlicePool(self.dtype, name="slice_pool")(rearrange(grid, "b s h w d -> (b s) (h w) d"))
        vectors = rearrange(vectors, "(b s) d -> b s d", b=x.shape[0])
        vectors, lesion_logits = self.find_lesions(vectors, x, grids, slice_mask)
        vectors = Dropout(self.dropout)(vectors, train=train)
        head = SliceAndScanHead(self.scan_pool, self.dtype, len(self.labels), name="head")
        slice_logits, scan_logits = head(vectors, slice_mask)
        return Prediction(
            slice_logits=slice_logits,
            scan_logits=scan_logits,
            features={"slices": vectors, CAM_LAYER: grid},
            lesion_logits=lesion_logits,
        )
