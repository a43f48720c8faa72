"""Pretraining by hiding: tokens of a scan are hidden, and a model gives their pixels from those that it sees."""

from dataclasses import dataclass
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange
from flax import struct
from jaxtyping import Array, Bool, Float

from ichformer.ct.windows import Window
from ichformer.models.layers.attention.windows import Size
from ichformer.objectives.base import Metrics, Params
from ichformer.objectives.config import ObjectiveConfig
from ichformer.objectives.inputs import model_inputs
from ichformer.objectives.masked.masks import (
    SAME_IN_ALL_SLICES,
    MaskKind,
    draw_hidden,
    holds_tissue,
    tissue_mean,
    to_patches,
)
from ichformer.pipeline.batch import Batch
from ichformer.settings import check_ranges, check_settings

Gives = Literal["pixels", "features"]
"""What a masked model gives of a token."""


class MaskedModel(nn.Module):
    """Gives the pixels of hidden tokens, or their features, and the encoder's features of a whole scan."""

    @property
    def patch_size(self) -> Size:
        """Of a token in slices, rows and columns."""
        raise NotImplementedError

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
        """What every token holds, from those that are not ``hidden``.

        Pixels come in the order (slice, row, column, channel).
        ``ratio`` is the share of the tokens with tissue that is hidden.
        """
        raise NotImplementedError

    def features(
        self, x: Float[Array, "b s h w c"], slice_mask: Bool[Array, "b s"], spacing_mm: Float[Array, "b 3"]
    ) -> Float[Array, "b tokens rows columns d"]:
        """The encoder's features of all tokens, of which none is hidden."""
        raise NotImplementedError


@struct.dataclass
class Reconstruction:
    """What a model made of the hidden tokens of a batch.

    Attributes:
      seen: [B,S,H,W,C], the windowed slices with hidden tokens at 0.5.
      pixels: [B,S,H,W,C], the windowed slices, with the model's pixels in the place of hidden tokens.
      truth: [B,S,H,W,C], the windowed slices.
    """

    seen: Any
    pixels: Any
    truth: Any


@dataclass(frozen=True, kw_only=True)
class MaskedObjective:
    """What objectives share that hide tokens with tissue and ask a model for them; tokens of air are never hidden.

    Attributes:
      model: what gives hidden tokens.
      windows: the channels of its input.
      neighbours: slices of either side that come as further channels.
      mask_ratio: share of the tokens with tissue that is hidden.
      masks: how they lie.
      by_slice: whether each slice has its own share of hidden tokens, as models want that see slices one by one. Masks
        that are the same in all slices stay so.
    """

    model: MaskedModel
    windows: tuple[Window, ...]
    neighbours: int = 0
    mask_ratio: float = 0.75
    masks: MaskKind = "random"
    by_slice: bool = False

    def __post_init__(self) -> None:
        """InputError for a value that is not of its type or outside its range."""
        where = f"{type(self).__name__}."
        check_settings(self, where)
        check_ranges(
            where,
            ("windows", self.windows, bool(self.windows), "at least one window"),
            ("mask_ratio", self.mask_ratio, 0 < self.mask_ratio < 1, "a number above 0 and below 1"),
            ("neighbours", self.neighbours, self.neighbours >= 0, "0 or more"),
        )

    def init(self, rng: jax.Array, batch: Batch) -> dict[str, Any]:
        """The parameters of encoder and decoder."""
        x, tissue = self._inputs(batch), self._tissue(batch)
        hidden = self._hidden(rng, tissue)
        arguments = (x, batch.slice_mask, batch.spacing_mm, hidden, tissue)
        return {"params": self.model.init(rng, *arguments, ratio=self.mask_ratio, train=False)["params"]}

    def features(self, params: Params, batch: Batch) -> Float[Array, "b s d"]:
        """A vector for each slice: the mean of the encoder's features over the tokens that hold tissue."""
        vectors = tissue_mean(self._grid(params, batch), self._tissue(batch))
        return jnp.repeat(vectors, self.model.patch_size[0], axis=1)[:, : batch.hu.shape[1]]

    def _grid(self, params: Params, batch: Batch) -> Float[Array, "b tokens rows columns d"]:
        x = self._inputs(batch)
        return self.model.apply({"params": params}, x, batch.slice_mask, batch.spacing_mm, method="features")

    def _given(
        self, params: Params, x: Array, batch: Batch, hidden: Array, tissue: Array, *, train: bool, **options: Any
    ) -> Float[Array, "b tokens rows columns outputs"]:
        arguments = (x, batch.slice_mask, batch.spacing_mm, hidden, tissue)
        return self.model.apply({"params": params}, *arguments, ratio=self.mask_ratio, train=train, **options)

    def _inputs(self, batch: Batch) -> Float[Array, "b s h w c"]:
        return model_inputs(batch.hu, batch.slice_mask, self.windows, self.neighbours)

    def _tissue(self, batch: Batch) -> Bool[Array, "b tokens rows columns"]:
        return holds_tissue(batch.hu, batch.slice_mask, self.model.patch_size)

    def _hidden(self, rng: jax.Array, tissue: Bool[Array, "b tokens rows columns"]) -> Array:
        apart = self.by_slice and self.masks not in SAME_IN_ALL_SLICES
        each = rearrange(tissue, "b s h w -> (b s) 1 h w") if apart else tissue
        return draw_hidden(rng, each, ratio=self.mask_ratio, kind=self.masks).reshape(tissue.shape)


