"""Two real processes over ``jax.distributed`` are one training; without one of them it stops, says so and goes on.

And a run goes on with the same batches on fewer devices.
"""

import contextlib
import dataclasses
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
import pytest

from ichformer.cohorts.registry import COHORTS
from ichformer.errors import InputError
from ichformer.testing import tiny_cohort
from ichformer.training import trainer as loop
from ichformer.training.checkpoints.files import CHECKSUMS_NAME
from ichformer.training.config import DataConfig, ModelConfig, OptimConfig, ParallelConfig, TrainConfig
from ichformer.training.runs.run import Run
from ichformer.training.sharding import hosts
from ichformer.training.sharding.hosts import join_hosts
from tests.processes import with_one_device
from tests.stores import prepare_here

STEPS = 16
LAUNCHERS = ("SLURM_", "OMPI_", "KUBERNETES_", "JOB_", "TPU_", "MEGASCALE_")
PATIENCE_S = 600
"""For what takes half a minute where nobody else works."""

TIME_TO_NOTICE_S = 6.0
"""JAX looks every second whether a signal came."""

STARTED: list[subprocess.Popen] = []

# Trains as the command line does; the rows of every batch go into a file of this process. It waits before the first
# step until the file "first" is there, and where the sixth batch is asked for until "sixth" is: then the checkpoint of
# step 4 is written, and step 5 under way.
TRAIN = """
import os, sys, time
from pathlib import Path
from ichformer.errors import InputError, Stopped
from ichformer.training import assembled, trainer
from ichformer.training.config import read_config

rows, gates, taken = open(sys.argv[3], "w"), Path(sys.argv[4]), []
def wait_at(name):
    while not (gates / name).exists():
        time.sleep(0.02)
shard, training_batches = trainer.shard_batch, assembled.training_batches
def note(batch, mesh):
    taken.append(batch)
    print(*batch.row, file=rows, flush=True)
    if len(taken) == 6:
        wait_at("sixth")
    return shard(batch, mesh)
def open_batches(*args, **kwargs):
    wait_at("first")
    return training_batches(*args, **kwargs)
trainer.shard_batch, assembled.training_batches = note, open_batches
try:
    trainer.run_training(read_config(Path(sys.argv[1])), Path(sys.argv[2]), progress=False)
except InputError as error:
    print(f"ichformer: error: {error}", file=sys.stderr)
    sys.exit(2)
except Stopped as stopped:
    print(f"ichformer: {stopped}", file=sys.stderr)
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    folder = tmp_path_factory.mktemp("store")
    index = COHORTS["phantom"](tiny_cohort(folder / "cohort", scans=12), cache=folder / "cache")
    prepare_here(index.assign(split="train"), folder / "store")
    return TrainConfig(
        data=DataConfig(store=str(folder / "store"), batch_size=8, num_slices=4),
        model=ModelConfig(name="hybrid_nano", dropout=0.1),
        # At twice the rate two cells of a slice lie 1e-7 apart in step 7: rounding says which is the larger in
        # ``SlicePool``, so which of them teaches one filter, and that takes it 1.4e-5 apart.
        optim=OptimConfig(name="sgd", learning_rate=0.01, warmup_steps=1),
        steps=STEPS,
        log_every=1,
        checkpoint_every=4,
    )


@pytest.fixture(autouse=True, scope="module")
def nobody_is_left() -> Iterator[None]:
    yield
    for process in STARTED:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        return taken.getsockname()[1]


def start(config: TrainConfig, run: Path, folder: Path, *, of: int, closed: str = "") -> list[subprocess.Popen]:
    """``of`` processes of one device each; what they say and the rows that they read lie in ``folder``.

    They wait at the gate that is ``closed`` until somebody makes a file of its name there.
    """
    folder.mkdir()
    for gate in {"first", "sixth"} - {closed}:
        (folder / gate).touch()
    address = f"localhost:{free_port()}"
    processes: list[subprocess.Popen] = []
    for i in range(of):
        parallel = config.parallel
        if of > 1:
            parallel = dataclasses.replace(parallel, coordinator=address, num_processes=of, process_id=i)
        told = folder / f"told{i}.json"
        told.write_text(dataclasses.replace(config, parallel=parallel).to_json(), encoding="utf-8")
        with (folder / f"said{i}").open("w") as said:
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-c", TRAIN, str(told), str(run), str(folder / f"rows{i}"), str(folder)],
                    env=with_one_device(),
                    stderr=said,
                )
            )
    STARTED.extend(processes)
    return processes


def finish(processes: list[subprocess.Popen], folder: Path) -> None:
    for i, process in enumerate(processes):
        assert process.wait(timeout=PATIENCE_S) == 0, (folder / f"said{i}").read_text()


def wait_for(processes: list[subprocess.Popen], there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not there():
        assert [process.poll() for process in processes] == [None] * len(processes)
        assert time.monotonic() < deadline
        time.sleep(0.005)


def rows_by_step(folder: Path, *, of: int) -> list[list[int]]:
    """The rows of each batch over all hosts, in order of size: hosts take turns in a batch."""
    parts = [(folder / f"rows{i}").read_text().splitlines() for i in range(of)]
    return [sorted(int(row) for part in step for row in part.split()) for step in zip(*parts, strict=True)]


def losses(run: Path) -> dict[int, float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return {line["step"]: line["loss"] for line in lines}


def assert_same(found: Path, wanted: Path) -> None:
    assert list(losses(found)) == list(range(1, STEPS + 1))
    np.testing.assert_allclose(list(losses(found).values()), list(losses(wanted).values()), rtol=0, atol=1e-5)
    a, b = Run.open(found), Run.open(wanted)
    assert a.step == b.step == STEPS
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=0, atol=1e-5), a.params, b.params)


@pytest.fixture(scope="module")
def alone(config, tmp_path_factory) -> tuple[Path, list[list[int]]]:
    """The run of one process, and the rows of its batches."""
    folder = tmp_path_factory.mktemp("alone")
    finish(start(config, folder / "run", folder / "process", of=1), folder / "process")
    return folder / "run", rows_by_step(folder / "process", of=1)


@pytest.mark.slow
def test_two_processes_are_one_training(config, alone, tmp_path):
    run, rows = alone
    finish(start(config, tmp_path / "run", tmp_path / "process", of=2), tmp_path / "process")
    assert_same(tmp_path / "run", run)
    assert rows_by_step(tmp_path / "process", of=2) == rows
    assert len(rows) == STEPS
    assert len({tuple(step) for step in rows}) > 1


@pytest.mark.parametrize(
    ("victim", "afterwards"),
    [pytest.param(1, 2, marks=pytest.mark.full), pytest.param(0, 1, marks=pytest.mark.full)],
)
def test_without_one_host_the_other_stops_and_a_restart_goes_on(config, alone, tmp_path, victim, afterwards):
    whole, rows = alone
    run, folder = tmp_path / "run", tmp_path / "killed"
    processes = start(config, run, folder, of=2, closed="sixth")
    wait_for(processes, (run / "checkpoints" / "4").exists)
    processes[victim].send_signal(signal.SIGKILL)
    processes[victim].wait()
    (folder / "sixth").touch()
    clock = time.monotonic()
    assert processes[1 - victim].wait(timeout=PATIENCE_S) != 0
    said = (folder / f"said{1 - victim}").read_text()
    print(f"host {1 - victim} stopped {time.monotonic() - clock:.1f} s later: {said[-600:]}")
    # JAX itself ends a process whose coordinator is gone, at times before Python hears of it.
    assert "another host is gone" in said or (victim == 0 and "another task died" in said)
    assert max(losses(run)) < STEPS

    again = tmp_path / "again"
    finish(start(config, run, again, of=afterwards), again)
    read = rows_by_step(again, of=afterwards)
    assert 0 < len(read) <= STEPS - 4
    assert read == rows[-len(read) :]
    assert_same(run, whole)


@pytest.mark.full
@pytest.mark.parametrize("with_checksums", [True, False])
def test_a_checkpoint_of_which_one_host_alone_reads_the_damage_is_passed_over_by_all(
    config, alone, tmp_path, with_checksums
):
    whole, rows = alone
    run, cut = tmp_path / "run", dataclasses.replace(config, parallel=ParallelConfig(fsdp=2), keep_checkpoints=2)
    finish(start(cut, run, tmp_path / "first", of=2), tmp_path / "first")
    damaged = list((run / "checkpoints" / str(STEPS)).rglob("ocdbt.process_1/d/*"))
    assert damaged
    for file in damaged:
        file.write_bytes(file.read_bytes()[:100])
    if not with_checksums:  # as an earlier version wrote it
        (run / "checkpoints" / str(STEPS) / CHECKSUMS_NAME).unlink()
    finish(start(cut, run, tmp_path / "again", of=2), tmp_path / "again")
    said = [(tmp_path / "again" / f"said{i}").read_text() for i in range(2)]
    assert f"the checkpoint of step {STEPS} cannot be read" in said[1]
    assert (run / "damaged" / str(STEPS)).is_dir()
    assert rows_by_step(tmp_path / "again", of=2) == rows[-4:]
    assert_same(run, whole)


@pytest.mark.full
def test_all_hosts_stop_where_one_is_told_to_and_go_on(config, alone, tmp_path):
    """While they train and, started again, before their first step: both times in order and with all saved."""
    whole, rows = alone
    run, read = tmp_path / "run", []
    for name, gate, last in (
        ("training", "sixth", run / "checkpoints" / "4"),
        ("starting", "first", run / "seen.csv"),
    ):
        processes = start(config, run, tmp_path / name, of=2, closed=gate)
        began = time.time_ns()
        wait_for(processes, lambda last=last, began=began: last.exists() and last.stat().st_mtime_ns > began)
        processes[1].send_signal(signal.SIGTERM)
        time.sleep(TIME_TO_NOTICE_S)
        (tmp_path / name / gate).touch()
        finish(processes, tmp_path / name)
        said = [(tmp_path / name / f"said{i}").read_text() for i in range(2)]
        stopped = [re.search(r"stopped (after|before) step (\d+) of 16", each) for each in said]
        assert all(stopped), said
        assert len({each[0] for each in stopped}) == 1
        read.append((stopped[0][1], int(stopped[0][2])))
    (first, done), second = read
    assert first == "after"
    assert 4 <= done < STEPS
    assert second == ("before", done + 1)
    assert (run / "checkpoints" / str(done)).exists()
    finish(start(config, run, tmp_path / "last", of=2), tmp_path / "last")
    assert rows_by_step(tmp_path / "last", of=2) == rows[done:]
    assert_same(run, whole)


@pytest.mark.full
def test_fewer_and_fewer_devices_go_on_with_the_same_batches(config, alone, tmp_path, monkeypatch):
    whole, wanted = alone
    run, rows, shard = tmp_path / "run", [], loop.shard_batch

    def note(batch, mesh):
        rows.append(sorted(map(int, batch.row)))
        return shard(batch, mesh)

    monkeypatch.setattr(loop, "shard_batch", note)
    for devices, first, last in ((8, 0, 5), (4, 4, 10), (1, 8, STEPS)):
        rows.clear()
        told = dataclasses.replace(config, parallel=ParallelConfig(data=devices))
        with monkeypatch.context() as patch:
            write = loop.JsonLines.write

            def stops(self, step, values, *, write=write, last=last):
                if step == last < STEPS:
                    raise KeyboardInterrupt
                write(self, step, values)

            patch.setattr(loop.JsonLines, "write", stops)
            with pytest.raises(KeyboardInterrupt) if last < STEPS else contextlib.nullcontext():
                loop.run_training(told, run, progress=False)
        # The next batch is fetched while the device computes the last step.
        assert rows == wanted[first : min(last + 1, STEPS)]
    assert_same(run, whole)


def test_half_of_an_address_is_refused():
    with pytest.raises(InputError, match=r"--parallel\.process-id together"):
        join_hosts(ParallelConfig(coordinator="localhost:1", num_processes=2))


@pytest.mark.parametrize("address", ["localhost", "localhost:", ":1234", "localhost:http"])
def test_an_address_without_host_or_port_is_refused(address):
    with pytest.raises(InputError, match=r"--parallel\.coordinator: found .*HOST:PORT"):
        join_hosts(ParallelConfig(coordinator=address, num_processes=2, process_id=0))


def asked_for_others(monkeypatch, environment: dict[str, str]) -> list[tuple]:
    """What ``jax.distributed`` is called with in a process that was started with ``environment`` alone."""
    for name in [each for each in os.environ if each.startswith(LAUNCHERS)]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    asked = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *args, **kwargs: asked.append(args))
    join_hosts(ParallelConfig())
    return asked


@pytest.mark.parametrize(
    ("environment", "several"),
    [
        ({}, False),
        ({"SLURM_NTASKS": "2", "SLURM_PROCID": "1"}, True),
        ({"SLURM_NTASKS": "1", "SLURM_PROCID": "0"}, False),
        ({"SLURM_NTASKS": "2"}, False),  # a batch script outside srun
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, False),  # a notebook's pod
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "0"}, True),
        ({"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "0"}, True),
    ],
)
def test_launchers_are_asked_only_where_they_started_several(monkeypatch, environment, several):
    assert asked_for_others(monkeypatch, environment) == [(None, None, None)] * several


@pytest.mark.parametrize(
    ("environment", "several"),
    [
        ({}, True),  # a TPU VM: JAX asks Google's metadata
        ({"TPU_WORKER_HOSTNAMES": "a,b"}, True),  # GKE
        ({"TPU_PROCESS_ADDRESSES": "a:8471,b:8471", "TPU_WORKER_HOSTNAMES": "a"}, True),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, False),  # a notebook's TPU
        ({"TPU_WORKER_HOSTNAMES": "localhost", "MEGASCALE_NUM_SLICES": "2"}, True),
        ({"TPU_SKIP_MDS_QUERY": "1"}, False),
    ],
)
def test_a_tpu_is_shared_by_several_hosts_only_where_it_says_so(monkeypatch, environment, several):
    monkeypatch.setattr(hosts, "_has_tpu", lambda: True)
    assert asked_for_others(monkeypatch, environment) == [(None, None, None)] * several
