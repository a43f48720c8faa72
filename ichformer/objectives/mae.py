"""A masked autoencoder over slices (He et al. 2022): it pretrains the encoder of ``slice_vit`` without labels."""

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange
from jaxtyping import Array, Float, Int

from ichformer.ct.windows import Window
from ichformer.errors import InputError
from ichformer.labels import LabelSet
from ichformer.models.encoders.patch_encoder import PatchEncoder
from ichformer.models.families.slice_sequence import SliceSequence
from ichformer.models.layers.attention.positions import sincos_2d
from ichformer.models.layers.attention.self_attention import DENSE_INIT
from ichformer.models.layers.attention.transformer import Block
from ichformer.models.layers.dense import Dense
from ichformer.models.layers.draws import draw_by_scan
from ichformer.objectives.base import Metrics, Params
from ichformer.objectives.config import ObjectiveConfig
from ichformer.objectives.inputs import model_inputs
from ichformer.pipeline.batch import Batch
from ichformer.settings import check_ranges, check_settings


class MaskedAutoencoder(nn.Module):
    """Encoder over the visible patches, a light decoder over all of them.

    The encoder's parameters are called "encoder", as in ``slice_vit``: a run of it can be the start of a classifier.
    """

    encoder: PatchEncoder
    decoder_width: int
    decoder_depth: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"], order: Int[Array, "n tokens"], kept: int, *, train: bool
    ) -> Float[Array, "n tokens pixels"]:
        """The pixels of every patch [N, tokens, p*p*C], from the ``kept`` patches that come first in ``order``."""
        p, dtype = self.encoder.patch_size, self.encoder.dtype
        seen = self.encoder.tokens(x, order[:, :kept], train=train)
        seen = Dense(self.decoder_width, kernel_init=DENSE_INIT, dtype=dtype, name="to_decoder")(seen)
        hidden = self.param("mask_token", DENSE_INIT, (1, 1, self.decoder_width)).astype(dtype)
        hidden = jnp.broadcast_to(hidden, (x.shape[0], order.shape[1] - kept, self.decoder_width))
        tokens = jnp.concatenate([seen, hidden], axis=1)
        tokens = jnp.take_along_axis(tokens, jnp.argsort(order, axis=1)[..., None], axis=1)
        tokens = tokens + sincos_2d(x.shape[1] // p, x.shape[2] // p, self.decoder_width).astype(dtype)[None]
        for i in range(self.decoder_depth):
            tokens = Block(max(self.decoder_width // 32, 1), dtype=dtype, name=f"decoder{i}")(tokens, train=train)
        tokens = nn.LayerNorm(epsilon=1e-6, dtype=dtype, name="decoder_norm")(tokens)
        return Dense(p * p * x.shape[-1], kernel_init=DENSE_INIT, name="pixels")(tokens.astype(jnp.float32))


@dataclass(frozen=True, kw_only=True)
class MaskedSlices:
    """Mean squared error of the hidden patches, each patch normalised by its own mean and deviation.

    Attributes:
      model: the autoencoder.
      windows: the channels of its input.
      mask_ratio: part of the patches that is hidden.
      neighbours: slices of either side that come as further channels.
    """

    model: MaskedAutoencoder
    windows: tuple[Window, ...]
    mask_ratio: float = 0.75
    neighbours: int = 0

    def __post_init__(self) -> None:
        """InputError for a value that is not of its type or outside its range."""
        check_settings(self, "MaskedSlices.")
        check_ranges(
            "MaskedSlices.",
            ("windows", self.windows, bool(self.windows), "at least one window"),
            ("mask_ratio", self.mask_ratio, 0 < self.mask_ratio < 1, "a number above 0 and below 1"),
            ("neighbours", self.neighbours, self.neighbours >= 0, "0 or more"),
        )

    def init(self, rng: jax.Array, batch: Batch) -> dict[str, Any]:
        """The parameters of encoder and decoder."""
        x = self._inputs(batch)
        order, kept = self._order(rng, x)
        return {"params": self.model.init(rng, x, order, kept, train=False)["params"]}

    def loss(self, params: Params, batch: Batch, rng: jax.Array, train: bool) -> tuple[jax.Array, jax.Array, Metrics]:
        """See ``objectives.base.Objective``; the weight is the number of hidden patches of real slices."""
        x = self._inputs(batch)
        order_rng, dropout_rng = jax.random.split(rng)
        order, kept = self._order(order_rng, x)
        pixels = self.model.apply({"params": params}, x, order, kept, train=train, rngs={"dropout": dropout_rng})
        p = self.model.encoder.patch_size
        target = rearrange(x, "n (h p) (w q) c -> n (h w) (p q c)", p=p, q=p)
        mean, variance = target.mean(-1, keepdims=True), target.var(-1, keepdims=True)
        target = (target - mean) / jnp.sqrt(variance + 1e-6)
        hidden = jnp.argsort(order, axis=1) >= kept
        weight = hidden * (batch.slice_mask * batch.weight[:, None]).reshape(-1, 1)
        error_sum, count = jnp.sum(jnp.square(pixels - target).mean(-1) * weight), jnp.sum(weight)
        return error_sum, count, {"reconstruction_error": (error_sum, count)}

    def _inputs(self, batch: Batch) -> Float[Array, "n h w c"]:
        x = model_inputs(batch.hu, batch.slice_mask, self.windows, self.neighbours)
        return rearrange(x, "b s h w c -> (b s) h w c")

    def _order(self, rng: jax.Array, x: Float[Array, "n h w c"]) -> tuple[Int[Array, "n tokens"], int]:
        p = self.model.encoder.patch_size
        tokens = (x.shape[1] // p) * (x.shape[2] // p)
        draws = draw_by_scan(rng, len(x), lambda key, each: jax.random.uniform(key, (each, tokens)))
        order = jnp.argsort(draws, axis=1)
        return order, max(1, round(tokens * (1 - self.mask_ratio)))


def build_masked_slices(model: nn.Module, settings: ObjectiveConfig, label_set: LabelSet) -> MaskedSlices:
    """The objective "mae" of a run, which needs no labels; InputError for a model other than a slice_vit."""
    del label_set
    if not (isinstance(model, SliceSequence) and isinstance(model.encoder, PatchEncoder)):
        raise InputError(
            "the masked autoencoder pretrains the encoder of a slice_vit",
            where="--model.name",
            fix="name a slice_vit, or take --objective.name classification",
        )
    encoder = model.encoder.clone(parent=None)
    return MaskedSlices(
        model=MaskedAutoencoder(encoder, settings.decoder_width, settings.decoder_depth),
        windows=settings.display_windows,
        mask_ratio=settings.mask_ratio,
        neighbours=settings.neighbours,
    )
