"""Objectives by name: those of the package, and those that others register."""

from collections.abc import Callable, Mapping
from typing import TypeVar, overload

import flax.linen as nn

from ichformer.labels import LabelSet
from ichformer.objectives.base import Objective
from ichformer.objectives.config import ObjectiveConfig
from ichformer.registry import Registry, register

BuildObjective = Callable[[nn.Module, ObjectiveConfig, LabelSet], Objective]
"""From the model that the settings name, the settings and the label set of the scans to the objective."""

Build = TypeVar("Build", bound=BuildObjective)


def _own() -> Mapping[str, BuildObjective]:
    from ichformer.objectives.classification import build_classification
    from ichformer.objectives.masked.jepa import build_jepa
    from ichformer.objectives.masked.mae import build_mae
    from ichformer.objectives.masked.simmim import build_simmim
    from ichformer.objectives.masked.spark import build_spark
    from ichformer.objectives.views.contrastive import build_contrastive
    from ichformer.objectives.views.dino import build_dino

    return {
        "classification": build_classification,
        "contrastive": build_contrastive,
        "dino": build_dino,
        "jepa": build_jepa,
        "mae": build_mae,
        "simmim": build_simmim,
        "spark": build_spark,
    }


OBJECTIVES: Registry[BuildObjective] = Registry("objective", _own)
"""Every objective by the name that ``--objective.name`` takes."""


@overload
def register_objective(name: Build) -> Build: ...
@overload
def register_objective(name: str | None = None) -> Callable[[Build], Build]: ...
def register_objective(name: Build | str | None = None) -> Build | Callable[[Build], Build]:
    """Makes an objective known by name, to ``ichformer.train`` and to ``--objective.name``.

    It decorates a function ``build(model, settings, label_set)`` that returns an ``objectives.base.Objective``.
    ``settings`` is the ``ObjectiveConfig`` of the run. An objective that is a ``Classification`` with another loss
    gives a run that evaluates and predicts like any other.

    Example:
      >>> from dataclasses import dataclass
      >>> from ichformer.objectives.classification import Classification
      >>> @dataclass(frozen=True, kw_only=True)
      ... class ScansOnly(Classification):
      ...     def loss(self, params, batch, rng, train):
      ...         total, weight, metrics = super().loss(params, batch, rng, train)
      ...         return metrics["scan_loss"][0], weight, metrics
      >>> @register_objective
      ... def scans_only(model, settings, label_set):
      ...     return ScansOnly(model=model, windows=settings.display_windows)
      >>> "scans_only" in OBJECTIVES
      True

    Args:
      name: what to call it: ``@register_objective("mine")``. Bare, it takes the name of the function.

    Raises:
      InputError: another objective has that name, it is no name, or it stands above something else.
    """
    return register(
        OBJECTIVES,
        name,
        lambda build: build,
        wanted="a function build(model, settings, label_set) that returns an objective",
        arguments=("model", "settings", "label_set"),
    )
