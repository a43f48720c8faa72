"""The folder of an ensemble: members with their parameters and weights, opened like a run."""

import dataclasses
import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import flax.linen as nn
import jax
import msgspec
import numpy as np
import pandas as pd
from flax import traverse_util
from safetensors.numpy import save

from ichformer.cohorts.tables import write_table
from ichformer.ct.windows import Window
from ichformer.errors import InputError
from ichformer.files.json_files import Count, Line, convert, read_json
from ichformer.files.writing import write_bytes, write_text
from ichformer.models.ensemble import Ensemble, Group, View, stack_members
from ichformer.models.weights.files import read_tensors
from ichformer.objectives.classification import Classification
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.settings import fit
from ichformer.training.config import read_config
from ichformer.training.runs.fingerprint import fingerprint
from ichformer.training.runs.label_set import recorded_objective
from ichformer.training.runs.outputs import TrainedOutputs, outputs_of_all
from ichformer.training.runs.run import (
    SEEN_COLUMNS,
    SEEN_NAME,
    Run,
    initial_state,
    load_snapshots,
    read_facts,
    seen_scans,
)
from ichformer.training.runs.store_path import STORE_FACT, find_store, way_to_store

ENSEMBLE_NAME = "ensemble.json"
"""The file in the folder of an ensemble that makes it one."""

VERSION = 1
"""Of the layout of the folder."""

Snapshots = Literal["one", "average", "members"]


@dataclass(frozen=True, kw_only=True)
class EnsembleRun:
    """An ensemble, opened for use wherever a ``Run`` is taken.

    Attributes:
      path: its folder.
      members: the runs in it; their parameters are None, they stand in ``params``.
      weights: of the members' logits.
      views: test-time augmentations.
      prepare: how scans are prepared, the same for all members.
      objective: with the ``Ensemble`` as its model.
      params: of the ensemble.
    """

    path: Path
    members: tuple[Run, ...]
    weights: tuple[float, ...]
    views: tuple[View, ...]
    prepare: PrepareConfig
    objective: Classification
    params: Any

    @property
    def name(self) -> str:
        """The members' models with their weights, and the views."""
        models = " + ".join(f"{w:.3g} {m.name}" for m, w in zip(self.members, self.weights, strict=True))
        return f"ensemble of {models}" + (f", views {', '.join(self.views)}" if len(self.views) > 1 else "")

    @cached_property
    def fingerprint(self) -> str:
        """Of its parameters, its members' weights and its views; see ``training.fingerprint``."""
        return fingerprint(self.params, beside=[*self.weights, *self.views])

    @property
    def trained_outputs(self) -> TrainedOutputs | None:
        """The outputs that the training of every member reached; None where that is unknown."""
        return outputs_of_all([member.trained_outputs for member in self.members])

    @property
    def model(self) -> nn.Module:
        """The Linen module."""
        return self.objective.model

    @property
    def variables(self) -> dict[str, Any]:
        """What ``model.apply`` takes first."""
        return {"params": self.params}


Trained = Run | EnsembleRun
"""What evaluates and predicts."""


def open_trained(path: str | os.PathLike) -> Trained:
    """The run or the ensemble in a folder; InputError where it is neither, or damaged."""
    path = Path(path)
    return _open_ensemble(path) if (path / ENSEMBLE_NAME).exists() else Run.open(path)


def training_store(path: Path | str) -> Path:
    """The store that the run in this folder was trained on, or the first member of the ensemble in it.

    InputError where it is no longer there; see ``store_path.find_store`` for where it is looked for.
    """
    path = Path(path)
    folder = path / _member_name(0) if (path / ENSEMBLE_NAME).exists() else path
    told = read_config(folder / "config.json").data.store
    return find_store(told, folder, str(read_facts(folder / "run.json").get(STORE_FACT, "")))


def open_members(path: Path | str, snapshots: Snapshots) -> list[Run]:
    """A run as members of an ensemble.

    ``snapshots`` says what becomes of the checkpoints that the run has kept. "one" takes that which evaluating the run
    takes. "average" makes one member with the mean of their parameters (Izmailov et al. 2018, "Averaging weights leads
    to wider optima"; no batch statistics have to be renewed, as there are none). "members" makes each a member (Huang
    et al. 2017, "Snapshot ensembles"). Parameters are the running averages where the run keeps them.
    """
    path, snapshots = Path(path), fit(Snapshots, snapshots, where="--snapshots")
    if (path / ENSEMBLE_NAME).exists():
        raise InputError("is an ensemble itself", where=path, mend="name the runs that it was made of")
    run = Run.open(path)
    if snapshots == "one":
        return [run]
    found = load_snapshots(path, run.objective, run.config, run.prepare.size)
    if snapshots == "members":
        return [dataclasses.replace(run, params=params, step=step) for params, step in found]
    mean = jax.tree.map(lambda *leaves: sum(leaves) / len(leaves), *(params for params, _ in found))
    return [dataclasses.replace(run, params=mean)]


