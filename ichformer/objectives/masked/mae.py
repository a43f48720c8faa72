"""Masked autoencoders (He et al. 2022) for ``slice_vit`` and ``vit3d``: the encoder sees visible tokens alone."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange, repeat
from jaxtyping import Array, Bool, Float, Int

from ichformer.errors import InputError
from ichformer.labels import LabelSet
from ichformer.models.encoders.patch_encoder import PatchEncoder
from ichformer.models.encoders.volume_encoder import VolumeEncoder
from ichformer.models.families.scan_volume import ScanVolume
from ichformer.models.families.slice_sequence import SliceSequence
from ichformer.models.layers.attention.factorised import FactorisedBlock
from ichformer.models.layers.attention.positions import sincos_2d, sincos_3d
from ichformer.models.layers.attention.self_attention import DENSE_INIT
from ichformer.models.layers.attention.transformer import Block
from ichformer.models.layers.attention.windows import Size
from ichformer.models.layers.dense import Dense
from ichformer.objectives.config import ObjectiveConfig
from ichformer.objectives.masked.masked_objective import Gives, MaskedModel, MaskedPixels, masked_pixels
from ichformer.objectives.masked.masks import SAME_IN_ALL_SLICES, MaskKind, most_visible, visible_first


class SliceAutoencoder(MaskedModel):
    """Encoder over the visible patches of each slice, a light decoder over all that hold tissue.

    The encoder's parameters are called "encoder", as in ``slice_vit``: a run of it can be the start of a classifier.

    Attributes:
      encoder: of a slice.
      decoder_width: features of the decoder, a multiple of 4.
      decoder_depth: its blocks.
      gives: of each token its pixels, or as many features as the encoder has.
    """

    encoder: PatchEncoder
    decoder_width: int
    decoder_depth: int
    gives: Gives = "pixels"

    @property
    def patch_size(self) -> Size:
        """Of a token in slices, rows and columns."""
        return (1, self.encoder.patch_size, self.encoder.patch_size)

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b s h w c"],
        slice_mask: Bool[Array, "b s"],  # noqa: ARG002, ``tissue`` knows it
        spacing_mm: Float[Array, "b 3"],  # noqa: ARG002
        hidden: Bool[Array, "b s rows columns"],
        tissue: Bool[Array, "b s rows columns"],
        *,
        ratio: float,
        train: bool,
    ) -> Float[Array, "b s rows columns outputs"]:
        """See ``masked_objective.MaskedModel``."""
        b, s, rows, columns = hidden.shape
        dtype, p = self.encoder.dtype, self.encoder.patch_size
        hidden, tissue = (grid.reshape(b * s, -1) for grid in (hidden, tissue))
        order, count = visible_first(hidden, tissue)
        kept = most_visible(rows * columns, ratio)
        attended = jnp.arange(kept)[None] < jnp.maximum(count, 1)[:, None]
        x = rearrange(x, "b s h w c -> (b s) h w c")
        first = int(self.encoder.class_token)
        seen = self.encoder.tokens(x, order[:, :kept], attended, with_class_token=bool(first), train=train)
        seen = _to_decoder(self.decoder_width, dtype)(seen)
        tokens = _Spread(name="spread")(seen[:, first:], order, attended)
        place = sincos_2d(rows, columns, self.decoder_width, step=self.encoder.position_step)
        tokens = tokens + place.astype(dtype)[None]
        tokens = jnp.concatenate([seen[:, :first], tokens], axis=1)
        mask = tissue | ~tissue.any(1, keepdims=True)
        mask = jnp.pad(mask, ((0, 0), (first, 0)), constant_values=True)
        style = self.encoder.style
        for i in range(self.decoder_depth):
            block = Block(max(self.decoder_width // 32, 1), dtype=dtype, style=style, name=f"decoder{i}")
            tokens = block(tokens, mask, train=train)
        outputs = p * p * x.shape[-1] if self.gives == "pixels" else self.encoder.width
        given = _Outputs(outputs, self.gives, style.epsilon, dtype, name="head")(tokens[:, first:])
        return given.reshape(b, s, rows, columns, -1)

    def features(
        self,
        x: Float[Array, "b s h w c"],
        slice_mask: Bool[Array, "b s"],  # noqa: ARG002
        spacing_mm: Float[Array, "b 3"],  # noqa: ARG002
    ) -> Float[Array, "b s rows columns d"]:
        """See ``masked_objective.MaskedModel``."""
        grid = self.encoder(rearrange(x, "b s h w c -> (b s) h w c"), train=False)
        return rearrange(grid, "(b s) h w d -> b s h w d", b=len(x))


class VolumeAutoencoder(MaskedModel):
    """Encoder over the visible tokens of a scan, a light decoder over all of them, slice by slice and along the slices.

    Where the encoder attends in the slice and then along the slices, the same places have to be hidden in all slices
    ("tube" or "column"), and places that are air in every slice fill up the visible ones.

    Attributes:
      encoder: of a scan.
      decoder_width: features of the decoder, an even number.
      decoder_depth: its blocks.
      gives: of each token its pixels, or as many features as the encoder has.
    """

    encoder: VolumeEncoder
    decoder_width: int
    decoder_depth: int
    gives: Gives = "pixels"

    @property
    def patch_size(self) -> Size:
        """Of a token in slices, rows and columns."""
        return self.encoder.patch_size

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b s h w c"],
        slice_mask: Bool[Array, "b s"],
        spacing_mm: Float[Array, "b 3"],
        hidden: Bool[Array, "b tokens rows columns"],
        tissue: Bool[Array, "b tokens rows columns"],
        *,
        ratio: float,
        train: bool,
    ) -> Float[Array, "b tokens rows columns outputs"]:
        """See ``masked_objective.MaskedModel``."""
        b, deep, rows, columns = hidden.shape
        dtype, width = self.encoder.dtype, self.decoder_width
        by_slice = self.encoder.attention == "factorised"
        drawn = (hidden.any(1), tissue.any(1)) if by_slice else (hidden, tissue)
        order, count = visible_first(*(grid.reshape(b, -1) for grid in drawn))
        kept = most_visible(order.shape[1], ratio)
        attended = jnp.arange(kept)[None] < jnp.maximum(count, 1)[:, None]
        seen = self.encoder(x, slice_mask, spacing_mm, keep=order[:, :kept], attended=attended, train=train)
        if by_slice:
            seen = rearrange(seen, "b s n d -> (b s) n d")
            order, attended = (repeat(each, "b n -> (b s) n", s=deep) for each in (order, attended))
        tokens = _Spread(name="spread")(_to_decoder(width, dtype)(seen), order, attended)
        tokens = tokens.reshape(b, deep, rows, columns, width)
        heights_mm, mask = self.encoder.token_heights_mm(slice_mask, spacing_mm)
        place = sincos_3d(heights_mm, rows, columns, width, step=self.encoder.position_step)
        tokens = tokens + place.astype(dtype)
        tokens = rearrange(tokens, "b s h w d -> b s (h w) d")
        style = self.encoder.style
        for i in range(self.decoder_depth):
            block = FactorisedBlock(max(width // 32, 1), dtype=dtype, style=style, name=f"decoder{i}")
            tokens = block(tokens, mask, train=train)
        p, q, r = self.patch_size
        outputs = p * q * r * x.shape[-1] if self.gives == "pixels" else self.encoder.width
        given = _Outputs(outputs, self.gives, style.epsilon, dtype, name="head")(tokens)
        return given.reshape(b, deep, rows, columns, -1)

    def features(
        self, x: Float[Array, "b s h w c"], slice_mask: Bool[Array, "b s"], spacing_mm: Float[Array, "b 3"]
    ) -> Float[Array, "b tokens rows columns d"]:
        """See ``masked_objective.MaskedModel``."""
        return self.encoder(x, slice_mask, spacing_mm, train=False)


def _to_decoder(width: int, dtype: Any) -> nn.Module:
    return Dense(width, kernel_init=DENSE_INIT, dtype=dtype, name="to_decoder")


class _Spread(nn.Module):
    """What the encoder saw, put back to its places, and a learned token at all others."""

    @nn.compact
    def __call__(
        self, seen: Float[Array, "n kept d"], order: Int[Array, "n tokens"], attended: Bool[Array, "n kept"]
    ) -> Float[Array, "n tokens d"]:
        n, kept, width = seen.shape
        token = self.param("mask_token", DENSE_INIT, (1, 1, width)).astype(seen.dtype)
        rest = jnp.broadcast_to(token, (n, order.shape[1] - kept, width))
        tokens = jnp.concatenate([jnp.where(attended[..., None], seen, token), rest], axis=1)
        return jnp.take_along_axis(tokens, jnp.argsort(order, axis=1)[..., None], axis=1)


class _Outputs(nn.Module):
    """From the decoder's tokens to the pixels of their patches or to their features, in float32."""

    outputs: int
    gives: Gives
    epsilon: float
    dtype: Any

    @nn.compact
    def __call__(self, tokens: Float[Array, "*n width"]) -> Float[Array, "*n outputs"]:
        tokens = nn.LayerNorm(epsilon=self.epsilon, dtype=self.dtype, name="decoder_norm")(tokens)
        return Dense(self.outputs, kernel_init=DENSE_INIT, name=self.gives)(tokens.astype(jnp.float32))


