"""The time that the training loop adds to its steps: with an empty step, and with that of a model."""

import dataclasses
import functools
import itertools
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pandas as pd

from ichformer.bench.train import noise_batch
from ichformer.errors import InputError
from ichformer.objectives.base import Objective
from ichformer.pipeline.batch import Batch
from ichformer.pipeline.store.records import Store
from ichformer.training.assembled import compiled_step
from ichformer.training.build import build_objective
from ichformer.training.checkpoints.checkpoint import Checkpoints
from ichformer.training.config import DataConfig, ModelConfig, TrainConfig
from ichformer.training.monitoring.clock import Clock
from ichformer.training.monitoring.probing import Probing
from ichformer.training.monitoring.writers import JsonLines, TensorBoard
from ichformer.training.runs.run import initial_state
from ichformer.training.sharding.parallel import check_batch_size, compile_step, create_sharded, make_mesh, shard_batch
from ichformer.training.state import TrainState, create_state
from ichformer.training.stepping import Step, run_steps
from ichformer.training.validation import Validation

_IDLE_STEPS = 2000


def bench_loop(
    model: str, *, batch_size: int = 8, num_slices: int = 8, size: int = 64, steps: int = 20, rounds: int = 20
) -> dict[str, Any]:
    """Time ``training.stepping.run_steps`` as ``ichformer train`` runs it, on batches that are read already.

    Metrics are written every 10 steps (``TrainConfig.log_every``), and nothing is saved in the time that counts. The
    step that does nothing gets scans of one slice of 8 x 8 pixels, so that next to no time goes into copying them.

    Args:
      model: a name of ``ichformer models``.
      batch_size: scans a step, over all devices.
      num_slices: slices a scan.
      size: rows and columns of a slice.
      steps: of the model in a round, alone and in the loop.
      rounds: how often the two take turns; short ones, as other work on the machine comes and goes.

    Returns:
      "idle_steps_per_s", steps that do nothing; "bare_ms" and "loop_ms", the median step of the model alone, on one
      batch that is on the device, and in the loop, which places each; "overhead", the median over the rounds of what
      the loop adds, as a part of the step, and the quartiles in "overhead_quartiles"; and the settings.

    Raises:
      InputError: no such model, too small a number, or scans that devices cannot share evenly.
    """
    counts = {"batch_size": batch_size, "num_slices": num_slices, "size": size, "steps": steps, "rounds": rounds}
    for name, value in counts.items():
        least = {"steps": 20, "rounds": 2}.get(name, 1)
        if value < least:
            raise InputError(f"found {value}", where=f"--{name}".replace("_", "-"), fix=f"give {least} or more")
    config = TrainConfig(
        data=DataConfig(store="", batch_size=batch_size, num_slices=num_slices),
        model=ModelConfig(name=model),
        steps=steps,
        checkpoint_every=steps,
    )
    objective, mesh = build_objective(config), make_mesh(config.parallel)
    check_batch_size(batch_size, mesh)
    timed = functools.partial(_time_loop, objective=objective, mesh=mesh)

    nothing = create_sharded(lambda: create_state({"kernel": jnp.zeros(1)}, optax.sgd(0.0), ema=False), mesh)
    idle_s = timed(
        compile_step(_do_nothing, nothing, mesh),
        nothing,
        noise_batch(batch_size, 1, 8),
        config=dataclasses.replace(config, steps=_IDLE_STEPS, checkpoint_every=_IDLE_STEPS),
    )

    batch = noise_batch(batch_size, num_slices, size)
    state = create_sharded(functools.partial(initial_state, objective, config, size), mesh)
    step = compiled_step(config, objective, state, mesh)
    bare_s, loop_s = [], []
    _time_bare(step, state, shard_batch(batch, mesh), config)  # compiles
    for _ in range(rounds):
        bare_s.append(_time_bare(step, state, shard_batch(batch, mesh), config))
        loop_s.append(timed(step, state, batch, config=config))
    overheads = [loop / bare - 1 for bare, loop in zip(bare_s, loop_s, strict=True)]
    return {
        "model": model,
        "idle_steps_per_s": 1 / idle_s,
        "bare_ms": 1e3 * statistics.median(bare_s),
        "loop_ms": 1e3 * statistics.median(loop_s),
        "overhead": statistics.median(overheads),
        "overhead_quartiles": statistics.quantiles(overheads, n=4)[::2],
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        **counts,
    }


