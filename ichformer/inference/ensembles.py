"""Ensembles: runs with weights and views that work as one model."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import flax.linen as nn
import jax

from ichformer.ct.windows import Window
from ichformer.errors import InputError
from ichformer.models.ensemble import Ensemble, Group, View, stack_members
from ichformer.objectives.classification import Classification
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.settings import fit
from ichformer.training.runs.contract import recorded_recipe
from ichformer.training.runs.fingerprint import fingerprint
from ichformer.training.runs.opening.run_folder import run_folder
from ichformer.training.runs.outputs import TrainedOutputs, outputs_of_all
from ichformer.training.runs.run import Run, load_snapshots

ENSEMBLE_NAME = "ensemble.json"
"""The file in the folder of an ensemble that makes it one."""

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


def open_members(path: Path | str, snapshots: Snapshots) -> list[Run]:
    """A run as members of an ensemble.

    ``snapshots`` says what becomes of the checkpoints that the run has kept. "one" takes that which evaluating the run
    takes. "average" makes one member with the mean of their parameters (Izmailov et al. 2018, "Averaging weights leads
    to wider optima"; no batch statistics have to be renewed, as there are none). "members" makes each a member (Huang
    et al. 2017, "Snapshot ensembles"). Parameters are the running averages where the run keeps them.
    """
    path, snapshots = run_folder(path), fit(Snapshots, snapshots, where="--snapshots")
    if (path / ENSEMBLE_NAME).exists():
        raise InputError("is an ensemble itself", where=path, fix="name the runs that it was made of")
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
      InputError: members whose scans are prepared differently or by another recipe, or a view that a member was not
        trained for.
    """
    first = members[0]
    for member in members:
        if member.prepare != first.prepare:
            theirs, ours = dataclasses.asdict(member.prepare), dataclasses.asdict(first.prepare)
            said = ", ".join(f"{name} {theirs[name]}, not {ours[name]}" for name in ours if theirs[name] != ours[name])
            raise InputError(
                f"prepares its scans otherwise than {first.path}: {said}",
                where=member.path,
                fix="ensemble runs of one preparation",
            )
        _check_recipes(member, first)
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
    of_lesions = [member.objective.labels_with_lesion_loss for member in members]
    lesion_labels = tuple(name for name in of_lesions[0] if all(name in labels for labels in of_lesions))
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
            lesion_weight=float(bool(lesion_labels)),
            lesion_labels=lesion_labels,
            slice_statistics=first.objective.slice_statistics,
            scan_statistics=first.objective.scan_statistics,
        ),
        params={
            f"group{number}": stack_members([members[i].params for i in rows])
            for number, rows in enumerate(together.values())
        },
    )


def _channels(objective: Classification, windows: tuple[Window, ...], neighbours: int) -> tuple[tuple[int, ...], ...]:
    """The channels of an input of ``windows`` and ``neighbours`` that are those of ``objective``; see ``Group``."""
    return tuple(
        tuple((offset + neighbours) * len(windows) + windows.index(window) for window in objective.windows)
        for offset in range(-objective.neighbours, objective.neighbours + 1)
    )


def _check_recipes(member: Run, first: Run) -> None:
    """InputError where it is known that the scans of two members were prepared by different recipes."""
    theirs, ours = (recorded_recipe(one.facts, where=one.path) for one in (member, first))
    if None not in (theirs, ours) and theirs != ours:
        raise InputError(
            f"was trained on scans of recipe {theirs}, {first.path} on scans of recipe {ours}",
            where=member.path,
            fix="ensemble runs of one recipe",
        )


def _check_labels(member: Run, first: Run) -> None:
    """InputError where the outputs of two members do not mean the same."""
    theirs, ours = member.objective, first.objective
    if theirs.label_set != ours.label_set:
        raise InputError(
            f"has the labels {', '.join(theirs.label_set.columns)}, {first.path} has "
            f"{', '.join(ours.label_set.columns)}",
            where=member.path,
            fix="ensemble runs of one label set",
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
            fix="ensemble runs that were trained on the same scans, or runs without targets",
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
                fix=f"leave the view out, or train with --data.augmentation.{name}",
            )