def assemble(members: Sequence[Run], weights: Sequence[float], views: tuple[View, ...], path: Path) -> EnsembleRun:
    """Members as one; those of one architecture and input run as one call.

    Args:
      members: opened runs.
      weights: of their logits, in the same order.
      views: test-time augmentations.
      path: the ensemble's folder.

    Raises:
      InputError: members whose scans are prepared differently, or a view that a member was not trained for.
    """
    first = members[0]
    for member in members:
        if member.prepare != first.prepare:
            theirs, ours = dataclasses.asdict(member.prepare), dataclasses.asdict(first.prepare)
            said = ", ".join(f"{name} {theirs[name]}, not {ours[name]}" for name in ours if theirs[name] != ours[name])
            raise InputError(
                f"prepares its scans otherwise than {first.path}: {said}",
                where=member.path,
                mend="ensemble runs of one preparation",
            )
        _check_labels(member, first)
        _check_views(member, views)
    windows = tuple(dict.fromkeys(window for member in members for window in member.objective.windows))
    neighbours = max(member.objective.neighbours for member in members)
    together: dict[Any, list[int]] = {}
    for i, member in enumerate(members):
        key = (member.model, _channels(member.objective, windows, neighbours))
        together.setdefault(key, []).append(i)
    groups = tuple(
        Group(model=model, channels=channels, weights=tuple(weights[i] for i in rows))
        for (model, channels), rows in together.items()
    )
    order = [i for rows in together.values() for i in rows]
    return EnsembleRun(
        path=path,
        members=tuple(dataclasses.replace(members[i], params=None) for i in order),
        weights=tuple(weights[i] for i in order),
        views=views,
        prepare=first.prepare,
        objective=Classification(
            model=Ensemble(groups, views),
            windows=windows,
            neighbours=neighbours,
            label_set=first.objective.label_set,
            slice_statistics=first.objective.slice_statistics,
            scan_statistics=first.objective.scan_statistics,
        ),
        params={
            f"group{number}": stack_members([members[i].params for i in rows])
            for number, rows in enumerate(together.values())
        },
    )


def write_ensemble(ensemble: EnsembleRun, facts: dict[str, Any]) -> None:
    """Writes the folder, whole or not at all: nothing in it depends on the members' own folders any more.

    Args:
      ensemble: ``path`` says where.
      facts: further values for ``ensemble.json``.

    Raises:
      InputError: something is there, it cannot be written, or a member has no list of the scans it was trained on.
    """
    seen = [_seen(member) for member in ensemble.members]
    check_new(ensemble.path)
    members = [save(params) for params in _unstacked(ensemble)]
    values = {
        "version": VERSION,
        "views": ensemble.views,
        "members": [
            {"run": m.path.absolute().name, "step": m.step, "weight": w, "sha256": hashlib.sha256(params).hexdigest()}
            for m, w, params in zip(ensemble.members, ensemble.weights, members, strict=True)
        ],
        **facts,
    }
    try:
        ensemble.path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=ensemble.path.parent, prefix=f".{ensemble.path.name}.") as temporary:
            new = Path(temporary) / "ensemble"
            for i, (member, params) in enumerate(zip(ensemble.members, members, strict=True)):
                folder = new / _member_name(i)
                folder.mkdir(parents=True)
                way = _way_to_store(member, ensemble.path / folder.name)
                data = dataclasses.replace(member.config.data, store=way or member.config.data.store)
                write_text(dataclasses.replace(member.config, data=data).to_json(), folder / "config.json")
                write_text(json.dumps(member.facts | {STORE_FACT: way}, indent=2) + "\n", folder / "run.json")
                write_bytes(params, folder / "params.safetensors")
            table = pd.concat(seen).drop_duplicates().sort_values(list(SEEN_COLUMNS))
            write_table(table, new / SEEN_NAME)
            write_text(json.dumps(values, indent=2) + "\n", new / ENSEMBLE_NAME)
            new.rename(ensemble.path)
    except OSError as error:
        raise InputError(
            f"cannot be written ({error.strerror})", where=ensemble.path, mend="name a writable place"
        ) from None


