"""The training loop. It knows batches, a step, checkpoints and writers, and nothing of what is optimised."""

import contextlib
import functools
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import grain
import jax
from tqdm import tqdm

from ichformer.errors import Stopped
from ichformer.files import write_text
from ichformer.objectives.base import Objective
from ichformer.pipeline.batch import Batch
from ichformer.pipeline.loader import training_batches
from ichformer.pipeline.prepare import PrepareConfig
from ichformer.pipeline.records import Store
from ichformer.training.build import build_objective
from ichformer.training.checkpoint import Checkpoints
from ichformer.training.clock import Clock
from ichformer.training.config import TrainConfig
from ichformer.training.hosts import join_hosts, leave, on_first_host
from ichformer.training.optim import build_optimizer, learning_rate
from ichformer.training.parallel import (
    check_batch_size,
    compile_step,
    create_sharded,
    make_mesh,
    place,
    shard_batch,
)
from ichformer.training.profile import Profile
from ichformer.training.retreat import Retreat
from ichformer.training.run import initial_state, note_scans, seen_scans, start_run
from ichformer.training.state import TrainState, parameter_table
from ichformer.training.step import train_step
from ichformer.training.stop import heed_sigterm
from ichformer.training.transfer import pretrained_facts, transfer_params, transfer_pretrained, with_layout
from ichformer.training.validation import Look
from ichformer.training.writers import JsonLines, TensorBoard, WeightsAndBiases, Writer


def train(config: TrainConfig, run: Path, *, progress: bool = True) -> dict[str, float]:
    """Trains into the folder ``run``, or goes on where an earlier process left off.

    The order is part of the contract: step, take the next batch while the device computes, judge, write, save. Batch k
    follows from the seed and k alone, so a checkpoint of step k is followed by batch k on any number of devices, hosts
    and workers, and a process that is killed anywhere and started again computes what an undisturbed one would have.

    Several hosts (``training.hosts``) each call this with the same arguments and a folder that they share.

    Args:
      config: what to do.
      run: the folder to make or to go on with.
      progress: a bar with an ETA on standard error.

    Returns:
      The last metrics that were written.

    Raises:
      InputError: a store, a setting or a folder that does not fit; updates that fail again after going back.
      Stopped: by SIGTERM, with everything saved.
    """
    join_hosts(config.parallel)
    clock = Clock()
    with clock.on("start"):
        store = Store.open(config.data.store)
        mesh = make_mesh(config.parallel)
        check_batch_size(config.data.batch_size, mesh, accumulate=config.parallel.accumulate)
        config = with_layout(config, run)
        objective = build_objective(config)
        prepared = PrepareConfig(**store.config)
        on_first_host(functools.partial(_start, config, run, store, prepared))
        checkpoints = Checkpoints(run / "checkpoints", every=config.checkpoint_every, keep=config.keep_checkpoints)
        state = create_sharded(functools.partial(initial_state, objective, config, prepared.size), mesh)
        if checkpoints.latest_step is None:
            state = _with_start(state, config, mesh)
        else:
            state = checkpoints.restore(state)
        first = int(state.step)
        batches = _batches(config, store, start=first)
        step = _compile(config, objective, state, mesh)
        look = Look(config, objective, store, mesh)
        writers = _writers(config, run, first, state)
        rate = learning_rate(config.optim, config.steps)
    rng = jax.random.key(config.seed + 1)
    written: dict[str, float] = {}
    retreat = Retreat(run, checkpoints, max_bad_steps=config.max_bad_steps)
    done = last = first
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
        with heed_sigterm() as stop_after, Profile(run / "profile", config.profile) as profile:
            steps = 0 if look.is_over(checkpoints.best_step, first) else config.steps
            if first < steps:
                batch = _next(batches, mesh, clock)
            for done in range(first + 1, steps + 1):
                profile.before(done)
                with clock.on("start") if done == first + 1 else contextlib.nullcontext():
                    state, metrics = step(state, batch, rng)
                if done < steps:
                    batch = _next(batches, mesh, clock)
                profile.after(done, state)
                judged: dict[str, float] = {}
                if look.is_due(done):
                    with clock.on("evaluation"):
                        judged = look(state)
                if judged or done % config.log_every == 0 or done == steps:
                    # Here alone the host waits for the device.
                    written = {name: float(value) for name, value in jax.device_get(metrics).items()} | judged
                    seconds, shares = clock.mark()
                    written |= {"learning_rate": float(rate(done - 1)), **shares}
                    written["scans_per_s"] = (done - last) * config.data.batch_size / seconds
                    last = done
                    for writer in writers:
                        writer.write(done, {name: value for name, value in written.items() if math.isfinite(value)})
                    bar.set_postfix_str(
                        f"loss {written['loss']:.4f}, {written['scans_per_s']:.1f} scans/s", refresh=False
                    )
                    state = retreat(state, done, int(written["bad_in_a_row"]))
                bar.update()
                stopping = stop_after(done)
                with clock.on("saving"):
                    checkpoints.save(done, state, metrics=judged or None, force=stopping or done == steps)
                if stopping and done < steps:
                    checkpoints.close()
                    raise Stopped(f"stopped after step {done} of {steps}; all is saved, the same command goes on")
                if judged and look.is_over(checkpoints.best_step, done):
                    bar.write(f"no smaller loss on val since step {checkpoints.best_step}: done", file=sys.stderr)
                    break
    except Stopped:
        raise  # all hosts stop after the same step
    except Exception as error:
        if jax.process_count() > 1:
            leave(error, step=done)
        raise
    finally:
        bar.close()
        for writer in writers:
            writer.close()
        checkpoints.close()
        batches.close()
    return written


