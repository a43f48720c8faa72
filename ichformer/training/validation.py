"""Validation during training: the loss on scans that are not trained on."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import jax

from ichformer.errors import InputError
from ichformer.models.layers.draws import scans_at
from ichformer.objectives.base import Metrics, Objective, wants_lesions
from ichformer.objectives.teacher import Teacher, loss_with
from ichformer.pipeline.batch import Batch
from ichformer.pipeline.loader import evaluation_batches
from ichformer.pipeline.store.records import Store
from ichformer.training.checkpoints.files import BEST_BY
from ichformer.training.config import TrainConfig
from ichformer.training.sharding.parallel import shard_batch
from ichformer.training.state import TrainState

SPLIT = "val"


class Validation:
    """Measures the loss on the split "val" every so many steps, and says when a run that no longer improves ends.

    Dropout is off, and each scan gets the same random numbers every time, whatever scans share its batch. So two
    validations differ by the parameters alone. The averaged parameters are taken where there are some, as they are what
    a run is used with.
    """

    def __init__(self, config: TrainConfig, objective: Objective, store: Store, mesh: jax.sharding.Mesh):
        """InputError where validation is wanted and the store has no split "val"."""
        self._every, self._patience = config.evaluate_every, config.patience_steps
        self._store, self._mesh, self._batch_size = store, mesh, config.data.batch_size // jax.process_count()
        if self._every and not (store.index["split"] == SPLIT).any():
            raise InputError(
                f"has no split {SPLIT!r}", where=store.path, fix="prepare it with one, or leave out --evaluate-every"
            )
        self._lesions = wants_lesions(objective)
        rng = jax.random.key(config.seed)

        def sums(teacher: Teacher, batch: Batch) -> tuple[jax.Array, jax.Array, Metrics]:
            with scans_at(batch.row):
                total, weight, metrics = loss_with(objective, teacher)(teacher.params, batch, rng, False)
            return total, weight, {name: pair for name, pair in metrics.items() if name not in teacher.means}

        self._sums = jax.jit(sums)

    def is_due(self, step: int) -> bool:
        """Whether validation follows this step."""
        return self._every > 0 and step % self._every == 0

    def is_over(self, best_step: int | None, step: int) -> bool:
        """Whether the loss has not fallen since ``best_step`` for as many steps as the run waits."""
        return self._patience > 0 and best_step is not None and step - best_step >= self._patience

    def __call__(self, state: TrainState, *, stopping: Callable[[], bool]) -> dict[str, float]:
        """The loss and the metrics over all scans of the split, "val_" before each name; none once ``stopping()``."""
        params = state.params if state.ema_params is None else state.ema_params
        teacher = Teacher(params=params, means=state.metric_means)
        sums: dict[str, list[Any]] = defaultdict(list)
        for batch in evaluation_batches(
            self._store,
            rows=self._store.rows(SPLIT),
            batch_size=self._batch_size,
            host=jax.process_index(),
            hosts=jax.process_count(),
            lesions=self._lesions,
        ):
            if stopping():
                return {}
            total, weight, metrics = self._sums(teacher, shard_batch(batch, self._mesh))
            sums[BEST_BY].append((total, weight))
            for name, pair in metrics.items():
                sums[f"val_{name}"].append(pair)
        return {
            name: float(sum(total for total, _ in pairs) / max(sum(weight for _, weight in pairs), 1e-6))
            for name, pairs in jax.device_get(sums).items()
        }