def check_new(path: Path) -> None:
    """InputError where something but an empty folder is at the place of a new ensemble."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError("is there already", where=path, mend="name a new or an empty folder")


def _open_ensemble(path: Path) -> EnsembleRun:
    file = path / ENSEMBLE_NAME
    mend = "the file is damaged: restore it, or make the ensemble again"
    values = read_json(file, dict, mend=mend)
    if values.get("version") != VERSION:
        raise InputError(
            f"is of layout version {values.get('version')!r}, this ichformer reads {VERSION}",
            where=file,
            mend="use the ichformer that wrote it, or make the ensemble again",
        )
    found = convert(values, _Values, where=file, mend=mend)
    members = [_read_member(path / _member_name(i), member) for i, member in enumerate(found.members)]
    return assemble(members, [member.weight for member in found.members], found.views, path)


class _Member(msgspec.Struct):
    step: Count
    weight: float
    sha256: Line = ""
    """Of its parameters, which have no checksum of their own; earlier versions wrote none."""


class _Values(msgspec.Struct):
    """What is read of ``ENSEMBLE_NAME``."""

    views: Annotated[tuple[View, ...], msgspec.Meta(min_length=1)]
    members: Annotated[list[_Member], msgspec.Meta(min_length=1, max_length=1000)]


def _read_member(folder: Path, member: _Member) -> Run:
    config, facts = read_config(folder / "config.json"), read_facts(folder / "run.json")
    objective, prepare = (
        recorded_objective(config, facts, where=folder / "run.json"),
        PrepareConfig(**facts["prepare"]),
    )
    file = folder / "params.safetensors"
    mend = "restore the ensemble, or make it again"
    found = read_tensors(file)
    if member.sha256:
        with file.open("rb") as opened:
            if hashlib.file_digest(opened, "sha256").hexdigest() != member.sha256:
                raise InputError("is not as it was written", where=file, mend=mend)
    wanted = jax.eval_shape(lambda: initial_state(objective, config, prepare.size)).params
    shapes = {name: leaf.shape for name, leaf in traverse_util.flatten_dict(wanted, sep="/").items()}
    if not isinstance(objective, Classification) or shapes != {name: leaf.shape for name, leaf in found.items()}:
        raise InputError("does not fit the config.json beside it", where=file, mend=mend)
    params = traverse_util.unflatten_dict(found, sep="/")
    return Run(
        path=folder,
        config=config,
        prepare=prepare,
        objective=objective,
        params=params,
        step=member.step,
        facts=facts,
    )


def _member_name(number: int) -> str:
    return f"member-{number:02d}"


def _unstacked(ensemble: EnsembleRun) -> list[dict[str, np.ndarray]]:
    """Each member's parameters by flat name, in the order of ``ensemble.members``."""
    found = []
    for number, group in enumerate(ensemble.objective.model.groups):
        flat = traverse_util.flatten_dict(jax.device_get(ensemble.params[f"group{number}"]), sep="/")
        for i in range(len(group.weights)):
            found.append({name: np.ascontiguousarray(leaf[i]) for name, leaf in flat.items()})
    return found


def _seen(member: Run) -> pd.DataFrame:
    seen = seen_scans(member.path)
    if seen is None:
        raise InputError(
            "keeps no list of the scans it was trained on, and nobody could tell what the ensemble may be judged on",
            where=member.path,
            mend="train it again",
        )
    return seen


def _way_to_store(member: Run, folder: Path) -> str:
    """From the member's folder in an ensemble; "" where its store is not to be found."""
    try:
        store = find_store(member.config.data.store, member.path, str(member.facts.get(STORE_FACT, "")))
    except InputError:
        return ""
    return way_to_store(store, folder)


def _channels(objective: Classification, windows: tuple[Window, ...], neighbours: int) -> tuple[tuple[int, ...], ...]:
    """The channels of an input of ``windows`` and ``neighbours`` that are those of ``objective``; see ``Group``."""
    return tuple(
        tuple((offset + neighbours) * len(windows) + windows.index(window) for window in objective.windows)
        for offset in range(-objective.neighbours, objective.neighbours + 1)
    )


def _check_labels(member: Run, first: Run) -> None:
    """InputError where the outputs of two members do not mean the same."""
    theirs, ours = member.objective, first.objective
    if theirs.label_set != ours.label_set:
        raise InputError(
            f"has the labels {', '.join(theirs.label_set.columns)}, {first.path} has "
            f"{', '.join(ours.label_set.columns)}",
            where=member.path,
            mend="ensemble runs of one label set",
        )
    scales = [
        [(one.means, one.spreads) for one in (o.slice_statistics, o.scan_statistics) if one is not None]
        for o in (theirs, ours)
    ]
    if ours.label_set.targets and scales[0] != scales[1]:
        raise InputError(
            f"was trained on other scans than {first.path}, and standardises {', '.join(ours.label_set.targets)} "
            "differently",
            where=member.path,
            mend="ensemble runs that were trained on the same scans, or runs without targets",
        )


def _check_views(member: Run, views: tuple[View, ...]) -> None:
    augmentation = member.config.data.augmentation
    trained = {"plain": 1.0, "flip": augmentation.flip, "reverse": augmentation.reverse_slices}
    for view in views:
        if not trained[view]:
            name = "flip" if view == "flip" else "reverse-slices"
            raise InputError(
                f"never saw a scan of the view {view!r} in training",
                where=member.path,
                mend=f"leave the view out, or train with --data.augmentation.{name}",
            )
