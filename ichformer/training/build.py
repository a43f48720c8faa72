"""From a configuration to the objective it names."""

import flax.linen as nn
import jax.numpy as jnp

from ichformer.ct.windows import WINDOWS, Window
from ichformer.errors import InputError
from ichformer.labels import SIX, LabelSet
from ichformer.models.encoders.patch_encoder import PatchEncoder
from ichformer.models.families.slice_sequence import SliceSequence
from ichformer.models.registry import create_model, model_options
from ichformer.models.weights.layouts.registry import named_layout
from ichformer.models.weights.pretrained import wanted_options
from ichformer.objectives.base import Objective
from ichformer.objectives.classification import Classification
from ichformer.objectives.mae import MaskedAutoencoder, MaskedSlices
from ichformer.training.config import ModelConfig, TrainConfig


def build_objective(config: TrainConfig, label_set: LabelSet = SIX) -> Objective:
    """The objective with its model, for a store's label set; InputError where they do not go together."""
    model = configured_model(config.model, label_set)
    windows, neighbours = named_windows(config.objective.windows), config.objective.neighbours
    if config.objective.name == "classification":
        return Classification(
            model=model,
            windows=windows,
            scan_weight=config.objective.scan_weight,
            neighbours=neighbours,
            label_set=label_set,
            loss_name=config.objective.loss,
            positive_weight=config.objective.positive_weight,
            target_loss_name=config.objective.target_loss,
        )
    if not (isinstance(model, SliceSequence) and isinstance(model.encoder, PatchEncoder)):
        raise InputError(
            "the masked autoencoder pretrains the encoder of a slice_vit",
            where=f"--model.name {config.model.name}",
            mend="name a slice_vit, or take --objective.name classification",
        )
    autoencoder = MaskedAutoencoder(
        model.encoder.clone(parent=None), config.objective.decoder_width, config.objective.decoder_depth
    )
    return MaskedSlices(
        model=autoencoder, windows=windows, mask_ratio=config.objective.mask_ratio, neighbours=neighbours
    )


def configured_model(config: ModelConfig, label_set: LabelSet = SIX) -> nn.Module:
    """The model, with what was asked of it and what its pretrained weights want; InputError for what it has not."""
    known = model_options(config.name)
    asked = {
        name: getattr(config, name)
        for name, neutral in (("scan_pool", None), ("dropout", 0.0), ("drop_path", 0.0), ("remat", "none"))
        if getattr(config, name) != neutral
    }
    for name in asked.keys() - known:
        raise InputError(
            f"{config.name} has no such option", where=f"--model.{name.replace('_', '-')}", mend="leave it out"
        )
    if "labels" in known:
        asked["labels"] = label_set.columns
    elif not label_set.is_default:
        raise InputError(
            f"{config.name} has no setting 'labels', so it scores the six labels of ichformer.LABELS only",
            where="--model.name",
            mend=f"name a model that takes labels; the store has {', '.join(label_set.columns)}",
        )
    if config.pretrained:
        asked |= wanted_options(config.name, named_layout(config.pretrained_layout))
    return create_model(config.name, dtype=jnp.dtype(config.compute_dtype), **asked)


def named_windows(names: tuple[str, ...]) -> tuple[Window, ...]:
    """Windows by names that ``ObjectiveConfig`` has checked."""
    return tuple(WINDOWS[name] for name in names)