def _next(batches: Iterator[Batch], mesh: jax.sharding.Mesh, clock: Clock) -> Batch:
    with clock.on("input"):
        return shard_batch(next(batches), mesh)


def _batches(config: TrainConfig, store: Store, *, start: int) -> grain.DatasetIterator:
    return training_batches(
        store,
        split=config.data.split,
        seed=config.seed,
        batch_size=config.data.batch_size,
        num_slices=config.data.num_slices,
        augmentation=config.data.augmentation,
        num_workers=config.data.num_workers,
        start=start,
        host=jax.process_index(),
        hosts=jax.process_count(),
    )


def _compile(
    config: TrainConfig, objective: Objective, state: TrainState, mesh: jax.sharding.Mesh
) -> Callable[[TrainState, Batch, jax.Array], tuple[TrainState, dict[str, jax.Array]]]:
    step = functools.partial(
        train_step,
        objective=objective,
        optimizer=build_optimizer(config.optim, config.steps),
        ema_decay=config.ema_decay,
        spike_factor=config.spike_factor,
        accumulate=config.parallel.accumulate,
    )
    return compile_step(step, state, mesh, mode=config.parallel.mode)


def _start(config: TrainConfig, run: Path, store: Store, prepared: PrepareConfig) -> None:
    facts = {} if (run / "config.json").exists() else pretrained_facts(config.model)
    start_run(run, config, prepared, **facts)
    note_scans(run, store.index.iloc[store.rows(config.data.split)])
    if config.init_from and (earlier := seen_scans(Path(config.init_from))) is not None:
        note_scans(run, earlier)


def _with_start(state: TrainState, config: TrainConfig, mesh: jax.sharding.Mesh) -> TrainState:
    if config.init_from:
        return place(transfer_params(state, Path(config.init_from)), mesh)
    return place(transfer_pretrained(state, config.model), mesh) if config.model.pretrained else state


def _writers(config: TrainConfig, run: Path, first: int, state: TrainState) -> list[Writer]:
    if jax.process_index() != 0:
        return []
    write_text(parameter_table(state.params), run / "parameters.txt")
    writers: list[Writer] = [
        JsonLines(run / "metrics.jsonl", resumed_step=first),
        TensorBoard(run / "tensorboard", resumed_step=first),
    ]
    if config.wandb_project:
        writers.append(WeightsAndBiases(config.wandb_project, run))
    return writers
