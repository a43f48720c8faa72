"""Starts a run from existing parameters: those of another run, or of a network that others trained."""

import dataclasses
import hashlib
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from ichformer.errors import InputError
from ichformer.labels import LabelSet
from ichformer.models.weights.files import read_tensors
from ichformer.models.weights.fit import Report, fit_tree
from ichformer.models.weights.layouts.registry import recognise
from ichformer.models.weights.load import load_weights
from ichformer.models.weights.pretrained import weights_path
from ichformer.objectives.base import Objective
from ichformer.objectives.classification import Classification
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.store.records import Store
from ichformer.process.said import say_once
from ichformer.training.build import Given
from ichformer.training.config import ModelConfig, TrainConfig, read_config
from ichformer.training.label_transfer import keep_labels, kept_labels, label_axes
from ichformer.training.runs.contract import Stage, stages_of
from ichformer.training.runs.label_set import recorded_objective
from ichformer.training.runs.needs import name_of
from ichformer.training.runs.opening.run_folder import run_folder
from ichformer.training.runs.outputs import (
    TrainedOutputs,
    own_parameters,
    parameter_names,
    read_trained,
    trained_outputs,
)
from ichformer.training.runs.run import initial_state, load_params, read_facts
from ichformer.training.state import TrainState


def transfer_params(state: TrainState, source: Path, objective: Objective, given: Given = Given()) -> TrainState:
    """``state`` with every parameter of the run ``source`` that has a place in it; ``fit_tree`` says what may differ.

    Kernels of a slice become those of several slices as I3D inflates them. Of another label set the outputs of labels
    of the same name are kept. What became of the parameters is said on standard error.

    Raises:
      InputError: most of the encoder stays as it was, as the run's is of another architecture or size.
    """
    config, facts = read_config(source / "config.json"), read_facts(source / "run.json")
    before, size = _objective_of(source, config, facts, given), PrepareConfig(**facts["prepare"]).size
    found, _ = load_params(source, before, config, size)
    said = ""
    if isinstance(objective, Classification) and isinstance(before, Classification):
        sets = before.label_set, objective.label_set
        if sets[0] != sets[1]:
            found = keep_labels(state.params, found, label_axes(config, sets[0], size), *sets)
            kept = kept_labels(*sets)
            new = [name for name in sets[1].columns if name not in kept]
            said = f"  labels   kept {', '.join(kept) or 'none'}; new {', '.join(new) or 'none'}\n"
    params, report = fit_tree(state.params, found)
    filled, total = _filled(state.params, report)
    if filled < _LEAST * total:
        name, why = next(iter(report.misfits.items()), ("most of it", "nothing"))
        raise InputError(
            f"{config.model.name} ({config.objective.name}) is of another architecture or size than this model: it "
            f"fills {filled:,} of {total:,} numbers of the encoder; {name} has {why}",
            where=source,
            fix="name a run whose encoder is like this model's",
        )
    print(f"init: parameters of the run {source.name}\n{said}{report}", file=sys.stderr)  # noqa: T201
    return _started(state, params)


def earlier_stages(config: TrainConfig, store: Store) -> tuple[Stage, ...]:
    """The trainings behind the run that ``config.init_from`` names; none where it names none.

    Parameters of another recipe are a start like any other, so a recipe that differs is said and not refused.
    """
    if not config.init_from:
        return ()
    source = run_folder(config.init_from)
    before, facts = read_config(source / "config.json"), read_facts(source / "run.json")
    stages = stages_of(facts, before.objective.name, where=source)
    if (recipe := stages[-1].recipe) != store.recipe:
        said = f"the run {source.name} was trained on scans of recipe {recipe or 'unknown'}"
        say_once(f"{said}, and goes on with scans of recipe {store.recipe or 'unknown'}")
    return stages


_LEAST = 0.5
"""Part of the encoder that a run has to fill: below, it is a start from nothing that looks like one from the run."""


def _filled(params: Any, report: Report) -> tuple[int, int]:
    """How many numbers of the encoder were loaded, and how many it has; of a model without one, of all parameters."""
    sizes = dict(zip(parameter_names(params), (leaf.size for leaf in jax.tree.leaves(params)), strict=True))
    encoder = {name: size for name, size in sizes.items() if "encoder" in name.split("/")} or sizes
    return sum(encoder.get(name, 0) for name in report.loaded), sum(encoder.values())


def reached_outputs(
    config: TrainConfig, objective: Objective, params: Any, *, size: int, given: Given = Given()
) -> TrainedOutputs | None:
    """The outputs that a training, or the run that it starts from, reaches.

    Args:
      config: of the training.
      objective: that it optimises, with the labels that it has losses for (``labels.for_known_labels``).
      params: its parameters or their shapes.
      size: rows and columns of a slice.
      given: objects in place of what the settings name.

    Returns:
      None where the objective has no labels, and where it depends on a run that does not say what it was trained for.
    """
    if not isinstance(objective, Classification):
        return None
    reached = trained_outputs(
        objective,
        params,
        slice_labels=objective.labels_with_loss("slice"),
        scan_labels=objective.labels_with_loss("scan"),
        lesion_labels=objective.labels_with_lesion_loss,
        size=size,
    )
    if not config.init_from:
        return reached
    earlier = _inherited_outputs(run_folder(config.init_from), given, objective, params, size=size)
    if earlier is None:
        return None if reached.missing("slice") or reached.missing("scan") else reached
    return reached | earlier


