"""From a configuration to the objective and the model that it names."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ichformer.errors import InputError, one_line
from ichformer.labels import SIX, LabelSet
from ichformer.models.encoders.registry import ENCODERS
from ichformer.models.inputs import check_prediction
from ichformer.models.registry import create_model, list_models, model_options
from ichformer.models.weights.layouts.registry import named_layout
from ichformer.models.weights.pretrained import wanted_options
from ichformer.objectives.base import Objective, needs_whole_batch
from ichformer.objectives.classification import Classification
from ichformer.objectives.registry import OBJECTIVES
from ichformer.objectives.teacher import Taught
from ichformer.pipeline.augmentation.sample import Change
from ichformer.plugins import origin_of
from ichformer.settings import option
from ichformer.training.config import ModelConfig, TrainConfig


@dataclass(frozen=True, kw_only=True)
class Given:
    """Objects that take the place of names in a configuration, which then holds the names of their classes.

    Attributes:
      model: a ``models.contract.Classifier``.
      objective: with a model of its own.
      augment: changes each scan after the changes of ``data.augmentation``.
    """

    model: nn.Module | None = None
    objective: Objective | None = None
    augment: Change | None = None


def make_given(model: Any, objective: Any, augment: Change | None = None) -> Given:
    """Objects in place of names, where an objective without a model gets the one beside it.

    Args:
      model: a module, or None.
      objective: an objective, or None. Where its field ``model`` is None, ``model`` becomes that; otherwise it has a
        model of its own.
      augment: see ``Given``.

    Raises:
      InputError: another object, or an objective with no model or with two.
    """
    if model is not None and not isinstance(model, nn.Module):
        raise InputError(
            f"found a {type(model).__name__}",
            where="model",
            fix="give a name of ichformer.list_models(), an instance of a flax.linen.Module, or settings",
        )
    if objective is None:
        return Given(model=model, augment=augment)
    if isinstance(objective, type) or not isinstance(objective, Objective):
        raise InputError(
            f"found {one_line(repr(objective))}, which has no init and loss",
            where="objective",
            fix="give a name, settings, or an object that obeys ichformer.Objective",
        )
    lacks_model = getattr(objective, "model", objective) is None
    if lacks_model == (model is None):
        what = "has no model" if lacks_model else "has a model of its own"
        fix = "give a module as model=" if lacks_model else "leave model= out"
        raise InputError(f"the objective {what}", where="objective", fix=fix)
    if lacks_model:
        objective = dataclasses.replace(objective, model=model)  # type: ignore[type-var]
    return Given(objective=objective, augment=augment)


def build_objective(config: TrainConfig, label_set: LabelSet = SIX, given: Given = Given()) -> Objective:
    """The objective with its model, for a store's label set; InputError where they do not go together."""
    objective = given.objective
    if objective is None:
        model = configured_model(config.model, label_set) if given.model is None else given.model
        name = config.objective.name
        made = OBJECTIVES.find(name)(model, config.objective, label_set)
        objective = OBJECTIVES.check_made(name, made, Objective)  # type: ignore[type-abstract]  # a protocol
    elif isinstance(objective, Classification) and objective.label_set.is_default:
        objective = dataclasses.replace(objective, label_set=label_set)
    if isinstance(objective, Classification):
        labels = tuple(getattr(objective.model, "labels", label_set.columns))
        if (objective.label_set.columns, labels) != (label_set.columns, label_set.columns):
            raise InputError(
                f"scores {', '.join(map(str, labels))}, the store has {', '.join(label_set.columns)}",
                where="model",
                fix="make the model with the labels of the store",
            )
        has_map = bool(getattr(objective.model, "lesions", False))
        if has_map != (objective.lesion_weight > 0):
            raise InputError(
                "the model has a lesion head without a loss" if has_map else "the model has no lesion head to train",
                where="--objective.lesion-weight",
                fix="give a weight, such as 1, or leave --model.lesions out" if has_map else "add --model.lesions",
            )
    return objective


