"""What a step is said to need before the first one, and what follows where that is too much."""

import jax
import jax.numpy as jnp
import optax
import pytest

from ichformer.bench.train import noise_batch
from ichformer.errors import InputError
from ichformer.process.memory import free_memory
from ichformer.training.config import DataConfig, ParallelConfig, TrainConfig
from ichformer.training.monitoring import memory_need as told
from ichformer.training.monitoring.memory_need import MemoryNeed, memory_need, with_memory_told
from ichformer.training.state import create_state

CONFIG = TrainConfig(data=DataConfig(store=""), parallel=ParallelConfig(accumulate=2))
SIZE = 300


@jax.jit
def step(state, batch, rng):
    """Two activations of SIZE x SIZE: the second needs all of the first."""
    del rng
    first = jnp.sin(jnp.outer(state.params["w"], state.params["w"])) + batch.weight.sum()
    return state, {"loss": (first @ first).sum()}


def arguments():
    state = create_state({"w": jnp.ones(SIZE)}, optax.sgd(0.0), ema=False)
    return state, jax.tree.map(jnp.asarray, noise_batch(2, 1, 8)), jax.random.key(0)


def test_the_activations_of_a_step_are_counted_on_all_devices_of_the_machine():
    need = memory_need(step.lower(*arguments()).compile())
    assert need is not None
    assert need.activations % jax.local_device_count() == 0
    assert 1 <= need.activations / jax.local_device_count() / (4 * SIZE * SIZE) <= 3
    assert need.free is not None
    assert 0 < need.free <= (free_memory() or 0) * 2
    assert not need.is_too_much


@pytest.mark.parametrize(
    ("free", "parts"), [(100, 2), (60, 4), (35, 8), (20, None), (None, None)]
)  # 5 of results and 180 of activations
def test_parts_are_the_fewest_that_fit(free, parts):
    need = MemoryNeed(activations=180, results=5, free=free)
    assert need.parts(8) == parts
    assert need.is_too_much == (free is not None)


def train(monkeypatch, *, free, on, whole=False):
    short = MemoryNeed(activations=10**9, results=0, free=free)
    monkeypatch.setattr(told, "memory_need", lambda _: short)
    monkeypatch.setattr(told, "are_all", lambda kind, _: kind == on)
    run = with_memory_told(step, CONFIG, scans_at_once=4, whole=whole, progress=True)
    run(*arguments())
    return run(*arguments())


def test_an_accelerator_that_is_too_small_is_refused_with_the_setting_that_fits(monkeypatch, capsys):
    with pytest.raises(InputError, match=r"1.00 GB.*0.30 GB.*--parallel.accumulate 8"):
        train(monkeypatch, free=3 * 10**8, on="gpu")
    with pytest.raises(InputError, match=r"--model.remat full"):
        train(monkeypatch, free=3 * 10**8, on="gpu", whole=True)
    assert capsys.readouterr().err == ""


def test_on_a_cpu_one_line_is_said_and_the_training_goes_on(monkeypatch, capsys):
    train(monkeypatch, free=6 * 10**8, on="cpu")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: a step needs 1.00 GB")
    assert line.endswith("--parallel.accumulate 4")
    train(monkeypatch, free=2 * 10**9, on="cpu")
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "memory: a step needs 1.00 GB beside what is in use, and 2.00 GB are free"


def test_the_program_is_compiled_once():
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: compiled.append(event) if "backend_compile" in event else None
    )
    fresh, given = jax.jit(lambda state, batch, rng: (state, {"loss": batch.weight.sum()})), arguments()
    compiled.clear()
    with_memory_told(fresh, CONFIG, scans_at_once=4, whole=False, progress=False)(*given)
    assert len(compiled) == 1
    jax.monitoring.clear_event_listeners()
