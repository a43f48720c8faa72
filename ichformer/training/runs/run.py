"""The folder of a run: everything that evaluating it or predicting with it needs."""

import dataclasses
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import msgspec
import pandas as pd

from ichformer.cohorts.patients import PATIENT_SOURCES
from ichformer.cohorts.tables import read_table, write_table
from ichformer.errors import InputError
from ichformer.files.json_files import Count, Line, convert, read_json
from ichformer.files.lease import is_lease
from ichformer.files.writing import write_text
from ichformer.labels import SIX
from ichformer.objectives.base import Objective
from ichformer.objectives.classification import Classification
from ichformer.objectives.teacher import first_means
from ichformer.pipeline.batch import Batch
from ichformer.pipeline.preparation.config import PrepareConfig, check_prepare
from ichformer.training.build import Given
from ichformer.training.checkpoints.checkpoint import Checkpoints
from ichformer.training.config import TrainConfig, read_config
from ichformer.training.labels import as_trained
from ichformer.training.optimizer.optim import build_optimizer
from ichformer.training.runs.contract import read_contract
from ichformer.training.runs.environment import environment
from ichformer.training.runs.fingerprint import fingerprint
from ichformer.training.runs.label_set import recorded_objective
from ichformer.training.runs.outputs import RecordedOutputs, TrainedOutputs, read_trained
from ichformer.training.runs.portable import WEIGHTS_NAME, read_exported
from ichformer.training.runs.store_path import STORE_FACT, way_to_store, ways_to_stores
from ichformer.training.state import TrainState, create_state

# Settings that do not change what comes out: a run may be resumed with other values of them.
_FREE = ("log_every", "probe_every", "checkpoint_every", "keep_checkpoints", "profile", "wandb_project", "parallel")
_FREE_DATA = ("store", "more", "num_workers")

SEEN_NAME = "seen.csv"
"""The file in the folder of a run with the scans that it, and the runs it started from, were trained on."""

_SCAN_COLUMNS = ("origin", "patient", "study", "series", "pixels")
SEEN_COLUMNS = (*_SCAN_COLUMNS, "patient_source", "patient_key")


@dataclass(frozen=True, kw_only=True)
class Run:
    """A trained classifier, opened for use.

    Attributes:
      path: its folder.
      config: the settings of its training.
      prepare: how its scans were prepared, so that a new scan gets the same treatment.
      objective: with the model and its windows.
      params: of the best checkpoint where the run has a validation, or else of the newest; averaged where it
        keeps an average.
      step: steps that they took.
      facts: commit, versions and hardware of the training.
    """

    path: Path
    config: TrainConfig
    prepare: PrepareConfig
    objective: Classification
    params: Any
    step: int
    facts: dict[str, Any]

    @property
    def name(self) -> str:
        """Of the model."""
        return self.config.model.name

    @property
    def members(self) -> "tuple[Run, ...]":
        """Itself: what is said of a run is said of each member of an ensemble."""
        return (self,)

    @cached_property
    def fingerprint(self) -> str:
        """Of its parameters; see ``training.fingerprint``."""
        return fingerprint(self.params)

    @property
    def trained_outputs(self) -> TrainedOutputs | None:
        """The outputs that its training reached; None where the run does not say, as older runs do not."""
        return read_trained(self.facts, where=self.path / "run.json")

    @property
    def model(self) -> nn.Module:
        """The Linen module."""
        return self.objective.model

    @property
    def variables(self) -> dict[str, Any]:
        """What ``model.apply`` takes first."""
        return {"params": self.params}

    @classmethod
    def open(cls, path: str | os.PathLike, given: Given = Given()) -> "Run":
        """Reads the folder of a run.

        Args:
          path: the folder.
          given: the objects that it was trained with in place of names.

        Raises:
          InputError: it is no run, has no checkpoint yet, is no classifier, or needs a plugin or an object that is not
            there.
        """
        path = Path(path)
        config = read_config(path / "config.json")
        facts = read_facts(path / "run.json")
        objective = recorded_objective(config, facts, where=path, given=given)
        if not isinstance(objective, Classification):
            raise InputError(
                f"was trained for {config.objective.name!r} and gives no labels",
                where=path,
                fix="train a classifier from it with --init-from",
            )
        objective = as_trained(objective, path)
        prepare = read_prepare(path)
        params, step = load_params(path, objective, config, prepare.size)
        return cls(
            path=path,
            config=config,
            prepare=prepare,
            objective=objective,
            params=params,
            step=step,
            facts=facts,
        )


def start_run(path: Path | str, config: TrainConfig, prepare: PrepareConfig, **facts: Any) -> None:
    """Makes the run's folder, or checks that the one that is there has the same settings and may be gone on with.

    ``facts`` go into the record of a new one.
    """
    path = Path(path)
    file = path / "config.json"
    if file.exists():
        before = read_config(file)
        there = _flat(before)
        changed = [name for name, value in _flat(config).items() if value != there.get(name)]
        if changed:
            raise InputError(
                f"a run with another {', '.join(changed)} is there", where=path, fix="name another folder for this one"
            )
        return
    if path.exists() and (not path.is_dir() or not all(map(is_lease, path.iterdir()))):
        raise InputError("is there and is no run", where=path, fix="name a new or an empty folder")
    path.mkdir(parents=True, exist_ok=True)
    # The way from the run is the same after a move, and says nothing of whose machine this is.
    way = way_to_store(config.data.store, path)
    told = way or os.path.abspath(config.data.store)
    data = dataclasses.replace(config.data, store=told, more=ways_to_stores(config.data.more, path))
    config = dataclasses.replace(config, data=data)
    facts = {"prepare": dataclasses.asdict(prepare), STORE_FACT: way, **facts, **environment()}
    write_text(json.dumps(facts, indent=2) + "\n", path / "run.json")
    # Last: a folder with a config.json is a run.
    write_text(config.to_json(), file)


