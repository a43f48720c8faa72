"""Joint-embedding prediction (Assran et al. 2023, I-JEPA; Bardes et al. 2024, V-JEPA): hidden features, not pixels.

A teacher sees the whole scan. The model sees a quarter of it, and predicts the teacher's features of the rest.
"""

from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from ichformer.errors import InputError
from ichformer.labels import LabelSet
from ichformer.objectives.base import Metrics, Params
from ichformer.objectives.config import ObjectiveConfig
from ichformer.objectives.masked.mae import SliceAutoencoder, autoencoder_of, mask_kind
from ichformer.objectives.masked.masked_objective import MaskedObjective
from ichformer.objectives.masked.simmim import reconstruction_of
from ichformer.objectives.teacher import Taught, Teacher
from ichformer.pipeline.batch import Batch


@dataclass(frozen=True, kw_only=True)
class HiddenFeatures(Taught, MaskedObjective):
    """The error of the features of hidden tokens, beside those that the teacher's encoder gives of the whole scan.

    ``model`` gives features (``masked_objective.Gives``). The attributes are those of ``MaskedObjective``.
    """

    def taught_loss(
        self, teacher: Teacher, params: Params, batch: Batch, rng: jax.Array, train: bool
    ) -> tuple[jax.Array, jax.Array, Metrics]:
        """See ``objectives.base.Objective``; the weight is the number of hidden tokens.

        The metric "target_deviation" is the deviation of the targets' features over the tokens of a scan. It falls to 0
        where the teacher gives all tokens the same.
        """
        masks_rng, dropout_rng = jax.random.split(rng)
        x, tissue = self._inputs(batch), self._tissue(batch)
        hidden = self._hidden(masks_rng, tissue)
        given = self._given(params, x, batch, hidden, tissue, train=train, rngs={"dropout": dropout_rng})
        targets = jax.lax.stop_gradient(normalised(self._grid(teacher.params, batch)))
        weight = hidden * batch.weight[:, None, None, None]
        error = optax.losses.huber_loss(given, targets).mean(-1)
        error_sum, count = jnp.sum(error * weight), jnp.sum(weight)
        deviation = jnp.sqrt(targets.var((1, 2, 3), where=tissue[..., None]) + 1e-12).mean(-1)
        scans = batch.weight * tissue.any((1, 2, 3))
        spread = jnp.sum(jnp.where(scans > 0, deviation * scans, 0)), scans.sum()
        return error_sum, count, {"feature_error": (error_sum, count), "target_deviation": spread}


def normalised(features: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
    """Each vector with mean 0 and deviation 1, in float32, so that no target can grow or vanish as a whole."""
    features = features.astype(jnp.float32)
    deviation = jnp.sqrt(features.var(-1, keepdims=True) + 1e-5)
    return (features - features.mean(-1, keepdims=True)) / deviation


def build_jepa(model: nn.Module, settings: ObjectiveConfig, label_set: LabelSet) -> HiddenFeatures:
    """The objective "jepa" of a run, which needs no labels; InputError for a model that has no masked form.

    Tokens are hidden in blocks in the slice, at full depth where the model sees the scan at once.
    """
    del label_set
    masked = autoencoder_of(model, settings, gives="features") or reconstruction_of(model, gives="features")
    if masked is None:
        raise InputError(
            "jepa pretrains a slice_vit, a vit3d or a swin3d",
            where="--model.name",
            fix="name one of those, or take --objective.name contrastive, which goes with every model",
        )
    by_slice = isinstance(masked, SliceAutoencoder)
    masks = mask_kind(masked, settings, free="block" if by_slice else "column", same_in_all_slices="column")
    return HiddenFeatures(
        model=masked,
        windows=settings.display_windows,
        neighbours=settings.neighbours,
        mask_ratio=settings.mask_ratio,
        masks=masks,
        by_slice=by_slice,
    )
