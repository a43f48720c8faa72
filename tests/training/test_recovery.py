"""What a training survives: a stop, damaged checkpoints, updates that fail; and when it ends early."""

import dataclasses
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ichformer.errors import InputError, Stopped
from ichformer.models.registry import registered_models
from ichformer.pipeline.loader import evaluation_batches
from ichformer.pipeline.store.records import Store
from ichformer.training import trainer as loop
from ichformer.training import validation
from ichformer.training.checkpoints.checkpoint import Checkpoints
from ichformer.training.config import TrainConfig
from ichformer.training.monitoring import clock as clock_module
from ichformer.training.monitoring.clock import Clock
from ichformer.training.recovery.rollback import Rollback
from ichformer.training.runs.run import Run
from ichformer.training.state import TrainState, create_state, parameter_table
from ichformer.training.trainer import run_training
from tests.processes import with_one_device
from tests.shared import tiny_training


@pytest.fixture(scope="module")
def config(tiny_store: Path) -> TrainConfig:
    return tiny_training(tiny_store)


@pytest.fixture(scope="module")
def whole(tiny_run: Path) -> Path:
    return tiny_run


def lines(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def losses(run: Path) -> list[float]:
    return [line["loss"] for line in lines(run)]


def kept(run: Path) -> set[str]:
    return {path.name for path in (run / "checkpoints").iterdir() if path.name.isdigit()}


@pytest.mark.slow
def test_validation_is_the_loss_over_all_scans_of_val(config, whole):
    """Of the averaged parameters of that step: computed once more, scan by scan."""
    evaluated = {line["step"]: line["val_loss"] for line in lines(whole) if "val_loss" in line}
    assert set(evaluated) == {2, 4}
    run, store = Run.open(whole), Store.open(config.data.store)
    assert run.step == min(evaluated, key=evaluated.get)
    total, weight = 0.0, 0.0
    for batch in evaluation_batches(store, rows=store.rows("val"), batch_size=1):
        one, count, _ = run.objective.loss(run.params, jax.tree.map(jnp.asarray, batch), jax.random.key(0), False)
        total, weight = total + float(one), weight + float(count)
    assert evaluated[run.step] == pytest.approx(total / weight, rel=1e-5)


def test_the_folder_tells_of_parameters_goodput_and_profile(whole):
    assert "all" in (whole / "parameters.txt").read_text().splitlines()[-1]
    for line in lines(whole):
        assert 0 <= line["input_bound"] <= 1
        assert 0 <= line["goodput"] < 1
    assert list((whole / "profile").rglob("*.xplane.pb"))


def test_a_damaged_checkpoint_is_passed_over_and_put_aside(config, whole, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(loop.JsonLines, "write", stop_at(4, OSError("gone")))
        with pytest.raises(OSError, match="gone"):
            run_training(config, run, progress=False)
    assert kept(run) == {"1", "2", "3"}
    for file in (run / "checkpoints" / "3").rglob("*"):
        if file.is_file() and file.stat().st_size > 2000:
            file.write_bytes(file.read_bytes()[:1000])
    run_training(config, run, progress=False)
    assert "the checkpoint of step 3 cannot be read" in capsys.readouterr().err
    assert (run / "damaged" / "3").is_dir()
    assert losses(run) == losses(whole)


def test_a_run_with_none_but_damaged_checkpoints_is_refused_and_left_as_it_is(config, whole, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    for file in (run / "checkpoints").rglob("*"):
        if file.is_file() and file.stat().st_size > 2000:
            file.write_bytes(b"")
    before = kept(run)
    with pytest.raises(InputError, match="no checkpoint can be read"):
        run_training(config, run, progress=False)
    assert kept(run) == before
    assert not (run / "damaged").exists()


@pytest.mark.slow
def test_a_run_of_another_version_of_the_model_is_refused_and_left_as_it_is(config, whole, tmp_path, monkeypatch):
    """As one is that was trained before the model's code changed."""
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    before = kept(run)
    entry = registered_models()[config.model.name]
    changed = dataclasses.replace(entry, options=entry.options | {"scan_pool": "attention"})
    monkeypatch.setattr(registered_models(), "_things", {**registered_models(), config.model.name: changed})
    wanted = r"head/scan_logits/bias is nothing there and 6 here, and so for 6 more; take the ichformer whose commit"
    with pytest.raises(InputError, match=wanted):
        Run.open(run)
    assert kept(run) == before


@pytest.fixture
def at_a_terminal() -> Iterator[None]:
    """What a shell starts in the background is deaf to Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("at_a_terminal")
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_saves_and_the_next_start_goes_on(config, whole, tmp_path, monkeypatch, capfd, number):
    run, config = tmp_path / "run", dataclasses.replace(config, checkpoint_every=100)
    with monkeypatch.context() as patch:
        write = loop.JsonLines.write

        def interrupted(self, step, metrics):
            write(self, step, metrics)
            if step == 3:
                os.kill(os.getpid(), number)

        patch.setattr(loop.JsonLines, "write", interrupted)
        terminated = pytest.raises(Stopped, match="stopped after step 3 of 5")
        with terminated if number == signal.SIGTERM else pytest.raises(KeyboardInterrupt):
            run_training(config, run, progress=False)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert ("Ctrl-C again ends at once" in capfd.readouterr().err) == (number == signal.SIGINT)
    assert "3" in kept(run)
    run_training(config, run, progress=False)
    assert losses(run) == losses(whole)


@pytest.mark.slow
@pytest.mark.usefixtures("at_a_terminal")
def test_a_second_ctrl_c_ends_at_once(config, whole, tmp_path, monkeypatch):
    run, config = tmp_path / "run", dataclasses.replace(config, checkpoint_every=100)
    with monkeypatch.context() as patch:

        def interrupted(self, step, metrics):
            for _ in range(2 * (step == 3)):
                os.kill(os.getpid(), signal.SIGINT)

        patch.setattr(loop.JsonLines, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_training(config, run, progress=False)
    assert kept(run) == {"2"}
    run_training(config, run, progress=False)
    assert losses(run) == losses(whole)[2:]


@pytest.mark.full
def test_sigterm_cuts_validation_short_and_the_next_start_repeats_it(config, whole, tmp_path, monkeypatch):
    """And the trace of the profiler, which is written as far as it came."""
    run, config = tmp_path / "run", dataclasses.replace(config, profile=(2, 3))
    with monkeypatch.context() as patch:

        def interrupted(*args, **kwargs):
            for i, batch in enumerate(evaluation_batches(*args, **kwargs)):
                if i == 1:
                    os.kill(os.getpid(), signal.SIGTERM)
                yield batch

        patch.setattr(validation, "evaluation_batches", interrupted)
        with pytest.raises(Stopped, match="stopped after step 2 of 5"):
            run_training(config, run, progress=False)
    assert list((run / "profile").rglob("*.xplane.pb"))
    run_training(config, run, progress=False)
    assert {line["step"]: line["loss"] for line in lines(run) if "loss" in line} == dict(enumerate(losses(whole), 1))
    assert [line["val_loss"] for line in lines(run) if "val_loss" in line] == [
        line["val_loss"] for line in lines(whole) if "val_loss" in line
    ]
    assert kept(run) == kept(whole)
    assert Run.open(run).step == Run.open(whole).step


def processor_s_of_the_ended() -> float:
    """Of all processes that this one started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def processor_s(process: subprocess.Popen) -> float:
    """Seconds of processor time of one that runs; how busy the machine is does not matter to them."""
    after_name = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, after_name[11:13])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_command_ends_well_within_half_a_minute_of_sigterm(config, tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "ichformer", "train", "--out", str(run), "--data.store", config.data.store]
    command += ["--data.batch-size", "2", "--data.num-slices", "4", "--model.name", "slice_vit_nano"]
    command += ["--steps", "100000", "--log-every", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=with_one_device()) as process:
        deadline = time.monotonic() + 600
        while not (run / "metrics.jsonl").exists() or len(losses(run)) < 3:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        until_signal = processor_s_of_the_ended() + processor_s(process)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=600)
    assert process.returncode == 0
    assert processor_s_of_the_ended() - until_signal < 15
    assert re.search(r"stopped after step \d+ of 100000; all is saved, the same command goes on", said)
    assert max(int(step) for step in kept(run)) == lines(run)[-1]["step"]


@pytest.mark.slow
def test_a_run_that_no_longer_gets_better_ends_and_stays_ended(config, tmp_path, monkeypatch):
    config = dataclasses.replace(config, evaluate_every=1, patience_steps=2, keep_checkpoints=1)
    found = iter([3.0, 2.0, 2.5, 2.25])
    monkeypatch.setattr(loop.Validation, "__call__", lambda self, state, *, stopping: {"val_loss": next(found)})
    run_training(config, tmp_path / "run", progress=False)
    assert [line["val_loss"] for line in lines(tmp_path / "run")] == [3.0, 2.0, 2.5, 2.25]
    assert kept(tmp_path / "run") == {"2", "4"}
    assert Run.open(tmp_path / "run").step == 2
    run_training(config, tmp_path / "run", progress=False)
    assert len(lines(tmp_path / "run")) == 4


def test_validation_needs_scans(config, tmp_path):
    values = json.loads((Path(config.data.store) / "index.json").read_text())
    shutil.copytree(config.data.store, tmp_path / "store")
    for entry in values["series"]:
        entry["split"] = "train"
    (tmp_path / "store" / "index.json").write_text(json.dumps(values))

    config = dataclasses.replace(config, data=dataclasses.replace(config.data, store=str(tmp_path / "store")))
    with pytest.raises(InputError, match="has no split 'val'"):
        run_training(config, tmp_path / "run", progress=False)


def test_who_reads_a_run_leaves_what_is_being_written_there(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    writing = tmp_path / "run" / "checkpoints" / "9.orbax-checkpoint-tmp"
    writing.mkdir()
    Run.open(tmp_path / "run")
    assert writing.exists()
    Checkpoints(tmp_path / "run" / "checkpoints", every=1, keep=3).close()
    deadline = time.monotonic() + 600  # Orbax clears up in the background
    while writing.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not writing.exists()


def test_saves_leave_no_thread_behind(tmp_path):
    before, saves = set(threading.enumerate()), 8
    checkpoints = Checkpoints(tmp_path / "checkpoints", every=1, keep=1)
    for step in range(1, saves + 1):
        checkpoints.save(step, state_of(step))
    # Orbax ends the threads of a save in the background; its own, and that of a save nobody waited for yet, may stay.
    deadline = time.monotonic() + 600
    while len(left := set(threading.enumerate()) - before) > saves // 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(left) <= saves // 2, left
    checkpoints.close()


def state_of(step: int) -> TrainState:
    state = create_state({"w": jnp.full(3, float(step))}, optax.sgd(0.1), ema=False)

    return dataclasses.replace(state, step=jnp.asarray(step, jnp.int32))


def test_a_rollback_goes_behind_the_first_bad_update_and_only_once(tmp_path, capsys):
    checkpoints = Checkpoints(tmp_path / "checkpoints", every=2, keep=5)
    for step in (2, 4, 6, 8):
        checkpoints.save(step, state_of(step))
    rollback = Rollback(tmp_path, checkpoints, max_bad_steps=3)
    now = state_of(8)
    assert rollback(now, 8, 2) is now
    back = rollback(now, 8, 3)  # updates 6, 7 and 8 were bad, so 4 is the newest from before
    assert int(back.step) == 8
    np.testing.assert_array_equal(back.params["w"], 4.0)
    assert "back to the state of step 4" in capsys.readouterr().err
    with pytest.raises(InputError, match="updates fail again and again after step 4"):
        rollback(now, 8, 3)
    with pytest.raises(InputError, match="the last 8 losses leapt or were no numbers"):
        rollback(now, 8, 8)
    checkpoints.close()


def test_a_table_of_parameters_adds_up():
    table = parameter_table({"a": {"kernel": jnp.zeros((20, 100))}, "b": jnp.zeros(3)})
    assert [line.split() for line in table.splitlines()] == [
        ["a/kernel", "20x100", "2,000"],
        ["b", "3", "3"],
        ["all", "2,003"],
    ]


def test_the_clock_tells_waiting_from_steps(monkeypatch):
    now = 0.0
    monkeypatch.setattr(clock_module.time, "perf_counter", lambda: now)
    clock = Clock()
    with clock.on("start"):
        now += 10
    clock.mark()
    with clock.on("input"):
        now += 2
    now += 8
    seconds, shares = clock.mark()
    assert (seconds, shares["input_bound"], shares["goodput"]) == (10, pytest.approx(0.2), pytest.approx(0.4))
    now += 10
    _, shares = clock.mark()
    assert (shares["input_bound"], shares["goodput"]) == (0, pytest.approx(0.6))


def stop_at(step: int, error: Exception):
    write = loop.JsonLines.write

    def fails(self, done, metrics):
        if done == step:
            raise error
        write(self, done, metrics)

    return fails
