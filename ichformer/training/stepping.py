"""The training loop: step, validation, probing, metrics, checkpoint.

It knows nothing of what is optimised, nor of devices.
"""

import contextlib
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax
from tqdm import tqdm

from ichformer.errors import Stopped, fixable
from ichformer.pipeline.batch import Batch
from ichformer.training.checkpoints.checkpoint import Checkpoints
from ichformer.training.config import TrainConfig
from ichformer.training.monitoring.clock import Clock
from ichformer.training.monitoring.probing import Probed, Probing
from ichformer.training.monitoring.profile import Profile
from ichformer.training.monitoring.writers import Writer
from ichformer.training.optimizer.optim import learning_rate
from ichformer.training.recovery.rollback import Rollback
from ichformer.training.sharding.hosts import leave
from ichformer.training.state import TrainState
from ichformer.training.validation import Validation

Step = Callable[[TrainState, Batch, jax.Array], tuple[TrainState, dict[str, jax.Array]]]
"""A compiled step: from state, batch and random numbers to the next state and metrics."""


def run_steps(
    step: Step,
    state: TrainState,
    batches: Iterator[Batch],
    *,
    config: TrainConfig,
    run: Path,
    place: Callable[[Batch], Batch],
    checkpoints: Checkpoints,
    validation: Validation,
    probing: Probing,
    writers: Sequence[Writer],
    clock: Clock,
    confirm: Callable[[], None],
    is_told_to_stop: Callable[[], bool],
    progress: bool,
) -> dict[str, float]:
    """Runs training steps from ``state`` on until all are done, or until validation no longer improves.

    The order is part of the contract: step, take the next batch while the device computes, validate, probe, write,
    save.

    Args:
      step: what is done with each batch; it is given the random numbers of the run.
      state: the state to start from; its memory is given up.
      batches: the batches from that step on.
      config: of the run.
      run: its folder.
      place: puts a batch where ``step`` wants it.
      checkpoints: of the run.
      validation: on the split "val", where that is due.
      probing: of features, where that is due; also before the first step.
      writers: get the metrics.
      clock: of the run.
      confirm: called before anything is written; raises where another training has the folder now (``lease``).
      is_told_to_stop: asked after every step, and during validation and probing.
      progress: a bar with an ETA on standard error.

    Returns:
      The last metrics that were written.

    Raises:
      InputError: updates that fail again after a rollback, a disk that is full, a folder that ``confirm`` refuses.
      Stopped: where ``is_told_to_stop`` said so, with everything saved.
    """
    rate = learning_rate(config.optim, config.steps)
    rng = jax.random.key(config.seed + 1)
    rollback = Rollback(run, checkpoints, max_bad_steps=config.max_bad_steps)
    written: dict[str, float] = {}
    validated: dict[str, float]
    done = last = first = int(state.step)
    bar = tqdm(
        total=config.steps,
        initial=first,
        desc="train",
        unit="step",
        disable=not progress or jax.process_index() != 0,
        file=sys.stderr,
        mininterval=1,
    )

    def next_batch() -> Batch:
        with clock.on("input"):
            return place(next(batches))

    def write(step: int, metrics: dict[str, float], probed: Probed | None = None) -> None:
        for writer in writers:
            writer.write(step, {name: value for name, value in metrics.items() if math.isfinite(value)})
        if probed is not None:
            probing.keep(step, probed, writers)
            for warning in probed.warnings if jax.process_index() == 0 else ():
                bar.write(warning, file=sys.stderr)

    try:
        with fixable(run), bar, Profile(run / "profile", config.profile) as profile:
            if first and validation.is_due(first) and not checkpoints.is_validated(first):
                # An earlier process was stopped during validation.
                with clock.on("evaluation"):
                    validated = validation(state, stopping=is_told_to_stop)
                if not validated:
                    raise Stopped(f"stopped during validation after step {first}; the same command goes on")
                confirm()
                write(first, validated)
                checkpoints.save(first, state, metrics=validated)
            if probing.is_due(first) and not probing.is_kept(first):
                with clock.on("probing"):
                    probed = probing(state, first, stopping=is_told_to_stop)
                if probed is None:
                    raise Stopped(f"stopped during probing after step {first}; the same command goes on")
                confirm()
                write(first, probed.metrics, probed)
            steps = 0 if validation.is_over(checkpoints.best_step, first) else config.steps
            if first < steps:
                batch = next_batch()
            for done in range(first + 1, steps + 1):
                profile.before(done)
                with clock.on("start") if done == first + 1 else contextlib.nullcontext():
                    state, metrics = step(state, batch, rng)
                if done < steps:
                    batch = next_batch()
                profile.after(done, state)
                validated, probed = {}, None
                if validation.is_due(done):
                    with clock.on("evaluation"):
                        validated = validation(state, stopping=is_told_to_stop)
                if probing.is_due(done):
                    with clock.on("probing"):
                        probed = probing(state, done, stopping=is_told_to_stop)
                confirm()
                if validation.is_due(done) or probing.is_due(done) or done % config.log_every == 0 or done == steps:
                    # Here alone the host waits for the device.
                    written = {name: float(value) for name, value in jax.device_get(metrics).items()} | validated
                    seconds, shares = clock.mark()
                    written |= {"learning_rate": float(rate(done - 1)), **shares}
                    written["scans_per_s"] = (done - last) * config.data.batch_size / seconds
                    last = done
                    if probed is not None:
                        written |= probed.metrics
                    write(done, written, probed)
                    bar.set_postfix_str(
                        f"loss {written['loss']:.4f}, {written['scans_per_s']:.1f} scans/s", refresh=False
                    )
                    state = rollback(state, done, int(written["bad_in_a_row"]))
                bar.update()
                stopping = is_told_to_stop()
                with clock.on("saving"):
                    checkpoints.save(done, state, metrics=validated or None, force=stopping or done == steps)
                if stopping and (
                    done < steps
                    or (validation.is_due(done) and not validated)
                    or (probing.is_due(done) and probed is None)
                ):
                    checkpoints.close()
                    raise Stopped(f"stopped after step {done} of {steps}; all is saved, the same command goes on")
                if validated and validation.is_over(checkpoints.best_step, done):
                    bar.write(f"no smaller loss on val since step {checkpoints.best_step}: done", file=sys.stderr)
                    break
    except Stopped:
        raise  # all hosts stop after the same step
    except Exception as error:
        if jax.process_count() > 1:
            leave(error, step=done)
        raise
    return written
