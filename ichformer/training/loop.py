"""The training loop. It knows batches, a step, checkpoints and writers, and nothing of what is optimised."""

import functools
import math
import sys
import time
from pathlib import Path

import jax
from tqdm import tqdm

from ichformer.errors import InputError
from ichformer.objectives.base import Objective
from ichformer.pipeline.loader import training_batches
from ichformer.pipeline.prepare import PrepareConfig
from ichformer.pipeline.records import Store
from ichformer.training.build import build_objective
from ichformer.training.checkpoint import Checkpoints
from ichformer.training.config import TrainConfig
from ichformer.training.hosts import join_hosts, lost_host, on_first_host
from ichformer.training.optim import build_optimizer, learning_rate
from ichformer.training.parallel import (
    check_batch_size,
    compile_step,
    create_sharded,
    make_mesh,
    place,
    shard_batch,
)
from ichformer.training.run import initial_state, note_scans, seen_scans, start_run
from ichformer.training.state import TrainState
from ichformer.training.step import train_step
from ichformer.training.transfer import transfer_params
from ichformer.training.writers import JsonLines, TensorBoard, WeightsAndBiases, Writer


def train(config: TrainConfig, run: Path, *, progress: bool = True) -> dict[str, float]:
    """Trains into the folder ``run``, or goes on where an earlier process left off.

    The order is part of the contract: take a batch, step, write, save. Batch k follows from the seed and k alone, so a
    checkpoint of step k is followed by batch k on any number of devices, hosts and workers, and a process that is
    killed anywhere and started again computes what an undisturbed one would have.

    Several hosts (``training.hosts``) each call this with the same arguments and a folder that they share.

    Args:
      config: what to do.
      run: the folder to make or to go on with.
      progress: a bar with an ETA on standard error.

    Returns:
      The last metrics that were written.

    Raises:
      InputError: a store, a setting or a folder that does not fit; a loss that is no number.
    """
    join_hosts(config.parallel)
    store = Store.open(config.data.store)
    mesh = make_mesh(config.parallel)
    check_batch_size(config.data.batch_size, mesh, accumulate=config.parallel.accumulate)
    objective = build_objective(config)
    prepared = PrepareConfig(**store.config)
    on_first_host(functools.partial(_start, config, run, store, prepared))
    checkpoints = Checkpoints(run / "checkpoints", every=config.checkpoint_every, keep=config.keep_checkpoints)
    state = _first_state(config, objective, prepared.size, mesh)
    if checkpoints.latest_step is not None:
        state = checkpoints.restore(state)
    first = int(state.step)
    batches = training_batches(
        store,
        split=config.data.split,
        seed=config.seed,
        batch_size=config.data.batch_size,
        num_slices=config.data.num_slices,
        augmentation=config.data.augmentation,
        num_workers=config.data.num_workers,
        start=first,
        host=jax.process_index(),
        hosts=jax.process_count(),
    )
    step = compile_step(
        functools.partial(
            train_step,
            objective=objective,
            optimizer=build_optimizer(config.optim, config.steps),
            ema_decay=config.ema_decay,
            accumulate=config.parallel.accumulate,
        ),
        state,
        mesh,
        mode=config.parallel.mode,
    )
    rng = jax.random.key(config.seed + 1)
    rate = learning_rate(config.optim, config.steps)
    writers = _writers(config, run, first)
    written: dict[str, float] = {}
    bar = tqdm(
        total=config.steps,
        initial=first,
        desc="train",
        unit="step",
        disable=not progress or jax.process_index() != 0,
        file=sys.stderr,
        mininterval=1,
    )
    try:
        clock, last = time.perf_counter(), first
        for done in range(first + 1, config.steps + 1):
            batch = shard_batch(next(batches), mesh)
            state, metrics = step(state, batch, rng)
            if done % config.log_every == 0 or done == config.steps:
                # The only place that waits for the device.
                written = {name: float(value) for name, value in jax.device_get(metrics).items()}
                now = time.perf_counter()
                written["learning_rate"] = float(rate(done - 1))
                written["scans_per_s"] = (done - last) * config.data.batch_size / (now - clock)
                clock, last = now, done
                if not math.isfinite(written["loss"]):
                    raise InputError(
                        f"the loss is {written['loss']} at step {done}",
                        where=run,
                        mend="lower --optim.learning-rate or --optim.clip-norm and train into a new folder",
                    )
                for writer in writers:
                    writer.write(done, written)
                bar.set_postfix_str(f"loss {written['loss']:.4f}, {written['scans_per_s']:.1f} scans/s", refresh=False)
            bar.update()
            checkpoints.save(done, state, force=done == config.steps)
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() > 1:
            raise lost_host(error, step=done) from error
        raise
    finally:
        bar.close()
        for writer in writers:
            writer.close()
        checkpoints.close()
        batches.close()
    return written


def _start(config: TrainConfig, run: Path, store: Store, prepared: PrepareConfig) -> None:
    start_run(run, config, prepared)
    note_scans(run, store.index.iloc[store.rows(config.data.split)])
    if config.init_from and (earlier := seen_scans(Path(config.init_from))) is not None:
        note_scans(run, earlier)


def _first_state(config: TrainConfig, objective: Objective, size: int, mesh: jax.sharding.Mesh) -> TrainState:
    state = create_sharded(functools.partial(initial_state, objective, config, size), mesh)
    if config.init_from:
        state = place(transfer_params(state, Path(config.init_from)), mesh)
    return state


def _writers(config: TrainConfig, run: Path, first: int) -> list[Writer]:
    if jax.process_index() != 0:
        return []
    writers: list[Writer] = [
        JsonLines(run / "metrics.jsonl", resumed_step=first),
        TensorBoard(run / "tensorboard", resumed_step=first),
    ]
    if config.wandb_project:
        writers.append(WeightsAndBiases(config.wandb_project, run))
    return writers