def check_whole_batch(objective: Objective, config: TrainConfig) -> None:
    """InputError where an objective compares the scans of a batch, and the batch is computed in parts."""
    if not needs_whole_batch(objective):
        return
    if config.parallel.accumulate > 1:
        raise InputError(
            f"{config.objective.name} compares all scans of a batch, and would compare those of each part",
            where="--parallel.accumulate",
            fix="leave it out, or take a smaller batch",
        )
    if config.parallel.mode == "pmap":
        raise InputError(
            f"{config.objective.name} compares all scans of a batch, and would compare those of each device",
            where="--parallel.mode",
            fix="leave it out",
        )
    if config.data.batch_size < 2:
        raise InputError(
            f"{config.objective.name} compares the scans of a batch, and there is one",
            where="--data.batch-size",
            fix="take 2 or more; hundreds are usual",
        )


def check_teacher(objective: Objective, config: TrainConfig) -> None:
    """InputError where an objective has a teacher, the averaged parameters, and a training keeps no average."""
    if isinstance(objective, Taught) and config.ema_decay == 0:
        raise InputError(
            f"the averaged parameters are the teacher of {config.objective.name}, and 0 keeps none",
            where="--ema-decay",
            fix="leave it out, or give 0.99 to 0.999",
        )


def check_contract(objective: Objective, params: Any, size: int) -> None:
    """InputError where the model of a classifier is somebody else's and does not give what its contract says.

    Args:
      objective: anything but a ``Classification`` passes.
      params: its parameters or their shapes.
      size: rows and columns of a slice.
    """
    if not isinstance(objective, Classification) or origin_of("", type(objective.model).__module__) is None:
        return
    hu, mask = jnp.zeros((1, 2, size, size), jnp.int16), jnp.ones((1, 2), bool)

    def forward(params: Any) -> Any:
        return objective.model.apply({"params": params}, objective.inputs(hu, mask), mask, jnp.ones((1, 3)), False)

    check_prediction(
        jax.eval_shape(forward, params),
        scans=1,
        slices=2,
        labels=len(objective.label_set.columns),
        lesions=objective.lesion_weight > 0,
    )


_NEUTRAL = {
    "encoder": "",
    "scan_pool": None,
    "dropout": 0.0,
    "drop_path": 0.0,
    "lesions": False,
    "remat": "none",
    "position_step": 1.0,
}
"""Settings that not every model has, with the value that asks for nothing."""


def configured_model(config: ModelConfig, label_set: LabelSet = SIX) -> nn.Module:
    """The model, with what was asked of it and what its pretrained weights want; InputError for what it has not."""
    known = model_options(config.name)
    asked = {name: getattr(config, name) for name, neutral in _NEUTRAL.items() if getattr(config, name) != neutral}
    for name in asked.keys() - known:
        others = ", ".join(other for other in list_models() if name in model_options(other))
        raise InputError(
            f"{config.name} has no such option",
            where=option("--model.", name),
            fix=f"leave it out, or choose a model that has it: {others}",
        )
    if config.encoder:
        ENCODERS.find(config.encoder, where="--model.encoder")
    if "labels" in known:
        asked["labels"] = label_set.columns
    elif not label_set.is_default:
        raise InputError(
            f"{config.name} has no setting 'labels', so it scores the six labels of ichformer.LABELS only",
            where="--model.name",
            fix=f"name a model that takes labels; the store has {', '.join(label_set.columns)}",
        )
    if config.pretrained:
        asked |= wanted_options(config.name, named_layout(config.pretrained_layout))
    if "dtype" in known:
        asked["dtype"] = jnp.dtype(config.compute_dtype)
    elif config.compute_dtype != "float32":
        raise InputError(f"{config.name} has no setting 'dtype'", where="--model.compute-dtype", fix="leave it out")
    return create_model(config.name, **asked)
