"""A training: opens, makes or restores what it needs, then runs the loop of ``stepping.py``."""

import contextlib
import functools
import os
import sys
from pathlib import Path
from typing import Any

import jax

from ichformer.errors import Stopped, fixable
from ichformer.files.lease import Lease, hold
from ichformer.files.writing import check_utf8, shown, write_text
from ichformer.objectives.base import Objective, Params, needs_whole_batch, wants_lesions
from ichformer.pipeline.preparation.config import RECIPE_VERSION, PrepareConfig
from ichformer.pipeline.store.records import Store
from ichformer.process.said import say_once
from ichformer.training.assembled import batches_of, checked_objective, compiled_step, with_known_parameters
from ichformer.training.build import Given, check_contract
from ichformer.training.checkpoints.checkpoint import Checkpoints
from ichformer.training.config import TrainConfig
from ichformer.training.config.changed import changed_settings
from ichformer.training.few_patients import training_scans
from ichformer.training.labels import format_labels, write_labels
from ichformer.training.monitoring.clock import Clock
from ichformer.training.monitoring.memory_need import with_memory_told
from ichformer.training.monitoring.probing import Probing
from ichformer.training.monitoring.writers import JsonLines, TensorBoard, WeightsAndBiases, Writer
from ichformer.training.recovery.resume import check_same_scans, hash_scans
from ichformer.training.runs.contract import CONTRACT_FACT, SCANS_FACT, new_contract
from ichformer.training.runs.label_set import label_facts
from ichformer.training.runs.needs import NEEDS_FACT, check_same_needs, needs_of
from ichformer.training.runs.opening.run_folder import run_folder
from ichformer.training.runs.outputs import TRAINED_NAME
from ichformer.training.runs.run import initial_state, note_scans, read_facts, seen_scans, start_run
from ichformer.training.sharding.hosts import join_hosts, on_first_host
from ichformer.training.sharding.parallel import (
    check_batch_size,
    create_sharded,
    make_mesh,
    place,
    scans_at_once,
    shard_batch,
)
from ichformer.training.signals import catch_signals
from ichformer.training.state import TrainState, parameter_table
from ichformer.training.stepping import run_steps
from ichformer.training.transfer import (
    earlier_stages,
    pretrained_facts,
    reached_outputs,
    with_start,
)
from ichformer.training.validation import Validation


