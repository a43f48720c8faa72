"""What the launchers' scripts start: this checkout's ``ichformer``, on a store that is read in no time."""

import os
import sys
from pathlib import Path

import pytest

from ichformer.cohorts.registry import COHORTS
from ichformer.testing import tiny_cohort
from tests.processes import with_one_device
from tests.stores import prepare_here

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A shell's environment in which ``ichformer`` is that of this checkout, on one device."""
    command = tmp_path_factory.mktemp("bin") / "ichformer"
    command.write_text(f'#!/bin/bash\nexec {sys.executable} -m ichformer "$@"\n')
    command.chmod(0o755)
    return with_one_device(PATH=f"{command.parent}:{os.environ['PATH']}", PYTHONPATH=str(ROOT))


@pytest.fixture(scope="session")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Those of ``ichformer train`` but for the number of steps and the run's folder."""
    folder = tmp_path_factory.mktemp("store")
    index = COHORTS["phantom"](tiny_cohort(folder / "cohort", scans=12), cache=folder / "cache")
    prepare_here(index.assign(split="train"), folder / "store")
    return [
        *("--data.store", str(folder / "store"), "--data.batch-size", "8", "--data.num-slices", "4"),
        *("--model.name", "slice_vit_nano"),
        *("--optim.name", "sgd", "--optim.learning-rate", "0.02", "--optim.warmup-steps", "1"),
        *("--log-every", "1", "--checkpoint-every", "50"),
    ]
