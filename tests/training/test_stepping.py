"""The order of the loop, what it waits for, and how it goes back: around steps that are no model's."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest

from ichformer.bench.train import noise_batch
from ichformer.errors import InputError, Stopped
from ichformer.pipeline.batch import Batch
from ichformer.pipeline.store.records import Store
from ichformer.training.build import build_objective
from ichformer.training.checkpoints.checkpoint import Checkpoints
from ichformer.training.config import DataConfig, TrainConfig
from ichformer.training.monitoring.clock import Clock
from ichformer.training.monitoring.probing import Probing
from ichformer.training.sharding.parallel import make_mesh
from ichformer.training.state import TrainState, create_state
from ichformer.training.stepping import Step, run_steps
from ichformer.training.validation import Validation

STEPS = 10
CONFIG = TrainConfig(
    data=DataConfig(store=""), steps=STEPS, log_every=4, checkpoint_every=2, keep_checkpoints=9, max_bad_steps=3
)


class Noted:
    """What happens in a training, as (what, number): steps, batches, validations, metrics, saves, and waiting."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int]] = []

    def __call__(self, what: str, number: int) -> None:
        self.events.append((what, number))

    def numbers(self, what: str) -> list[int]:
        return [number for each, number in self.events if each == what]

    def write(self, step: int, metrics: dict[str, float]) -> None:
        self("write", step)

    def show(self, step: int, name: str, png: bytes) -> None: ...

    def close(self) -> None: ...


class OnDevice:
    """A metric that the device may not have computed yet."""

    def __init__(self, value: float, asked: Callable[[], None]):
        self._value, self._asked = value, asked

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        self._asked()
        return np.float32(self._value)


class NotedValidation(Validation):
    def __init__(self, config: TrainConfig, noted: Noted):
        super().__init__(config, build_objective(config), Store(path=Path(), config={}, index=VAL), make_mesh())
        self._noted = noted

    def __call__(self, state: TrainState, *, stopping: Callable[[], bool]) -> dict[str, float]:
        self._noted("validate", int(state.step))
        return {"val_loss": 1.0}


VAL = pd.DataFrame({"split": ["val"]})


def first_state() -> TrainState:
    return create_state({"w": jnp.zeros(3)}, optax.sgd(0.1), ema=False)


def counting(state: TrainState, noted: Noted, *, bad: range = range(0)) -> tuple[TrainState, dict]:
    """Adds one to the parameters; in steps of ``bad`` it spoils them and says how many were bad in a row."""
    number = int(state.step) + 1
    noted("step", number)
    in_a_row = int(state.guard.bad_in_a_row) + 1 if number in bad else 0
    params = {"w": jnp.full(3, -100.0) if number in bad else state.params["w"] + 1}
    guard = dataclasses.replace(state.guard, bad_in_a_row=jnp.asarray(in_a_row, jnp.int32))
    metrics = {
        name: OnDevice(value, lambda: noted("wait", number))
        for name, value in (("loss", 1), ("bad_in_a_row", in_a_row))
    }
    return dataclasses.replace(state, step=jnp.asarray(number, jnp.int32), params=params, guard=guard), metrics