def run_training(
    config: TrainConfig, run: str | os.PathLike[str], *, given: Given = Given(), progress: bool = True
) -> dict[str, float]:
    """Trains into the folder ``run``, or goes on where an earlier process left off.

    Batch k follows from the seed and k alone, so a checkpoint of step k is followed by batch k on any number of
    devices, hosts and workers, and a process that is killed anywhere and started again computes what an undisturbed one
    would have.

    Several hosts (``training.hosts``) each call this with the same arguments and a folder that they share.

    One training at a time works in the folder (``lease``).

    Args:
      config: the settings.
      run: the folder to make or to go on with.
      given: objects in place of what the settings name.
      progress: a bar with an ETA on standard error, and before it what is known of the labels.

    Returns:
      The last metrics that were written.

    Raises:
      InputError: a store, a setting or a folder that does not fit; another training that works in the folder, also one
        that took it over while this one was suspended; updates that fail again after going back; a disk that is full or
        may not be written to.
      Stopped: by SIGTERM, with everything saved.
      KeyboardInterrupt: by Ctrl-C, with everything saved; by the second, at once.
    """
    run = Path(run)
    check_utf8(run)
    join_hosts(config.parallel)
    clock = Clock()
    with fixable(run), catch_signals() as is_told_to_stop, contextlib.ExitStack() as opened:
        with clock.on("start"):
            store = training_scans(Store.open(config.data.store), config.data)
            mesh = make_mesh(config.parallel)
            check_batch_size(config.data.batch_size, mesh, accumulate=config.parallel.accumulate)
            told = changed_settings(config)
            config = with_start(config, run)
            objective, known = checked_objective(config, given, store)
            prepared = PrepareConfig(**store.config)
            probing = Probing(config, objective, store, mesh, run)
            init = functools.partial(initial_state, objective, config, prepared.size)
            shapes = jax.eval_shape(init)  # refuses what does not go with the model before there is a folder
            check_contract(objective, shapes.params, prepared.size)
            held: list[Lease] = []  # empty on all hosts but the first
            wait = is_told_to_stop if jax.process_count() == 1 else lambda: False
            on_first_host(lambda: held.append(opened.enter_context(hold(run, what="training", is_told_to_stop=wait))))
            on_first_host(functools.partial(_start, config, given, run, store, prepared, objective, shapes.params))
            if progress and jax.process_index() == 0:
                print(f"settings: {' '.join(told)}", file=sys.stderr)  # noqa: T201
            if known is not None and jax.process_index() == 0:
                write_labels(known, objective, run)
                if progress:
                    print(format_labels(known, objective), file=sys.stderr)  # noqa: T201
            if progress and probing.scans is not None and jax.process_index() == 0:
                print(probing.scans, file=sys.stderr)  # noqa: T201
            checkpoints = Checkpoints(run / "checkpoints", every=config.checkpoint_every, keep=config.keep_checkpoints)
            opened.callback(checkpoints.close)
            state = create_sharded(init, mesh)
            if checkpoints.latest_step is None:
                state = place(with_known_parameters(state, config, given, store, objective), mesh)
            else:
                state = checkpoints.restore(state)
            first = int(state.step)
            batches = batches_of(config, given, store, start=first, lesions=wants_lesions(objective))
            opened.callback(batches.close)
            step = with_memory_told(
                compiled_step(config, objective, state, mesh),
                config,
                scans_at_once=scans_at_once(config.data.batch_size, mesh, accumulate=config.parallel.accumulate),
                whole=needs_whole_batch(objective),
                progress=progress,
            )
            validation = Validation(config, objective, store, mesh)
            _confirm(held)
            writers = _writers(config, run, first, state)
            for writer in writers:
                opened.callback(writer.close)
        if is_told_to_stop() and first < config.steps:
            raise Stopped(f"stopped before step {first + 1} of {config.steps}; the same command goes on")
        return run_steps(
            step,
            state,
            batches,
            config=config,
            run=run,
            place=lambda batch: shard_batch(batch, mesh),
            checkpoints=checkpoints,
            validation=validation,
            probing=probing,
            writers=writers,
            clock=clock,
            confirm=functools.partial(_confirm, held),
            is_told_to_stop=is_told_to_stop,
            progress=progress,
        )


def _confirm(held: list[Lease]) -> None:
    for lease in held:
        lease.confirm()


def _start(
    config: TrainConfig,
    given: Given,
    run: Path,
    store: Store,
    prepared: PrepareConfig,
    objective: Objective,
    shapes: Params,
) -> None:
    facts: dict[str, Any] = {}
    needs = needs_of(config, given, store.index["cohort"])
    if store.recipe != RECIPE_VERSION:
        say_once(
            f"{shown(store.path)} was prepared by recipe {store.recipe or 'unknown'}, and new scans are prepared by "
            f"recipe {RECIPE_VERSION}: a run of this store may not score them. Prepare it again with the same command"
        )
    if not (run / "config.json").exists():
        reached = reached_outputs(config, objective, shapes, size=prepared.size, given=given)
        facts = {TRAINED_NAME: None if reached is None else reached.to_json(), **pretrained_facts(config.model)}
        scans_sha256 = hash_scans(store, config.data.split)
        facts |= {**label_facts(objective), SCANS_FACT: scans_sha256, NEEDS_FACT: needs}
        contract = new_contract(
            objective,
            config.objective.name,
            store,
            split=config.data.split,
            scans_sha256=scans_sha256,
            before=earlier_stages(config, store),
        )
        facts[CONTRACT_FACT] = contract.to_json()
    start_run(run, config, prepared, **facts)
    kept = read_facts(run / "run.json")
    check_same_needs(kept, needs, where=run)
    check_same_scans(kept, prepared, store, config.data.split, run=run)
    note_scans(run, store.index.iloc[store.rows(config.data.split)])
    if config.init_from and (earlier := seen_scans(run_folder(config.init_from))) is not None:
        note_scans(run, earlier)


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
