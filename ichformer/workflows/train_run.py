"""Training from end to end: check for leakage, train, freeze thresholds and the out-of-distribution score."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax

from ichformer.cohorts.leakage import check_leakage
from ichformer.ct.windows import WINDOWS
from ichformer.errors import InputError, named_as_arguments, one_line
from ichformer.evaluation.ood import OOD_NAME
from ichformer.inference.trained import open_trained
from ichformer.lesions.frozen import LESIONS_NAME
from ichformer.objectives.base import Objective, Pretraining
from ichformer.objectives.classification import Classification
from ichformer.objectives.config import ObjectiveConfig
from ichformer.pipeline.augmentation.sample import Change
from ichformer.pipeline.store.records import Store
from ichformer.reporting.training_curves import write_curves
from ichformer.settings import as_path, described, make_settings, perhaps
from ichformer.training.build import Given, build_objective, configured_model, make_given
from ichformer.training.config import DataConfig, ModelConfig, OptimConfig, ParallelConfig, TrainConfig
from ichformer.training.few_patients import training_scans
from ichformer.training.runs.needs import name_of
from ichformer.training.trainer import run_training
from ichformer.training.transfer import with_start
from ichformer.workflows.evaluate_run import fix_frozen, freeze_ood
from ichformer.workflows.opened.open_run import opened
from ichformer.workflows.opened.trained_model import TrainedModel
from ichformer.workflows.parts.frozen import keep_frozen
from ichformer.workflows.parts.lesion_table import frozen_lesions

_NESTED = {"data": DataConfig, "optim": OptimConfig, "parallel": ParallelConfig}


def train(
    store: Store | str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    model: str | nn.Module | ModelConfig | Mapping[str, Any] | None = None,
    objective: str | Objective | ObjectiveConfig | Mapping[str, Any] | None = None,
    augment: Change | None = None,
    progress: bool = True,
    **settings: Any,
) -> TrainedModel | None:
    """Trains a model into a run's folder, or goes on where an earlier call was interrupted.

    Where the store has a split "val", thresholds and the out-of-distribution score are frozen on it afterwards.

    Example:
      >>> import ichformer as ich
      >>> store = ich.Store.open("store")
      >>> run = ich.train(store, model="hybrid_nano", out="runs/first", progress=False)
      >>> run.predict(ich.read_volume("scan/")).not_scored is None
      True

    Args:
      store: prepared scans: a store or its folder.
      out: the run's folder.
      model: a name of ``list_models()``; a module that obeys ``models.contract.Classifier``; or settings, such as
        ``{"name": "slice_vit_s", "dropout": 0.1}``.
      objective: a name; an ``objectives.base.Objective``, whose field ``model`` may be None and then gets the model; or
        settings, such as ``{"loss": "focal"}``. A classifier by default.
      augment: a function of a ``Sample`` and a NumPy generator that returns a changed ``Sample``. It follows the random
        changes of ``data={"augmentation": ...}``.
      progress: show a bar with an ETA on standard error, and before it what is known of the labels.
      settings: further fields of ``training.config.TrainConfig``: ``steps=1000``, ``seed=1`` ...; ``data``, ``optim``
        and ``parallel`` take a dictionary of some of their fields.

    Returns:
      The run, opened, as ``open_run`` gives it; None where the objective is neither a classifier nor a pretraining, and
      in one of several processes.

    Raises:
      InputError: a setting that is not there or not of its type, scans that are in two splits, or what
        ``training.trainer.run_training`` refuses.
    """
    run = as_path(out, where="out", fix="give the run's folder")
    with named_as_arguments():
        config, given = _settings(store, model, objective, augment, settings)
        train_and_freeze(config, run, given=given, progress=progress)
    if jax.process_count() > 1 or not isinstance(_objective(config, run, given), Classification | Pretraining):
        return None
    return opened(run, dataclasses.replace(given, augment=None))


def train_and_freeze(
    config: TrainConfig, run: Path | str, *, given: Given = Given(), progress: bool = True
) -> dict[str, float]:
    """Trains with a whole configuration, then freezes thresholds and the out-of-distribution score on "val".

    So are the thresholds of a lesion map, where the scans have masks.

    That is done where the run is a classifier and there is such a split. What the training measured is drawn in
    ``curves.png``. Several processes only train: the first
    evaluation of the run fixes the thresholds, in one process.

    Args:
      config: the settings.
      run: the run's folder.
      given: objects in place of what the settings name.
      progress: see ``train``.

    Returns:
      The last metrics that were written.

    Raises:
      InputError: see ``train``.
    """
    run = Path(run)
    store = training_scans(Store.open(config.data.store), config.data)
    split = store.index["split"]
    check_leakage(store.index[split == config.data.split], store.index[~split.isin(["", config.data.split])])
    written = run_training(config, run, given=given, progress=progress)
    if jax.process_index() == 0:
        write_curves(run)
    for name in (OOD_NAME, LESIONS_NAME):
        (run / name).unlink(missing_ok=True)  # it would be of other parameters
    if jax.process_count() == 1 and "val" in set(split) and isinstance(_objective(config, run, given), Classification):
        trained = open_trained(run, dataclasses.replace(given, augment=None))
        keep_frozen(fix_frozen(trained, store), trained)
        freeze_ood(trained, store, train=config.data.split)
        frozen_lesions(trained, store)
    return written


def _objective(config: TrainConfig, run: Path, given: Given) -> Objective:
    label_set = Store.open(config.data.store).label_set
    return build_objective(with_start(config, run), label_set, given)


def _settings(
    store: Store | str | os.PathLike[str], model: Any, objective: Any, augment: Any, settings: dict[str, Any]
) -> tuple[TrainConfig, Given]:
    """The configuration and the objects that the arguments of ``train`` mean."""
    fields = {field.name for field in dataclasses.fields(TrainConfig)}
    if wrong := sorted(settings.keys() - fields):
        raise InputError(f"there is no setting {one_line(wrong[0])!r}", where="train", fix=_hint(wrong[0], fields))
    folder = store.path if isinstance(store, Store) else as_path(store, where="store", fix="give a Store or its folder")
    if augment is not None and not callable(augment):
        fix = "give a function of a Sample and a generator that returns a Sample"
        raise InputError(f"found {described(augment)}", where="augment", fix=fix)
    nested = {
        "data": make_settings(DataConfig, settings.pop("data", None), where="data", store=os.fspath(folder)),
        **{name: make_settings(_NESTED[name], settings.pop(name, None), where=name) for name in ("optim", "parallel")},
    }
    model, objective = ({"name": one} if isinstance(one, str) else one for one in (model, objective))
    if is_named_model := isinstance(model, Mapping | ModelConfig):
        model = make_settings(ModelConfig, model, where="model")
    if objective is not None and not isinstance(objective, Mapping | ObjectiveConfig):
        given = make_given(configured_model(model) if is_named_model else model, objective, augment)
        objective = given.objective
        model, objective = ModelConfig(name=name_of(getattr(objective, "model", objective))), _described(objective)
    elif model is not None and not is_named_model:
        given, model = make_given(model, None, augment), ModelConfig(name=name_of(model))
    else:
        given = Given(augment=augment)
    config = TrainConfig(
        model=make_settings(ModelConfig, model, where="model"),
        objective=make_settings(ObjectiveConfig, objective, where="objective"),
        **nested,  # type: ignore[arg-type]
        **settings,
    )
    return config, given


def _described(objective: Any) -> ObjectiveConfig:
    """What a configuration says of an objective that is given as an object: its class and what it sees of a scan."""
    names = {window: name for name, window in WINDOWS.items()}
    windows = getattr(objective, "windows", None)
    if windows is None:
        return ObjectiveConfig(name=name_of(objective))
    if unknown := [window for window in windows if window not in names]:
        raise InputError(
            f"{one_line(unknown[0])} has no name",
            where="objective.windows",
            fix="take windows of ichformer.ct.windows.WINDOWS",
        )
    return ObjectiveConfig(
        name=name_of(objective),
        windows=tuple(names[window] for window in windows),
        neighbours=getattr(objective, "neighbours", 0),
    )


def _hint(wrong: str, fields: set[str]) -> str:
    """Where a setting may be that ``TrainConfig`` does not have."""
    for name, kind in {**_NESTED, "model": ModelConfig, "objective": ObjectiveConfig}.items():
        if wrong in {field.name for field in dataclasses.fields(kind)}:
            return f"give it as {name}={{{wrong!r}: ...}}"
    return f"{perhaps(wrong, fields)}choose of {', '.join(sorted(fields))}"