def run(
    folder: Path,
    noted: Noted,
    monkeypatch: pytest.MonkeyPatch,
    *,
    config: TrainConfig = CONFIG,
    step: Step | None = None,
    confirm: Callable[[], None] = lambda: None,
    is_told_to_stop: Callable[[], bool] = lambda: False,
) -> TrainState:
    """The last state that was saved."""
    checkpoints = Checkpoints(folder / "checkpoints", every=config.checkpoint_every, keep=config.keep_checkpoints)
    save = Checkpoints.save

    def note_save(self: Checkpoints, step: int, *args: object, **kwargs: object) -> None:
        noted("save", step)
        save(self, step, *args, **kwargs)

    def batches() -> Iterator[Batch]:
        for number in itertools.count(1):
            noted("batch", number)
            yield noise_batch(1, 1, 8)

    monkeypatch.setattr(Checkpoints, "save", note_save)
    monkeypatch.setattr(jax, "block_until_ready", lambda x: pytest.fail("the loop waits for the device"))
    try:
        run_steps(
            step or (lambda state, batch, rng: counting(state, noted)),
            first_state(),
            batches(),
            config=config,
            run=folder,
            place=lambda batch: batch,
            checkpoints=checkpoints,
            validation=NotedValidation(config, noted),
            probing=Probing(
                config, build_objective(config), Store(path=Path(), config={}, index=VAL), make_mesh(), folder
            ),
            writers=[noted],
            clock=Clock(),
            confirm=confirm,
            is_told_to_stop=is_told_to_stop,
            progress=False,
        )
    finally:
        checkpoints.close()
    reader = Checkpoints(folder / "checkpoints")
    try:
        return reader.restore(first_state())
    finally:
        reader.close()


def test_the_order_is_the_one_that_is_promised(tmp_path, monkeypatch):
    """The next batch is there before validation begins, so that reading goes on while the split "val" is evaluated."""
    noted = Noted()
    run(tmp_path, noted, monkeypatch, config=dataclasses.replace(CONFIG, evaluate_every=3, steps=4))
    told = [(what, number) for what, number in noted.events if what != "wait"]
    assert told == [
        *[("batch", 1), ("step", 1), ("batch", 2), ("save", 1)],
        *[("step", 2), ("batch", 3), ("save", 2)],
        *[("step", 3), ("batch", 4), ("validate", 3), ("write", 3), ("save", 3)],
        *[("step", 4), ("write", 4), ("save", 4)],
    ]


def test_the_host_waits_for_the_device_at_log_steps_alone(tmp_path, monkeypatch):
    noted = Noted()
    run(tmp_path, noted, monkeypatch)
    assert noted.numbers("step") == list(range(1, STEPS + 1))
    assert noted.numbers("write") == [4, 8, 10]
    assert sorted(set(noted.numbers("wait"))) == [4, 8, 10]


def test_after_too_many_bad_updates_the_run_goes_on_from_before_them(tmp_path, monkeypatch, capsys):
    noted = Noted()
    state = run(
        tmp_path,
        noted,
        monkeypatch,
        config=dataclasses.replace(CONFIG, log_every=1),
        step=lambda state, batch, rng: counting(state, noted, bad=range(5, 8)),
    )
    assert "step 7: 3 bad updates in a row, back to the state of step 4" in capsys.readouterr().err
    # Neither a step nor a batch is done again: steps 1 to 4 and 8 to 10 count.
    assert noted.numbers("step") == noted.numbers("batch") == list(range(1, STEPS + 1))
    assert int(state.step) == STEPS
    np.testing.assert_array_equal(state.params["w"], 7.0)


def test_who_is_told_to_stop_saves_the_step_that_is_done(tmp_path, monkeypatch):
    noted = Noted()
    answers = iter([False, False, True])
    with pytest.raises(Stopped, match="stopped after step 3 of 10; all is saved"):
        run(tmp_path, noted, monkeypatch, is_told_to_stop=lambda: next(answers))
    assert noted.numbers("step") == [1, 2, 3]
    reader = Checkpoints(tmp_path / "checkpoints")
    assert reader.latest_step == 3
    reader.close()


def test_who_lost_the_folder_writes_nothing_more(tmp_path, monkeypatch):
    noted = Noted()

    def confirm() -> None:
        if noted.numbers("step")[-1] == 4:
            raise InputError("another training took the folder over", where="run", fix="let that one go on")

    with pytest.raises(InputError, match="took the folder over"):
        run(tmp_path, noted, monkeypatch, config=dataclasses.replace(CONFIG, log_every=1), confirm=confirm)
    assert noted.numbers("write") == noted.numbers("save") == [1, 2, 3]
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"2"}
