"""One run whose process is killed again and again, wherever it happens to be, is the run that nobody touched."""

import dataclasses
import itertools
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from ichformer.cohorts.registry import COHORTS
from ichformer.testing import tiny_cohort
from ichformer.training.build import build_objective
from ichformer.training.checkpoints.checkpoint import Checkpoints
from ichformer.training.config import DataConfig, ModelConfig, OptimConfig, TrainConfig, read_config
from ichformer.training.runs.run import initial_state, read_prepare
from ichformer.training.state import TrainState
from tests.processes import with_one_device
from tests.stores import prepare_here

SCANS, BATCH_SIZE = 12, 4

# Trains as the command line does; the number and the rows of every batch that is taken go into a file.
TRAIN = """
import sys
from pathlib import Path
from ichformer.training import assembled, trainer
from ichformer.training.config import read_config

rows, training_batches = open(sys.argv[3], "w"), assembled.training_batches

class Noted:
    def __init__(self, *args, start, **kwargs):
        self.batches, self.number = training_batches(*args, start=start, **kwargs), start

    def __next__(self):
        batch = next(self.batches)
        self.number += 1
        print(self.number, *batch.row, file=rows, flush=True)
        return batch

    def close(self):
        self.batches.close()

assembled.training_batches = Noted
trainer.run_training(read_config(Path(sys.argv[1])), Path(sys.argv[2]), progress=False)
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    folder = tmp_path_factory.mktemp("store")
    index = COHORTS["phantom"](tiny_cohort(folder / "cohort", scans=SCANS), cache=folder / "cache")
    prepare_here(index.assign(split="train"), folder / "store")
    return TrainConfig(
        data=DataConfig(store=str(folder / "store"), batch_size=BATCH_SIZE, num_slices=4),
        model=ModelConfig(name="slice_vit_nano", dropout=0.1),
        optim=OptimConfig(warmup_steps=1),
        log_every=1,
        checkpoint_every=3,
    )


def batches(file: Path) -> list[tuple[int, tuple[int, ...]]]:
    """Number and rows of each batch that a process took; a line that it could not finish does not count."""
    text = file.read_text() if file.exists() else ""
    lines = [[int(word) for word in line.split()] for line in text.split("\n")[:-1]]
    return [(number, tuple(rows)) for number, *rows in lines]


def metrics(run: Path) -> list[dict[str, float]]:
    """The lines of metrics, without those that are a clock's."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{k: v for k, v in line.items() if k not in ("scans_per_s", "goodput", "input_bound")} for line in lines]


def last_state(run: Path) -> TrainState:
    """All of it: parameters, average, optimiser and guard."""
    config = read_config(run / "config.json")
    shapes = jax.eval_shape(lambda: initial_state(build_objective(config), config, read_prepare(run).size))
    checkpoints = Checkpoints(run / "checkpoints", every=1, keep=1)
    try:
        return checkpoints.restore(shapes)
    finally:
        checkpoints.close()


@pytest.mark.parametrize(
    ("kills", "at_the_start", "steps"),
    [
        pytest.param(3, 0, 18, marks=pytest.mark.slow(minutes=1)),
        pytest.param(20, 6, 120, marks=pytest.mark.full(minutes=4)),
    ],
)
def test_a_run_that_is_killed_again_and_again_is_the_run_that_was_not(config, tmp_path, kills, at_the_start, steps):
    config = dataclasses.replace(config, steps=steps)
    seed = time.time_ns() % 2**32
    chance = random.Random(seed)
    print(f"seed {seed}")
    told = tmp_path / "told.json"
    told.write_text(config.to_json(), encoding="utf-8")
    # One device, and a cache of compiled steps of its own: a process that is killed may leave half a file in it.
    cache = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    environment = with_one_device(**cache)

    def start(run: Path, name: str) -> subprocess.Popen:
        return subprocess.Popen([sys.executable, "-c", TRAIN, told, run, tmp_path / name], env=environment)

    def finish(run: Path, name: str) -> list[tuple[int, tuple[int, ...]]]:
        with start(run, name) as process:
            assert process.wait(timeout=600) == 0
        return batches(tmp_path / name)

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    wanted = finish(whole, "undisturbed")
    assert [number for number, _ in wanted] == list(range(1, steps + 1))
    epoch = SCANS // BATCH_SIZE
    for first in range(0, steps, epoch):
        assert sorted(row for _, rows in wanted[first : first + epoch] for row in rows) == list(range(SCANS))

    # Some at any moment of the start, from importing to compiling; the others from a step on that is drawn, one in each
    # of equal parts of the run. As often as not that is while the last checkpoint is being written. The last quarter of
    # the steps is left to the process that may end.
    bounds = np.linspace(2, steps * 3 // 4, kills - at_the_start + 1).astype(int).tolist()
    targets = [chance.randrange(first, last) for first, last in itertools.pairwise(bounds)]
    plan: list[int | None] = [None] * kills
    for position, target in zip(sorted(chance.sample(range(kills), len(targets))), targets, strict=True):
        plan[position] = target
    started_s = 6.0
    taken, saving = [], 0
    for attempt, target in enumerate(plan):
        name = f"attempt{attempt}"
        with start(killed, name) as process:
            began = time.monotonic()
            while target is not None and not any(number > target for number, _ in batches(tmp_path / name)[-1:]):
                assert process.poll() is None
                assert time.monotonic() < began + 600
                time.sleep(0.002)
            if target is None:
                # However fast this start is beside the last one, it must not come far.
                latest = began + chance.uniform(0.5, started_s)
                while time.monotonic() < latest and len(batches(tmp_path / name)) < 5:
                    time.sleep(0.01)
            else:
                started_s = time.monotonic() - began
                time.sleep(chance.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        saving += any((killed / "checkpoints").glob("*tmp*"))
        taken.append(batches(tmp_path / name))
        print(f"kill {attempt + 1} at {'the start' if target is None else target}: {len(taken[-1])} batches taken")
    taken.append(finish(killed, "last"))
    print(f"{saving} of {kills} left a checkpoint half-written")

    # What was computed and lost is computed again from the same batches; what counts is each exactly once.
    counted: list[tuple[int, tuple[int, ...]]] = []
    for part in filter(None, taken):
        assert part[0][0] <= len(counted) + 1
        counted = counted[: part[0][0] - 1] + part
        assert counted == wanted[: len(counted)]
    assert len(counted) == steps
    ends = [part[-1][0] for part in taken[:-1] if part]
    assert len(set(ends)) >= len(targets) // 2
    assert max(ends) > steps // 2
    if kills >= 20:  # of a few kills it may be that none met a checkpoint being written
        assert saving > 0

    assert metrics(killed) == metrics(whole)
    found, undisturbed = last_state(killed), last_state(whole)
    assert int(found.step) == steps
    jax.tree.map(np.testing.assert_array_equal, found, undisturbed)
