"""hybrid: a convolutional network in every slice, a transformer over the slices, trained end to end."""

from typing import Any

import jax.numpy as jnp

from ichformer import LABELS
from ichformer.models.encoders.registry import build_encoder
from ichformer.models.families.slice_sequence import SliceSequence
from ichformer.models.heads import ScanPool, SliceContext
from ichformer.models.layers.channel_norm import Norm


def hybrid(
    *,
    encoder: str = "resnet18",
    width: int | None = None,
    context_depth: int = 2,
    context_heads: int = 8,
    norm: Norm = "group",
    drop_path: float = 0.0,
    scan_pool: ScanPool = "attention",
    dropout: float = 0.0,
    dtype: Any = jnp.float32,
    labels: tuple[str, ...] = LABELS,
    channels: int | None = None,
    lesions: bool = False,
) -> SliceSequence:
    """Encoder per slice, sequence model over slices: the RSNA 2019 medal recipe as one network.

    Args:
      encoder: which one, by its name in ``ENCODERS``.
      width: of the transformer over slices; None takes the encoder's own.
      context_depth: transformer blocks over the slices of a scan.
      context_heads: attention heads over slices.
      norm: of the encoder (``build_encoder``).
      drop_path: of the encoder (``build_encoder``).
      scan_pool: how scan logits come from slices.
      dropout: on the branches of the transformer's blocks.
      dtype: of the computation; parameters stay float32.
      labels: names of the labels that it scores.
      channels: of its input; None takes the number that it is first called with.
      lesions: whether it has a lesion head.
    """
    return SliceSequence(
        encoder=build_encoder(encoder, norm=norm, drop_path=drop_path, dtype=dtype),
        width=width,
        context=SliceContext(context_depth, context_heads, dropout, dtype),
        scan_pool=scan_pool,
        dtype=dtype,
        labels=labels,
        channels=channels,
        lesions=lesions,
    )
