"""The folder of a pretraining: read as ``runs.run`` reads that of a classifier."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ichformer.errors import InputError
from ichformer.objectives.base import Pretraining
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.training.build import Given
from ichformer.training.config import TrainConfig, read_config
from ichformer.training.runs.fingerprint import fingerprint
from ichformer.training.runs.label_set import recorded_objective
from ichformer.training.runs.run import load_params, read_facts, read_prepare


@dataclass(frozen=True, kw_only=True)
class PretrainedRun:
    """A pretraining, opened for use.

    Attributes:
      path: its folder.
      config: the settings of its training.
      prepare: how its scans were prepared, so that a new scan gets the same treatment.
      objective: with the model and its windows.
      params: of its best checkpoint where it has a validation, or else of the newest; averaged where it keeps an
        average.
      step: steps that they took.
      facts: commit, versions and hardware of the training.
    """

    path: Path
    config: TrainConfig
    prepare: PrepareConfig
    objective: Pretraining
    params: Any
    step: int
    facts: dict[str, Any]

    @property
    def name(self) -> str:
        """Of the model."""
        return self.config.model.name

    @cached_property
    def fingerprint(self) -> str:
        """Of its parameters; see ``runs.fingerprint``."""
        return fingerprint(self.params)

    @classmethod
    def open(cls, path: str | os.PathLike[str], given: Given = Given()) -> "PretrainedRun":
        """Reads the folder of a pretraining.

        Args:
          path: the folder.
          given: the objects that it was trained with in place of names.

        Raises:
          InputError: it is none, has no checkpoint yet, or needs a plugin or an object that is not there.
        """
        path = Path(path)
        config, facts = read_config(path / "config.json"), read_facts(path / "run.json")
        objective = recorded_objective(config, facts, where=path, given=given)
        if not isinstance(objective, Pretraining):
            raise InputError(
                f"was trained for {config.objective.name!r}, which is no pretraining",
                where=path,
                fix="open it with ichformer.open_run",
            )
        prepare = read_prepare(path)
        params, step = load_params(path, objective, config, prepare.size)
        return cls(
            path=path, config=config, prepare=prepare, objective=objective, params=params, step=step, facts=facts
        )


def is_pretraining(path: Path, given: Given = Given()) -> bool:
    """Whether a folder holds a pretraining; InputError where it holds a run that cannot be read."""
    if not ((path / "config.json").is_file() and (path / "run.json").is_file()):
        return False
    config, facts = read_config(path / "config.json"), read_facts(path / "run.json")
    return isinstance(recorded_objective(config, facts, where=path, given=given), Pretraining)
