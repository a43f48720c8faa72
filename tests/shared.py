"""One tiny store and one tiny run for all tests: made once a session, whichever worker asks first."""

import dataclasses
import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ichformer.cohorts.registry import COHORTS
from ichformer.cohorts.splits import hold_out_site
from ichformer.testing import tiny_cohort
from ichformer.training.config import DataConfig, ModelConfig, OptimConfig, ParallelConfig, TrainConfig
from ichformer.workflows.train_run import train_and_freeze
from tests.stores import prepare_here


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """The folder ``name`` of this session. The first worker to ask makes it, and the others wait for it."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # a worker's own folder lies in the one of the session
    folder, done = base / name, base / f"{name}.done"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # let go where the worker that holds it dies
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


def make_tiny_store(folder: Path) -> None:
    """16 scans of two sites: one is held out as "test", the other is shared by "train" and "val"."""
    index = COHORTS["phantom"](tiny_cohort(folder / "cohort", scans=16), cache=folder / "cache")
    prepare_here(hold_out_site(index, site="tiny-b", seed=0, val_fraction=0.4), folder / "store")


def tiny_training(store: Path) -> TrainConfig:
    """Five steps on one device, with everything that a run can leave: each step is logged and saved."""
    return TrainConfig(
        data=DataConfig(store=str(store), batch_size=2, num_slices=4),
        model=ModelConfig(name="slice_vit_nano"),
        optim=OptimConfig(warmup_steps=1),
        parallel=ParallelConfig(data=1),
        steps=5,
        log_every=1,
        checkpoint_every=1,
        keep_checkpoints=3,
        evaluate_every=2,
    )


def make_tiny_run(store: Path, folder: Path) -> None:
    """``tiny_training`` with a trace of its third step."""
    train_and_freeze(dataclasses.replace(tiny_training(store), profile=(2, 3)), folder / "run", progress=False)
