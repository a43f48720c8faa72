"""Objectives whose targets a teacher gives: the running mean of the parameters that are trained (Tarvainen 2017)."""

import functools
from collections.abc import Callable
from typing import Any

import jax
from flax import struct

from ichformer.objectives.base import Metrics, Objective, Params
from ichformer.pipeline.batch import Batch

Loss = Callable[[Params, Batch, jax.Array, bool], tuple[jax.Array, jax.Array, Metrics]]
"""``Objective.loss``."""


@struct.dataclass
class Teacher:
    """What a training keeps for an objective with a teacher.

    Attributes:
      params: the running mean of the parameters (``TrainState.ema_params``). No gradient reaches it.
      means: running means of metrics over the steps, by name; those of ``Taught.first_means``.
    """

    params: Any
    means: dict[str, Any]


class Taught:
    """The base of an objective with a teacher; it adds ``init`` and ``features`` (``objectives.base.Pretraining``)."""

    def first_means(self) -> dict[str, jax.Array]:
        """Metrics of ``taught_loss`` of which the teacher is given running means, and these before the first step."""
        return {}

    def taught_loss(
        self, teacher: Teacher, params: Params, batch: Batch, rng: jax.Array, train: bool
    ) -> tuple[jax.Array, jax.Array, Metrics]:
        """``Objective.loss`` with targets from ``teacher``; each metric of ``first_means`` has the shape it has there.

        Those metrics are not written.
        """
        raise NotImplementedError

    def loss(self, params: Params, batch: Batch, rng: jax.Array, train: bool) -> tuple[jax.Array, jax.Array, Metrics]:
        """The loss where the parameters are their own teacher, as before the first step."""
        own = Teacher(params=jax.lax.stop_gradient(params), means=self.first_means())
        return self.taught_loss(own, params, batch, rng, train)


def loss_with(objective: Objective, teacher: Teacher) -> Loss:
    """The loss of any objective; one without a teacher has no use for it."""
    if isinstance(objective, Taught):
        return functools.partial(objective.taught_loss, teacher)
    return objective.loss


def first_means(objective: Objective) -> dict[str, jax.Array]:
    """``Taught.first_means``, of which an objective without a teacher has none."""
    return objective.first_means() if isinstance(objective, Taught) else {}
