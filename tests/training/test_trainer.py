"""A run that was stopped anywhere and started again is, bit for bit, the run that was not."""

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from ichformer.cohorts.registry import COHORTS
from ichformer.errors import InputError
from ichformer.testing import tiny_cohort
from ichformer.training import trainer as loop
from ichformer.training.build import build_objective
from ichformer.training.checkpoints.checkpoint import Checkpoints
from ichformer.training.config import DataConfig, ModelConfig, OptimConfig, TrainConfig, read_config
from ichformer.training.runs.run import Run, initial_state, read_prepare
from ichformer.training.state import TrainState
from ichformer.training.trainer import run_training
from tests.stores import prepare_here


@pytest.fixture(scope="module")
def on_eight_devices(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    folder = tmp_path_factory.mktemp("store")
    index = COHORTS["phantom"](tiny_cohort(folder / "cohort", scans=8), cache=folder / "cache")
    prepare_here(index.assign(split="train"), folder / "store")
    return TrainConfig(
        data=DataConfig(store=str(folder / "store"), batch_size=8, num_slices=4),
        model=ModelConfig(name="slice_vit_nano", dropout=0.1),
        optim=OptimConfig(warmup_steps=1),
        steps=4,
        log_every=1,
        checkpoint_every=2,
    )


@pytest.fixture(scope="module")
def undisturbed(on_eight_devices: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "undisturbed"
    run_training(on_eight_devices, run, progress=False)
    return run


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    """A finished run of five steps on one device, to do with as one likes."""
    return Path(shutil.copytree(tiny_run, tmp_path / "finished"))


@pytest.fixture
def config(tiny_run: Path) -> TrainConfig:
    return read_config(tiny_run / "config.json")


def metrics(run: Path) -> list[dict[str, float]]:
    """The lines of metrics, without those that are a clock's."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    clock = ("scans_per_s", "goodput", "input_bound")
    return [{name: value for name, value in line.items() if name not in clock} for line in lines]


def best_state(run: Path) -> TrainState:
    """Of the best step where there was a validation, otherwise of the last."""
    config = read_config(run / "config.json")
    shapes = jax.eval_shape(lambda: initial_state(build_objective(config), config, read_prepare(run).size))
    checkpoints = Checkpoints(run / "checkpoints", every=1, keep=1)
    try:
        return checkpoints.restore_params(shapes)[0]
    finally:
        checkpoints.close()


def assert_same_run(found: Path, wanted: Path) -> None:
    assert metrics(found) == metrics(wanted)
    a, b = best_state(found), best_state(wanted)
    jax.tree.map(np.testing.assert_array_equal, (a.step, a.params, a.ema_params), (b.step, b.params, b.ema_params))


# At step 3 there is a checkpoint of step 2, and a line of step 3 where saving fails; at step 1 there is none yet.
@pytest.mark.parametrize(
    ("owner", "method", "stop"),
    [
        pytest.param("JsonLines", "write", 3, marks=pytest.mark.slow),
        pytest.param("Checkpoints", "save", 3, marks=pytest.mark.full),
        pytest.param("Checkpoints", "save", 1, marks=pytest.mark.full),
    ],
)
def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    on_eight_devices, undisturbed, tmp_path, monkeypatch, owner, method, stop
):
    def fails_at_stop(self, step, *args, **kwargs):
        if step == stop:
            raise OSError("no space left")
        return real(self, step, *args, **kwargs)

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        real = getattr(getattr(loop, owner), method)
        patch.setattr(getattr(loop, owner), method, fails_at_stop)
        with pytest.raises(OSError, match="no space left"):
            run_training(on_eight_devices, run, progress=False)
    run_training(on_eight_devices, run, progress=False)
    assert [line["step"] for line in metrics(run)] == [1, 2, 3, 4]
    assert_same_run(run, undisturbed)


@pytest.mark.slow
def test_training_moves_the_parameters(config, run):
    state = best_state(run)
    assert int(state.step) > 0
    start = jax.jit(lambda: initial_state(build_objective(config), config, 32))()
    moved = jax.tree.map(lambda a, b: not np.array_equal(a, b), start.params, state.params)
    assert any(jax.tree.leaves(moved))


def test_a_finished_run_is_left_as_it_is(config, run):
    before = (run / "metrics.jsonl").read_bytes()
    run_training(config, run, progress=False)
    assert (run / "metrics.jsonl").read_bytes() == before


def test_a_run_opens_with_the_averaged_parameters(config, run):
    best = min((line["val_loss"], line["step"]) for line in metrics(run) if "val_loss" in line)[1]
    opened = Run.open(run)
    assert opened.step == best
    # It was copied away from its store, which it knows by the way from its folder.
    assert opened.config == dataclasses.replace(
        config, data=dataclasses.replace(config.data, store=opened.config.data.store)
    )
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(opened.params))
    jax.tree.map(np.testing.assert_array_equal, opened.params, best_state(run).ema_params)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("seed", {"seed": 1}),
        ("optim.learning_rate", {"optim": OptimConfig(warmup_steps=1, learning_rate=0.5)}),
        ("steps", {"steps": 6}),
    ],
)
def test_another_setting_does_not_go_on_with_the_run(config, run, name, changes):
    before = (run / "config.json").read_bytes()
    with pytest.raises(InputError, match=f"another {name} is there"):
        run_training(dataclasses.replace(config, **changes), run, progress=False)
    assert (run / "config.json").read_bytes() == before


@pytest.mark.parametrize(
    "text", ["", '{"version": 1, "da', "[]", '{"version": 0}', '{"version": 1}', '{"version": 1, "data": {}}']
)
def test_a_damaged_config_is_refused(config, tmp_path, text):
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError):
        run_training(config, tmp_path, progress=False)
    with pytest.raises(InputError):
        Run.open(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_a_folder_that_is_no_run_is_not_written_into(config, tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match="is no run"):
        run_training(config, tmp_path, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_what_does_not_go_with_the_model_leaves_no_folder(config, tmp_path):
    wrong = dataclasses.replace(config, optim=OptimConfig(freeze=("nothing/*",)))
    with pytest.raises(InputError, match="matches none of the parameters"):
        run_training(wrong, tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_run_without_a_checkpoint_does_not_open(config, tmp_path, monkeypatch):
    def fails(*args, **kwargs):
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(loop.Checkpoints, "save", fails)
        with pytest.raises(OSError, match="no space left"):
            run_training(config, tmp_path / "run", progress=False)
    with pytest.raises(InputError, match="no checkpoint yet"):
        Run.open(tmp_path / "run")
