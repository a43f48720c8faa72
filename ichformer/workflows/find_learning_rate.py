"""A learning rate range test on a store: which ``--optim.learning-rate`` to begin with."""

import dataclasses
import functools
import sys
from pathlib import Path

import jax
import numpy as np
import pandas as pd
from tqdm import tqdm

from ichformer.errors import InputError
from ichformer.files.sets import write_set
from ichformer.objectives.base import wants_lesions
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.store.records import Store
from ichformer.reporting.training_curves import draw_range
from ichformer.training.assembled import batches_of, checked_objective, compiled_step, with_known_parameters
from ichformer.training.build import Given
from ichformer.training.config import TrainConfig
from ichformer.training.few_patients import training_scans
from ichformer.training.optimizer.optim import build_optimizer
from ichformer.training.optimizer.range_test import RangeTest, has_diverged, range_test, rising_rate
from ichformer.training.runs.run import initial_state
from ichformer.training.sharding.parallel import check_batch_size, create_sharded, make_mesh, place, shard_batch
from ichformer.training.transfer import with_start

PICTURE_NAME, TABLE_NAME = "learning_rates.png", "learning_rates.csv"


def find_learning_rate(
    config: TrainConfig,
    out: Path,
    *,
    lowest: float = 1e-6,
    highest: float = 1.0,
    steps: int = 100,
    given: Given = Given(),
    progress: bool = True,
) -> RangeTest:
    """Trains for a few steps whose learning rate rises by the same factor, until the loss diverges.

    Nothing is kept but the losses. The schedule, the warm-up of the head and the number of steps of ``config`` play no
    part; all else is as ``train`` has it.

    Args:
      config: of the training to come.
      out: folder for the losses as a table and as a picture.
      lowest, highest: learning rates of the first step and of the last one.
      steps: number of steps.
      given: objects in place of what the settings name.
      progress: a bar with an ETA on standard error.

    Returns:
      The losses and the suggested rate.

    Raises:
      InputError: rates or a number of steps that make no sense, several hosts, or what ``train`` refuses.
    """
    if not 0 < lowest < highest:
        raise InputError(f"found {lowest:g} and {highest:g}", where="--lowest, --highest", fix="give a range above 0")
    if not 20 <= steps <= 10_000:
        raise InputError(f"found {steps}", where="--try-steps", fix="give 20 to 10000")
    if jax.process_count() > 1:
        raise InputError("runs in one process", where="find-learning-rate", fix="run it on one host")
    optim = dataclasses.replace(config.optim, head_warmup_steps=0)
    config = with_start(dataclasses.replace(config, optim=optim, spike_factor=0.0), out)
    store, mesh = training_scans(Store.open(config.data.store), config.data), make_mesh(config.parallel)
    check_batch_size(config.data.batch_size, mesh, accumulate=config.parallel.accumulate)
    objective, _ = checked_objective(config, given, store)
    size = PrepareConfig(**store.config).size
    state = create_sharded(functools.partial(initial_state, objective, config, size), mesh)
    state = place(with_known_parameters(state, config, given, store, objective), mesh)
    rate = rising_rate(lowest, highest, steps)
    step = compiled_step(config, objective, state, mesh, optimizer=build_optimizer(config.optim, steps, rate=rate))
    rates, losses, rng = (
        np.asarray([float(rate(k)) for k in range(steps)]),
        np.empty(0),
        jax.random.key(config.seed + 1),
    )
    batches = batches_of(config, given, store, lesions=wants_lesions(objective))
    try:
        for _ in tqdm(range(steps), desc="learning rates", unit="step", disable=not progress, file=sys.stderr):
            state, metrics = step(state, shard_batch(next(batches), mesh), rng)
            losses = np.append(losses, float(metrics["loss"]))
            if has_diverged(losses):
                break
    finally:
        batches.close()
    found = range_test(rates[: len(losses)], losses)
    _write(found, out)
    return found


def _write(found: RangeTest, out: Path) -> None:
    table = pd.DataFrame({"learning_rate": found.rates, "loss": found.losses, "smoothed_loss": found.smooth})
    files = {
        TABLE_NAME: table.to_csv(index=False).encode(),
        PICTURE_NAME: draw_range(found.rates, found.losses, found.smooth, found.suggested),
    }
    write_set(files, out, what="learning rates")
