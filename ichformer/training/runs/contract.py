"""The contract in a run's record: what its model takes and was trained on, so that it is used on nothing else.

How the scans were prepared, the labels and the outputs that were trained stand beside it in ``run.json``.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ichformer.cohorts.licences import licences_of
from ichformer.ct.windows import Window
from ichformer.errors import InputError, one_line
from ichformer.files.json_files import Count, Line, convert
from ichformer.files.writing import shown
from ichformer.objectives.base import Objective
from ichformer.pipeline.store.records import Store
from ichformer.process.said import say_once

CONTRACT_FACT = "contract"
"""The field of ``run.json``; runs of earlier versions lack it, and nothing is known of their recipe and licences."""

SCANS_FACT = "scans_sha256"
"""The field of ``run.json`` that ``recovery.resume.hash_scans`` gave; runs of earlier versions lack it."""

AXES = "LPS: slices from inferior to superior, rows from anterior to posterior, columns from right to left"
VALUES = "HU as whole numbers, -1024 and more"

_FIX = "use the ichformer whose commit and version the run's run.json names"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One training that the parameters went through.

    Attributes:
      objective: its name.
      recipe: the ``RECIPE_VERSION`` of its scans; None where unknown.
      scans_sha256: what ``recovery.resume.hash_scans`` gives of its scans; "" where unknown.
      licences: the terms of its scans, by cohort; empty where unknown.
    """

    objective: Line
    recipe: Count | None = None
    scans_sha256: Line = ""
    licences: dict[Line, Line] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What a model takes, and what it was trained on.

    Attributes:
      axes: how its scans lie, in words.
      values: what the values of its scans mean, in words.
      windows_hu: the HU of 0 and of 1 in each channel; None for an objective that names no windows.
      stages: the trainings that its parameters went through, its own last.
    """

    axes: Line = AXES
    values: Line = VALUES
    windows_hu: tuple[tuple[float, float], ...] | None = None
    stages: tuple[Stage, ...] = ()

    @property
    def recipe(self) -> int | None:
        """Of the scans of its own training; None where unknown."""
        return self.stages[-1].recipe if self.stages else None

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``run.json``."""
        return dataclasses.asdict(self)


def new_contract(
    objective: Objective, name: str, store: Store, *, split: str, scans_sha256: str, before: tuple[Stage, ...] = ()
) -> Contract:
    """The contract of a run that begins.

    Args:
      objective: what it optimises.
      name: of the objective.
      store: its scans.
      split: those of them that it is trained on.
      scans_sha256: their hash.
      before: the trainings that its first parameters went through.
    """
    cohorts = store.index["cohort"].iloc[store.rows(split)]
    stage = Stage(
        objective=name, recipe=store.recipe, scans_sha256=scans_sha256, licences=licences_of(cohorts.tolist())
    )
    return Contract(windows_hu=_windows_of(objective), stages=(*before, stage))


def read_contract(facts: dict[str, Any], *, where: object) -> Contract | None:
    """The contract that ``run.json`` holds; None where it holds none. InputError where it makes no sense."""
    if (values := facts.get(CONTRACT_FACT)) is None:
        return None
    fix = "the file is damaged: restore it, or train again"
    return convert(values, Contract, where=f"{where}, {CONTRACT_FACT}", fix=fix)


def stages_of(facts: dict[str, Any], objective: str, *, where: object) -> tuple[Stage, ...]:
    """The trainings of a run; of an earlier ichformer only what its record tells of the last.

    Args:
      facts: what its ``run.json`` says.
      objective: the name in its settings.
      where: the run.
    """
    contract = read_contract(facts, where=where)
    if contract is not None and contract.stages:
        return contract.stages
    return (Stage(objective=objective, scans_sha256=str(facts.get(SCANS_FACT, ""))),)


def exported_contract(facts: dict[str, Any], objective: Objective, name: str, *, where: object) -> Contract:
    """The contract of a run to pass on, also where its own record holds none."""
    return Contract(windows_hu=_windows_of(objective), stages=stages_of(facts, name, where=where))


def check_kept(facts: dict[str, Any], objective: Objective, *, where: object) -> None:
    """InputError where this ichformer would give a run other input than it was trained on.

    Args:
      facts: what its ``run.json`` says.
      objective: that its settings name.
      where: the run.
    """
    if (contract := read_contract(facts, where=where)) is None:
        return
    for what, theirs, ours in (("axes", contract.axes, AXES), ("values", contract.values, VALUES)):
        if theirs != ours:
            what = f"was trained on scans whose {what} are {one_line(theirs)!r}, and this ichformer gives {ours!r}"
            raise InputError(what, where=where, fix=_FIX)
    if contract.windows_hu is not None and contract.windows_hu != (found := _windows_of(objective)):
        raise InputError(
            f"was trained with {_ranges(contract.windows_hu)}, and its settings now mean {_ranges(found)}",
            where=where,
            fix=_FIX,
        )


def recorded_recipe(facts: dict[str, Any], *, where: object) -> int | None:
    """The ``RECIPE_VERSION`` of a run's scans; None where its record does not say it."""
    contract = read_contract(facts, where=where)
    return None if contract is None else contract.recipe


def check_recipe(recipe: int | None, store: Store, *, run: Path) -> None:
    """InputError where the scans of a store were prepared by another recipe than a run's own were.

    The same settings then give other voxels. Where one of both is unknown, that is said in a line.

    Args:
      recipe: of the run's scans; None where unknown.
      store: whose scans the run is to be used on.
      run: the run's folder.
    """
    if recipe is None:
        say_once(
            f"{shown(run)} does not say by which recipe its scans were prepared. If another one than that of "
            f"{shown(store.path)}, its scores there are a little off"
        )
    elif store.recipe is None:
        say_once(
            f"{shown(store.path)} does not say by which recipe it was prepared, and the run needs recipe {recipe}. "
            "`ichformer prepare` with the same options tells it, and prepares only what is of another recipe"
        )
    elif store.recipe != recipe:
        fix = (
            "prepare it again with the same command"
            if store.recipe < recipe
            else "give a store that the run's ichformer prepared, or train on this one, from the run with --init-from"
        )
        raise InputError(
            f"was prepared by recipe {store.recipe}, and the scans of the run {shown(run)} by recipe {recipe}: the "
            "same files give other voxels",
            where=store.path,
            fix=fix,
        )


def _windows_of(objective: Objective) -> tuple[tuple[float, float], ...] | None:
    windows: tuple[Window, ...] | None = getattr(objective, "windows", None)
    if windows is None:
        return None
    return tuple((float(w.center_hu - w.width_hu / 2), float(w.center_hu + w.width_hu / 2)) for w in windows)


def _ranges(windows_hu: tuple[tuple[float, float], ...] | None) -> str:
    if windows_hu is None:
        return "no windows"
    return "windows of " + ", ".join(f"{low:g} to {high:g}" for low, high in windows_hu) + " HU"
