"""The label set of a run, and what its training measured of its labels: kept in ``run.json``."""

import dataclasses
from typing import Annotated, Any

import msgspec

from ichformer.errors import InputError
from ichformer.files.json_files import Line, convert
from ichformer.labels import SIX, LabelSet
from ichformer.objectives.base import Objective
from ichformer.objectives.classification import Classification
from ichformer.pipeline.label_statistics import LabelStatistics
from ichformer.training.build import Given, build_objective
from ichformer.training.config import TrainConfig
from ichformer.training.runs.contract import check_kept
from ichformer.training.runs.needs import check_needs

LABEL_SET_FACT = "label_set"
"""The field of a run's ``run.json``; a run without it has the six labels of ``ichformer.LABELS``."""

STATISTICS_FACT = "label_statistics"
"""The field of a run's ``run.json`` with what was measured of its labels; only where its loss needs that."""

_FIX = "the file is damaged: restore it, or train again"


def label_facts(objective: Objective) -> dict[str, Any]:
    """What the record of a run says of its labels; nothing for an objective without a ``label_set``."""
    if (label_set := getattr(objective, "label_set", None)) is None:
        return {}
    facts: dict[str, Any] = {LABEL_SET_FACT: dataclasses.asdict(label_set)}
    if isinstance(objective, Classification) and objective.slice_statistics and objective.scan_statistics:
        facts[STATISTICS_FACT] = {
            "slice": dataclasses.asdict(objective.slice_statistics),
            "scan": dataclasses.asdict(objective.scan_statistics),
        }
    return facts


def read_label_set(facts: dict[str, Any], *, where: object) -> LabelSet:
    """The label set that ``run.json`` records; the six labels where it records none.

    Raises:
      InputError: the record makes no sense.
    """
    if (values := facts.get(LABEL_SET_FACT)) is None:
        return SIX
    found = convert(values, _Names, where=f"{where}, {LABEL_SET_FACT}", fix=_FIX)
    try:
        return LabelSet(names=found.names, targets=found.targets)
    except InputError as error:
        raise InputError(error.what, where=f"{where}, {LABEL_SET_FACT}", fix=_FIX) from None


def recorded_objective(
    config: TrainConfig, facts: dict[str, Any], *, where: object, given: Given = Given()
) -> Objective:
    """The objective of a run, with the label set and the statistics that it was trained with.

    Args:
      config: of the run.
      facts: what its ``run.json`` says.
      where: the run, for messages.
      given: the objects that it was trained with in place of names.

    Raises:
      InputError: the record makes no sense, the run needs a plugin or an object that is not there, or this ichformer
        would give it other input than it was trained on.
    """
    check_needs(facts, given, where=where)
    objective = build_objective(config, read_label_set(facts, where=where), given)
    check_kept(facts, objective, where=where)
    if not isinstance(objective, Classification) or (values := facts.get(STATISTICS_FACT)) is None:
        return objective
    where = f"{where}, {STATISTICS_FACT}"
    found = convert(values, _Levels, where=where, fix=_FIX)
    n_names, n_targets = len(objective.label_set.names), len(objective.label_set.targets)
    for one in (found.slice, found.scan):
        if (len(one.log_odds), len(one.means), len(one.spreads)) != (n_names, n_targets, n_targets):
            raise InputError("does not fit the label set beside it", where=where, fix=_FIX)
    return dataclasses.replace(
        objective,
        slice_statistics=LabelStatistics(**msgspec.structs.asdict(found.slice)),
        scan_statistics=LabelStatistics(**msgspec.structs.asdict(found.scan)),
    )


_Spread = Annotated[float, msgspec.Meta(gt=0)]


class _Names(msgspec.Struct):
    names: tuple[Line, ...]
    targets: tuple[Line, ...] = ()


class _Statistics(msgspec.Struct):
    log_odds: tuple[float, ...]
    means: tuple[float, ...]
    spreads: tuple[_Spread, ...]


class _Levels(msgspec.Struct):
    slice: _Statistics
    scan: _Statistics