def build_mae(model: nn.Module, settings: ObjectiveConfig, label_set: LabelSet) -> MaskedPixels:
    """The objective "mae" of a run, which needs no labels; InputError for a model of another family."""
    del label_set
    autoencoder = autoencoder_of(model, settings)
    if autoencoder is None:
        raise InputError(
            "a masked autoencoder pretrains a slice_vit or a vit3d",
            where="--model.name",
            fix="name one of those, or take --objective.name simmim for a swin3d, spark for a cnn2d, cnn_gru or hybrid",
        )
    masks = mask_kind(autoencoder, settings, free="random", same_in_all_slices="tube")
    by_slice = isinstance(autoencoder, SliceAutoencoder)
    return masked_pixels(autoencoder, settings, masks=masks, error="squared", by_slice=by_slice)


def autoencoder_of(
    model: nn.Module, settings: ObjectiveConfig, *, gives: Gives = "pixels"
) -> SliceAutoencoder | VolumeAutoencoder | None:
    """The masked model of a ``slice_vit`` or a ``vit3d``; None for a model of another family."""
    decoder = settings.decoder_width, settings.decoder_depth, gives
    if isinstance(model, SliceSequence) and isinstance(model.encoder, PatchEncoder):
        return SliceAutoencoder(model.encoder.clone(parent=None), *decoder)
    if isinstance(model, ScanVolume) and isinstance(model.encoder, VolumeEncoder):
        return VolumeAutoencoder(model.encoder.clone(parent=None), *decoder)
    return None


def mask_kind(
    autoencoder: MaskedModel, settings: ObjectiveConfig, *, free: MaskKind, same_in_all_slices: MaskKind
) -> MaskKind:
    """How hidden tokens lie, by default ``free``, and ``same_in_all_slices`` for an encoder that attends along them.

    InputError where such an encoder is to get masks of another kind.
    """
    if not (isinstance(autoencoder, VolumeAutoencoder) and autoencoder.encoder.attention == "factorised"):
        return settings.masks or free
    kind = settings.masks or same_in_all_slices
    if kind not in SAME_IN_ALL_SLICES:
        raise InputError(
            f"masks of the kind {kind!r} hide other places in each slice, and this model attends along them",
            where="--objective.masks",
            fix=f"take {' or '.join(SAME_IN_ALL_SLICES)}, or leave it out",
        )
    return kind