def _do_nothing(
    state: TrainState, batch: Batch, rng: jax.Array, *, places: jax.Array
) -> tuple[TrainState, dict[str, jax.Array]]:
    del batch, rng, places
    metrics = {"loss": jnp.zeros(()), "grad_norm": jnp.zeros(()), "bad_in_a_row": state.guard.bad_in_a_row}
    return dataclasses.replace(state, step=state.step + 1), metrics


class _Ticks:
    """A writer that notes when metrics come: there alone the loop waits for the device."""

    def __init__(self) -> None:
        self.at_s: list[float] = []

    def write(self, step: int, metrics: dict[str, float]) -> None:  # noqa: ARG002 - a Writer
        """Note the time."""
        self.at_s.append(time.perf_counter())

    def show(self, step: int, name: str, png: bytes) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing is open."""

    def step_s(self, every: int) -> float:
        """The median step; the first ones, compiled or not yet under way, do not count."""
        return statistics.median(b - a for a, b in itertools.pairwise(self.at_s)) / every


def _time_loop(
    step: Step, state: TrainState, batch: Batch, *, config: TrainConfig, objective: Objective, mesh: jax.sharding.Mesh
) -> float:
    """Seconds a step of a whole run in a folder that is then thrown away."""
    ticks, no_scans = _Ticks(), Store(path=Path(), config={}, index=pd.DataFrame())
    with tempfile.TemporaryDirectory(prefix="ichformer-bench-") as folder:
        run = Path(folder)
        checkpoints = Checkpoints(run / "checkpoints", every=config.checkpoint_every, keep=1)
        try:
            run_steps(
                step,
                jax.tree.map(jnp.copy, state),
                itertools.repeat(batch),
                config=config,
                run=run,
                place=lambda batch: shard_batch(batch, mesh),
                checkpoints=checkpoints,
                validation=Validation(config, objective, no_scans, mesh),
                probing=Probing(config, objective, no_scans, mesh, run),
                writers=[
                    JsonLines(run / "metrics.jsonl", resumed_step=0),
                    TensorBoard(run / "tensorboard", resumed_step=0),
                    ticks,
                ],
                clock=Clock(),
                confirm=lambda: None,
                is_told_to_stop=lambda: False,
                progress=True,
            )
        finally:
            checkpoints.close()
    return ticks.step_s(config.log_every)


def _time_bare(step: Step, state: TrainState, batch: Batch, config: TrainConfig) -> float:
    """Seconds a step with nothing around it, waiting for the device as often as the loop does."""
    state, rng, ticks = jax.tree.map(jnp.copy, state), jax.random.key(0), _Ticks()
    for done in range(1, config.steps + 1):
        state, metrics = step(state, batch, rng)
        if done % config.log_every == 0:
            jax.block_until_ready(metrics)
            ticks.write(done, {})
    return ticks.step_s(config.log_every)


def format_loop(found: dict[str, Any]) -> str:
    """Three lines for people."""
    low, high = found["overhead_quartiles"]
    return (
        f"{found['idle_steps_per_s']:.0f} steps/s that do nothing, on {found['devices']} x {found['device']}\n"
        f"{found['model']}, {found['batch_size']} scans of {found['num_slices']} slices of {found['size']} x "
        f"{found['size']}: {found['bare_ms']:.2f} ms a step alone, {found['loop_ms']:.2f} ms in the loop\n"
        f"the loop adds {found['overhead']:.1%} (median of {found['rounds']} rounds; quartiles {low:.1%}, {high:.1%})"
    )
