"""cnn_gru: a convolutional network in every slice, a recurrent network over the slices."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ichformer import LABELS
from ichformer.models.encoders.registry import build_encoder
from ichformer.models.families.slice_sequence import SliceSequence
from ichformer.models.heads import ScanPool
from ichformer.models.layers.channel_norm import Norm
from ichformer.models.layers.checked import CheckedModule
from ichformer.models.layers.gru import BidirectionalGru


def cnn_gru(
    *,
    encoder: str = "resnet18",
    width: int | None = None,
    hidden: int = 256,
    layers: int = 2,
    norm: Norm = "group",
    drop_path: float = 0.0,
    scan_pool: ScanPool = "attention",
    dropout: float = 0.0,
    dtype: Any = jnp.float32,
    labels: tuple[str, ...] = LABELS,
    channels: int | None = None,
    lesions: bool = False,
) -> SliceSequence:
    """The recipe that won RSNA 2019 (Wang et al. 2021, NeuroImage: Clinical 32:102785), as one network.

    Args:
      encoder: which one, by its name in ``ENCODERS``.
      width: of a slice's vector; None takes the encoder's own.
      hidden: features of a direction of the GRU.
      layers: of the GRU.
      norm: of the encoder (``build_encoder``).
      drop_path: of the encoder (``build_encoder``).
      scan_pool: how scan logits come from slices.
      dropout: between the layers of the GRU.
      dtype: of the computation; parameters stay float32.
      labels: names of the labels that it scores.
      channels: of its input; None takes the number that it is first called with.
      lesions: whether it has a lesion head.
    """
    return SliceSequence(
        encoder=build_encoder(encoder, norm=norm, drop_path=drop_path, dtype=dtype),
        width=width,
        context=RecurrentContext(hidden, layers, dropout, dtype),
        scan_pool=scan_pool,
        dtype=dtype,
        labels=labels,
        channels=channels,
        lesions=lesions,
    )


class RecurrentContext(CheckedModule):
    """A bidirectional GRU over the slices of a scan, fed with each slice and how it differs from its neighbours."""

    hidden: int
    layers: int = 2
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b s d"],
        slice_mask: Bool[Array, "b s"],
        spacing_mm: Float[Array, "b 3"],  # noqa: ARG002
        *,
        train: bool,
    ) -> Float[Array, "b s d2"]:
        """[B,S,D] to [B,S,2 hidden]; slices are taken in turn, whatever their spacing."""
        x = jnp.concatenate([x, *neighbour_differences(x, slice_mask)], axis=-1)
        return BidirectionalGru(self.hidden, self.layers, self.dropout, self.dtype, name="gru")(
            x, slice_mask, train=train
        )


def neighbour_differences(
    x: Float[Array, "b s d"], mask: Bool[Array, "b s"]
) -> tuple[Float[Array, "b s d"], Float[Array, "b s d"]]:
    """What each step has over the one before and the one behind; zero where that is masked or not there."""
    step = jnp.where((mask[:, 1:] & mask[:, :-1])[..., None], x[:, 1:] - x[:, :-1], jnp.zeros((), x.dtype))
    return jnp.pad(step, ((0, 0), (1, 0), (0, 0))), jnp.pad(-step, ((0, 0), (0, 1), (0, 0)))