def _inherited_outputs(
    source: Path, given: Given, objective: Classification, params: Any, *, size: int
) -> TrainedOutputs | None:
    """Outputs that ``source`` was trained for and whose parameters ``transfer_params`` hands on; None where unknown."""
    config, facts = read_config(source / "config.json"), read_facts(source / "run.json")
    before = _objective_of(source, config, facts, given)
    if not isinstance(before, Classification):
        return TrainedOutputs(slice=(), scan=(), label_set=objective.label_set)
    known = read_trained(facts, where=source / "run.json")
    if known is None:
        return None
    shapes = jax.eval_shape(lambda: initial_state(before, config, PrepareConfig(**facts["prepare"]).size)).params
    handed_on = set(parameter_names(shapes))
    own_of_slices, own_of_scans = own_parameters(objective, params, size=size)
    slices = _labels(known.slice, objective.label_set) if own_of_slices <= handed_on else ()
    scans = _labels(known.scan, objective.label_set) if own_of_scans <= handed_on else ()
    # Without parameters of their own the scan's logits are made of the slices'.
    return TrainedOutputs(slice=slices, scan=scans if own_of_scans else slices, label_set=objective.label_set)


def _labels(names: tuple[str, ...], label_set: LabelSet) -> tuple[str, ...]:
    """The labels among ``names`` that the set has. Targets are not inherited, as their scale is another one now."""
    return tuple(name for name in label_set.names if name in names)


def _objective_of(source: Path, config: TrainConfig, facts: dict[str, Any], given: Given) -> Objective:
    """The objective of a run to start from, with those of the given objects that it was trained with, too."""
    named = {"model": config.model.name, "objective": config.objective.name}
    objects = {what: getattr(given, what) for what in named}
    same = {what: one for what, one in objects.items() if one is not None and name_of(one) == named[what]}
    return recorded_objective(config, facts, where=source, given=Given(**same))


def transfer_pretrained(state: TrainState, model: ModelConfig) -> TrainState:
    """``state`` with the weights that ``model.pretrained`` names; what became of them is said on standard error."""
    path = weights_path(model.name, model.pretrained, encoder=model.encoder)
    params, report, layout = load_weights(state.params, path)
    print(f"init: {path.name}, {layout}\n{report}", file=sys.stderr)  # noqa: T201
    return _started(state, params)


IMPORTED_FACTOR = 0.1
"""Of the learning rate for an encoder with imported weights. At the full rate of 1e-3 the features of all slices
become one vector within 60 steps, in PyTorch with frozen batch norms as well (``experiments/learning.py``)."""


def with_start(config: TrainConfig, run: Path) -> TrainConfig:
    """``config`` with what follows from its pretrained weights: the encoder's learning rate and the weights' layout.

    Where the run is there, they are its own. The model is built as the weights want it (``weights.layouts``), also
    later, when the file may be gone.
    """
    if config.optim.encoder_factor is None:
        if (run / "config.json").exists():
            factor = read_config(run / "config.json").optim.encoder_factor
        else:
            factor = IMPORTED_FACTOR if config.model.pretrained else 1.0
        config = dataclasses.replace(config, optim=dataclasses.replace(config.optim, encoder_factor=factor))
    return _with_layout(config, run)


def _with_layout(config: TrainConfig, run: Path) -> TrainConfig:
    model = config.model
    if not model.pretrained:
        return config
    if config.init_from:
        raise InputError("a run starts from one thing", where="--init-from", fix="leave it or --model.pretrained out")
    if not model.pretrained_layout:
        if (run / "config.json").exists():
            before = read_config(run / "config.json").model
            layout = before.pretrained_layout if before.pretrained == model.pretrained else ""
        else:
            path = weights_path(model.name, model.pretrained, encoder=model.encoder)
            layout = recognise(read_tensors(path), where=path).layout.name
        model = dataclasses.replace(model, pretrained_layout=layout)
    return dataclasses.replace(config, model=model)


def pretrained_facts(model: ModelConfig) -> dict[str, Any]:
    """What a run's record says of where it started: the file's name, its SHA-256 and its layout."""
    if not model.pretrained:
        return {}
    path = weights_path(model.name, model.pretrained, encoder=model.encoder)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"pretrained": {"file": path.name, "sha256": digest, "layout": model.pretrained_layout}}


def _started(state: TrainState, params: Any) -> TrainState:
    params = jax.tree.map(jnp.asarray, params)
    ema_params = None if state.ema_params is None else jax.tree.map(jnp.copy, params)
    return dataclasses.replace(state, params=params, ema_params=ema_params)
