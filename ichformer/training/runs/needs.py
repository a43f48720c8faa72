"""What a run needs beside this package: plugins, and objects that it was given in place of names."""

import hashlib
import re
from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from ichformer.errors import InputError, one_line
from ichformer.files.json_files import Line, convert
from ichformer.models.encoders.registry import ENCODERS
from ichformer.models.registry import registered_models
from ichformer.objectives.registry import OBJECTIVES
from ichformer.pipeline.store.pseudonyms import PUBLISHED
from ichformer.plugins import Origin
from ichformer.registry import Registry
from ichformer.training.build import Given
from ichformer.training.config import TrainConfig

NEEDS_FACT = "needs"
"""The field of ``run.json`` with what the run needs; runs of earlier versions lack it and need nothing."""

What = Literal["model", "encoder", "objective", "augment", "cohort"]
_REGISTRIES: dict[What, Registry[Any]] = {"model": registered_models(), "encoder": ENCODERS, "objective": OBJECTIVES}
"""Of what a run cannot be opened without."""

_FIX = "the file is damaged: restore it, or train again"


class _Need(msgspec.Struct, frozen=True, kw_only=True):
    what: What
    name: Line
    module: Line
    distribution: Line = ""
    version: Line = ""
    settings_sha256: Line = ""
    """Of the text of an object, so that one with other settings is told; "" for what has a registered name."""


class _Needs(msgspec.Struct):
    needs: list[_Need]


def name_of(thing: Any) -> str:
    """How a configuration names an object: ``module:class``, which no registered name can be."""
    made = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{made.__module__}:{made.__qualname__}"


def needs_of(config: TrainConfig, given: Given, cohorts: Iterable[str]) -> list[dict[str, Any]]:
    """What a run of these settings, objects and cohorts needs, for ``NEEDS_FACT``."""
    objects = {"model": given.model, "objective": given.objective, "augment": given.augment}
    found = [_of_object(what, thing) for what, thing in objects.items() if thing is not None]
    named: list[tuple[What, Origin | None]] = []
    if given.model is None and given.objective is None:
        named.append(("model", registered_models().origin(config.model.name)))
        named.append(("encoder", ENCODERS.origin(config.model.encoder)))
    if given.objective is None:
        named.append(("objective", OBJECTIVES.origin(config.objective.name)))
    named += [("cohort", origin) for origin in _origins_of_cohorts(cohorts)]
    found += [_Need(what=what, **origin.to_json()) for what, origin in named if origin is not None]
    return [msgspec.to_builtins(need) for need in found]


def check_needs(facts: dict[str, Any], given: Given, *, where: object) -> None:
    """InputError where a run needs a plugin or an object that is not there, with how to get it.

    Nothing is imported because a run names it: its files may be anybody's. Plugins that are installed are found by the
    registries themselves.

    Args:
      facts: what ``run.json`` says.
      given: the objects that are there.
      where: the run.
    """
    for need in _read(facts, where):
        if need.what in _REGISTRIES:
            _check_need(need, getattr(given, need.what, None), where)


def check_same_needs(facts: dict[str, Any], needs: list[dict[str, Any]], *, where: object) -> None:
    """InputError where a run is to be gone on with, but was begun with other objects or plugins."""
    before, now = (
        {(need.what, need.name, need.settings_sha256) for need in each if need.what != "cohort"}
        for each in (_read(facts, where), _read({NEEDS_FACT: needs}, where))
    )
    if before != now:
        other = min(before ^ now)
        raise InputError(
            f"the run was begun with another {other[0]} than is given now ({one_line(other[1])} is on one side only)",
            where=where,
            fix="give the objects that it was begun with, or train into a new folder",
        )


def _check_need(need: _Need, thing: Any, where: object) -> None:
    name = one_line(need.name, max_chars=100)
    if need.settings_sha256:
        if thing is None:
            raise InputError(
                f"was trained with the {need.what} {name}, which was given as an object",
                where=where,
                fix=f"give it again: ichformer.open_run(path, {need.what}=...)",
            )
        if (name_of(thing), _settings_sha256(thing)) != (need.name, need.settings_sha256):
            raise InputError(
                f"was trained with another {need.what} than {name_of(thing)} with the settings that are given",
                where=where,
                fix=f"give {name} with the settings of the training",
            )
    elif need.name not in _REGISTRIES[need.what]:
        origin = Origin(name=need.name, module=need.module, distribution=need.distribution, version=need.version)
        raise InputError(f"needs the {need.what} {name} of a plugin", where=where, fix=origin.how_to_get())


def _read(facts: dict[str, Any], where: object) -> list[_Need]:
    return convert({NEEDS_FACT: facts.get(NEEDS_FACT, [])}, _Needs, where=where, fix=_FIX).needs


def _of_object(what: Any, thing: Any) -> _Need:
    name = name_of(thing)
    return _Need(what=what, name=name, module=name.partition(":")[0], settings_sha256=_settings_sha256(thing))


def _settings_sha256(thing: Any) -> str:
    """Of what an object shows of itself, without addresses in memory."""
    shown = thing.__qualname__ if hasattr(thing, "__qualname__") else repr(thing)
    return hashlib.sha256(re.sub(r" at 0x[0-9a-fA-F]+", "", shown).encode()).hexdigest()


def _origins_of_cohorts(cohorts: Iterable[str]) -> list[Origin | None]:
    """Of those that are not of this package; only then the adapters are imported, which read scans."""
    if not (others := sorted(set(cohorts) - {*PUBLISHED, "folder"})):
        return []
    from ichformer.cohorts.registry import COHORTS

    return [COHORTS.origin(name) for name in others if name in COHORTS]