@dataclass(frozen=True, kw_only=True)
class MaskedPixels(MaskedObjective):
    """The error of the pixels of hidden tokens.

    Attributes:
      normalise: whether each token's pixels are normalised by their own mean and deviation (He et al. 2022, table 1d).
      error: "squared", as of masked autoencoders, or "absolute", as of SimMIM.

    The others are those of ``MaskedObjective``.
    """

    normalise: bool = True
    error: Literal["squared", "absolute"] = "squared"

    def loss(self, params: Params, batch: Batch, rng: jax.Array, train: bool) -> tuple[jax.Array, jax.Array, Metrics]:
        """See ``objectives.base.Objective``; the weight is the number of hidden tokens."""
        masks_rng, dropout_rng = jax.random.split(rng)
        x, tissue = self._inputs(batch), self._tissue(batch)
        hidden = self._hidden(masks_rng, tissue)
        pixels = self._given(params, x, batch, hidden, tissue, train=train, rngs={"dropout": dropout_rng})
        weight = hidden * batch.weight[:, None, None, None]
        error_sum, count = jnp.sum(self.errors(pixels, x, batch.slice_mask) * weight), jnp.sum(weight)
        return error_sum, count, {"reconstruction_error": (error_sum, count)}

    def errors(
        self,
        pixels: Float[Array, "b tokens rows columns pixels"],
        x: Float[Array, "b s h w c"],
        slice_mask: Bool[Array, "b s"],
    ) -> Float[Array, "b tokens rows columns"]:
        """The mean error of the pixels of each token, over its real slices."""
        error = pixels - self._target(x)[0]
        error = jnp.square(error) if self.error == "squared" else jnp.abs(error)
        deep = self.model.patch_size[0]
        error = rearrange(error, "b d h w (p n) -> b d h w p n", p=deep).mean(-1)
        real = to_patches(slice_mask[..., None, None, None], (deep, 1, 1)).astype(jnp.float32)
        return (error * real).sum(-1) / jnp.maximum(real.sum(-1), 1)

    def reconstruct(self, params: Params, batch: Batch, rng: jax.Array) -> Reconstruction:
        """What the model makes of a batch; of normalised pixels, mean and deviation are taken from the truth."""
        x, tissue = self._inputs(batch), self._tissue(batch)
        hidden = self._hidden(rng, tissue)
        pixels = self._given(params, x, batch, hidden, tissue, train=False)
        target, mean, deviation = self._target(x)
        truth, given = target * deviation + mean, pixels * deviation + mean

        def picture(patches: Array) -> Array:
            return _from_patches(patches, self.model.patch_size, x.shape)

        return Reconstruction(
            seen=picture(jnp.where(hidden[..., None], 0.5, truth)),
            pixels=picture(jnp.where(hidden[..., None], given, truth)),
            truth=x,
        )

    def _target(self, x: Float[Array, "b s h w c"]) -> tuple[Array, Array, Array]:
        """The pixels of every token as the model has to give them, and what was taken off them."""
        patches = to_patches(x, self.model.patch_size)
        if not self.normalise:
            return patches, jnp.zeros(()), jnp.ones(())
        mean = patches.mean(-1, keepdims=True)
        deviation = jnp.sqrt(patches.var(-1, ddof=1, keepdims=True) + 1e-6)  # as the code of He et al. has it
        return (patches - mean) / deviation, mean, deviation


def masked_pixels(
    model: MaskedModel,
    settings: ObjectiveConfig,
    *,
    masks: MaskKind,
    error: Literal["squared", "absolute"],
    by_slice: bool = False,
) -> MaskedPixels:
    """The objective of a model, with the settings of a run."""
    return MaskedPixels(
        model=model,
        windows=settings.display_windows,
        neighbours=settings.neighbours,
        mask_ratio=settings.mask_ratio,
        masks=masks,
        by_slice=by_slice,
        normalise=settings.normalise_targets,
        error=error,
    )


def _from_patches(patches: Array, patch_size: Size, shape: tuple[int, ...]) -> Float[Array, "b s h w c"]:
    p, q, r = patch_size
    x = rearrange(patches, "b d h w (p q r c) -> b (d p) (h q) (w r) c", p=p, q=q, r=r)
    return x[:, : shape[1], : shape[2], : shape[3]]
