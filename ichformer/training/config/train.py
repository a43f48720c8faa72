"""The settings of a whole training, and the file ``config.json`` that keeps them. No JAX."""

import dataclasses
import json
import os
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ichformer.errors import InputError, one_line
from ichformer.files.json_files import convert, read_json
from ichformer.objectives.config import ObjectiveConfig
from ichformer.settings import MOST_STEPS, check_ranges, check_settings
from ichformer.training.config.data import DataConfig
from ichformer.training.config.model import ModelConfig
from ichformer.training.config.optim import OptimConfig
from ichformer.training.config.parallel import ParallelConfig

VERSION = 1
"""Of the layout of ``config.json``."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A whole run.

    Attributes:
      data: The scans to train on, and how they are drawn.
      model: The model.
      objective: The loss that training minimises.
      optim: The optimiser and its learning rate.
      parallel: How several devices share the work. A run may be resumed with other values.
      steps: Number of steps of the optimiser. Each takes one batch.
      seed: Seed of the parameters, the order of scans, augmentation and dropout.
      ema_decay: Decay of the averaged parameters that evaluation and prediction use, 0 to 1. Lower it for trainings of
        a few hundred steps. 0 keeps no average.
      init_from: A run whose parameters are the start, as far as their names and shapes fit: a folder, a bundle, an
        address, or "default" for the weights that come with ichformer. Use it to fine-tune, or after a pretraining.
      wandb_project: Name of a Weights & Biases project that also gets the metrics. It needs `pip install
        'ichformer[wandb]'`. By default nothing is sent.
      spike_factor: An update is skipped if its loss is this many times the running mean of losses. With 0 only updates
        whose loss is not a number are skipped.
      max_bad_steps: After so many skipped updates in a row the run rolls back to the checkpoint before them.
      evaluate_every: Steps between two validations, which compute the loss on the split "val". The checkpoint with the
        smallest loss is kept, and evaluation and prediction use it. With 0 there is no validation and the last
        checkpoint is used.
      patience_steps: The training ends early if the validation loss has not fallen for so many steps. It needs
        --evaluate-every. With 0 it never ends early.
      probe_every: For pretraining, steps between two probings. Each fits simple classifiers on features of up to 200
        labelled patients of the split "train" and scores them on up to 100 of "val", so that one sees whether the
        training learns anything. It takes at most about as long as the steps that train on as many scans. With 30,000
        divided by the batch size it stays under 1 % of the time. With 0 there is none.
      profile: First and last step of a trace of the profiler, such as 20 25. TensorBoard and Perfetto show it. By
        default there is none.
      log_every: Steps between two lines of metrics.
      checkpoint_every: Steps between two checkpoints. A training that is killed loses the steps since the last one.
      keep_checkpoints: Number of the newest checkpoints that are kept.
    """

    data: DataConfig
    model: ModelConfig = field(default_factory=ModelConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    steps: int = 1000
    seed: int = 0
    ema_decay: float = 0.99
    init_from: str = ""
    wandb_project: str = ""
    spike_factor: float = 20.0
    max_bad_steps: int = 10
    evaluate_every: int = 0
    patience_steps: int = 0
    probe_every: int = 0
    profile: tuple[int, int] | None = None
    log_every: int = 10
    checkpoint_every: int = 100
    keep_checkpoints: int = 2

    def __post_init__(self) -> None:
        """InputError for a value that is not of its type or outside its range."""
        check_settings(self, "--")
        least = dict.fromkeys(("steps", "max_bad_steps", "log_every", "checkpoint_every", "keep_checkpoints"), 1)
        least |= {"evaluate_every": 0, "probe_every": 0}
        check_ranges(
            "--",
            *(
                (name, getattr(self, name), number <= getattr(self, name) <= MOST_STEPS, f"{number} to {MOST_STEPS}")
                for name, number in least.items()
            ),
            ("seed", self.seed, 0 <= self.seed < 2**31 - 1, "0 or more, and less than 2147483647"),
            ("ema_decay", self.ema_decay, 0 <= self.ema_decay < 1, "at least 0 and less than 1"),
            ("spike_factor", self.spike_factor, self.spike_factor == 0 or self.spike_factor > 1, "above 1, or 0"),
            (
                "patience_steps",
                self.patience_steps,
                self.patience_steps == 0 or 0 < self.evaluate_every <= self.patience_steps,
                "0, or at least --evaluate-every, which it needs",
            ),
            (
                "profile",
                self.profile,
                self.profile is None or 1 <= self.profile[0] <= self.profile[1],
                "two steps, the first first",
            ),
        )

    def to_json(self) -> str:
        """As text, with the version of the layout."""
        return json.dumps({"version": VERSION, **dataclasses.asdict(self)}, indent=2) + "\n"


def read_config(path: Path) -> TrainConfig:
    """The inverse of ``TrainConfig.to_json``; InputError for a file that is not one of this version.

    A run tells its stores by the way from its own folder. Where that leads to a folder, ``data.store`` or what stands
    in ``data.more`` is its absolute path.
    """
    if not path.exists():
        raise InputError("there is no run here", where=path, fix="name the folder of a run that was trained")
    fix = "restore the file, or train again into a new folder"
    values = read_json(path, dict, fix=fix)
    version = values.pop("version", None)
    if version != VERSION:
        raise InputError(
            f"is of layout version {version!r}, this ichformer reads {VERSION}",
            where=path,
            fix="use the ichformer that wrote it, or train again",
        )
    _check_names(TrainConfig, values, path)
    config = convert(values, TrainConfig, where=path, fix=fix)
    store, *more = (_from_run(path.parent, told) for told in (config.data.store, *config.data.more))
    return dataclasses.replace(config, data=dataclasses.replace(config.data, store=store, more=tuple(more)))


def _from_run(run: Path, told: str) -> str:
    store = os.path.normpath(run.resolve() / told)
    return store if told and os.path.isdir(store) else told


def _check_names(cls: Any, values: dict[str, Any], where: object) -> None:
    """InputError for a setting that ``cls`` does not have: without it the model would be another one."""
    known = typing.get_type_hints(cls)
    for name, value in values.items():
        if name not in known:
            raise InputError(f"{cls.__name__} has no setting {one_line(name)!r}", where=where, fix="take it out")
        if dataclasses.is_dataclass(known[name]) and isinstance(value, dict):
            _check_names(known[name], value, f"{where}, {name}")