def note_scans(path: Path, scans: pd.DataFrame) -> None:
    """Adds scans to the list of those that the run in this folder was trained on, by what they can be known again."""
    there = seen_scans(path)
    table = scans[list(SEEN_COLUMNS)] if there is None else pd.concat([there, scans[list(SEEN_COLUMNS)]])
    table = table.drop_duplicates(list(_SCAN_COLUMNS), keep="last")
    write_table(table.sort_values(list(SEEN_COLUMNS)), path / SEEN_NAME)


def seen_scans(path: Path | str) -> pd.DataFrame | None:
    """The scans that a run was trained on, with ``SEEN_COLUMNS``; None where it keeps no list.

    Lists of an earlier ichformer do not say how patients are known: their ``patient_source`` is "unknown", and their
    ``patient_key`` "".
    """
    file = Path(path) / SEEN_NAME
    if not file.exists():
        return None
    table = read_table(file, columns=_SCAN_COLUMNS).reset_index(drop=True)
    unsaid = pd.Series("", index=table.index)
    sources, keys = table.get("patient_source", unsaid), table.get("patient_key", unsaid)
    sources = sources.where(sources.isin(list(PATIENT_SOURCES)), "unknown")
    return table.assign(patient_source=sources, patient_key=keys)


def read_prepare(path: Path) -> PrepareConfig:
    """How the scans of a run were prepared."""
    return PrepareConfig(**read_facts(path / "run.json")["prepare"])


class _Hardware(msgspec.Struct):
    devices: list[Line] = []
    processor: Line = ""
    cores: Count | None = None


class _Pretrained(msgspec.Struct):
    file: Line = ""
    sha256: Line = ""
    layout: Line = ""


class _Facts(msgspec.Struct):
    """What is known of ``run.json``; runs of earlier versions lack some of it."""

    prepare: dict[str, Any]
    commit: Line = ""
    versions: dict[Line, Line | None] = {}
    hardware: _Hardware = msgspec.field(default_factory=_Hardware)
    pretrained: _Pretrained = msgspec.field(default_factory=_Pretrained)
    store_from_run: str = ""
    trained_outputs: RecordedOutputs | None = None


def load_params(path: Path, objective: Objective, config: TrainConfig, size: int) -> tuple[Any, int]:
    """The parameters of a run's best or newest checkpoint, averaged where it keeps an average, and their steps."""
    return _load(path, objective, config, size, lambda _: (None,))[0]


def load_snapshots(path: Path, objective: Objective, config: TrainConfig, size: int) -> list[tuple[Any, int]]:
    """``load_params`` of every checkpoint that a run has kept, the oldest first."""
    return _load(path, objective, config, size, lambda checkpoints: checkpoints.steps)


def _load(
    path: Path,
    objective: Objective,
    config: TrainConfig,
    size: int,
    choose: Callable[[Checkpoints], Sequence[int | None]],
) -> list[tuple[Any, int]]:
    if (path / WEIGHTS_NAME).is_file():
        shapes = jax.eval_shape(lambda: initial_state(objective, config, size))
        return [read_exported(path / WEIGHTS_NAME, shapes.params)]
    folder = path / "checkpoints"
    if folder.is_dir():
        checkpoints = Checkpoints(folder)
        try:
            if checkpoints.latest_step is not None:
                shapes = jax.eval_shape(lambda: initial_state(objective, config, size))
                found = [checkpoints.restore_params(shapes, step=step) for step in choose(checkpoints)]
                return [(s.params if s.ema_params is None else s.ema_params, step) for s, step in found]
        finally:
            checkpoints.close()
    raise InputError("has no checkpoint yet", where=path, fix="let `ichformer train` reach its first one")


def initial_state(objective: Objective, config: TrainConfig, size: int) -> TrainState:
    """The state before the first step, for pictures of ``size`` x ``size`` pixels."""
    count = len(getattr(objective, "label_set", SIX).columns)
    one_scan = Batch(
        hu=jnp.zeros((1, 1, size, size), jnp.int16),
        slice_mask=jnp.ones((1, 1), bool),
        spacing_mm=jnp.ones((1, 3)),
        slice_labels=jnp.zeros((1, 1, count)),
        scan_labels=jnp.zeros((1, count)),
        weight=jnp.ones(1),
        row=jnp.zeros(1, jnp.int32),
    )
    params = objective.init(jax.random.key(config.seed), one_scan)["params"]
    optimizer = build_optimizer(config.optim, config.steps)
    return create_state(params, optimizer, ema=config.ema_decay > 0, metric_means=first_means(objective))


def read_facts(path: Path) -> dict[str, Any]:
    """What ``run.json`` holds: the preparation of the scans, commit, versions and hardware."""
    fix = "the file is missing or damaged: restore it, or train again"
    facts = read_json(path, dict, fix=fix)
    check_prepare(convert(facts, _Facts, where=path, fix=fix).prepare, where=path, fix=fix)
    read_trained(facts, where=path)
    read_contract(facts, where=path)
    return facts


def _flat(config: TrainConfig) -> dict[str, Any]:
    """The settings that decide what comes out, by dotted name."""
    values = dataclasses.asdict(config)
    for name in _FREE:
        del values[name]
    for name in _FREE_DATA:
        del values["data"][name]
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{inner}": setting for inner, setting in value.items()}
        else:
            flat[name] = value
    return flat
