"""Prepare on a Dask cluster: real schedulers and workers, as processes of this machine, and one of them killed."""

import contextlib
import signal
import socket
import subprocess
import sys
import time

import distributed
import pytest

from ichformer.cli import main
from ichformer.errors import InputError
from ichformer.pipeline.preparation.cluster import cluster_executor
from ichformer.pipeline.preparation.workers import run_all
from ichformer.testing import tiny_cohort
from tests.pipeline.test_prepare import digests, kill_or_answer


@contextlib.contextmanager
def dask(*arguments: str):
    process = subprocess.Popen(
        [sys.executable, "-m", "dask", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def scheduler():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with dask("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard", "--no-show") as process:
        yield f"tcp://127.0.0.1:{port}", process


def worker(address: str, folder, *more: str, threads: int = 1):
    return dask(
        *("worker", address, "--no-nanny", "--no-dashboard", "--nthreads", str(threads), "--memory-limit", "0"),
        *("--host", "127.0.0.1", "--local-directory", str(folder), *more),
    )


@contextlib.contextmanager
def client_of(address: str, workers: int):
    with distributed.Client(address, timeout=600, set_as_default=False) as client:
        client.wait_for_workers(workers, timeout=600)
        yield client


# What a worker loads first: it dies where its third shard is written and has no name yet.
DIES_AT_THE_THIRD = """
import os, signal

replace, shards = os.replace, []

def replace_or_die(source, target):
    shards.extend([target] * str(target).endswith(".array_record"))
    if len(shards) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)

os.replace = replace_or_die
"""


@pytest.mark.full
def test_a_killed_worker_costs_nothing_but_time(tmp_path, capsys):
    cohort = tiny_cohort(tmp_path / "cohort", scans=24)
    out, dies = tmp_path / "store", tmp_path / "dies.py"
    dies.write_text(DIES_AT_THE_THIRD, encoding="utf-8")
    options = ["--dataset", "phantom", "--source", str(cohort), "--out", str(out), "--size", "32"]
    with (
        scheduler() as (address, _),
        worker(address, tmp_path / "a", "--preload", str(dies)) as victim,
        worker(address, tmp_path / "b"),
    ):
        with client_of(address, 2):
            pass
        main(["prepare", *options, "--cluster", address])
        assert victim.wait(timeout=600) == -signal.SIGKILL
    assert "24 series, 0 left out" in capsys.readouterr().out
    main(["prepare", *options[:-4], "--out", str(tmp_path / "pool"), "--size", "32", "--workers", "2"])
    assert digests(out) == digests(tmp_path / "pool")


@pytest.mark.full
def test_a_series_that_kills_its_workers_is_given_up(tmp_path):
    tasks = [(name, str(tmp_path)) for name in ("a", "killer", "b", "once", "c")]
    with scheduler() as (address, _), contextlib.ExitStack() as workers:
        for i in range(6):  # Dask gives a task up when the fourth worker has died at it; "once" takes another
            workers.enter_context(worker(address, tmp_path / str(i)))
        with client_of(address, 6), cluster_executor(address) as executor:
            results = dict(run_all(kill_or_answer, tasks, executor=executor, workers=1))
    assert results == {task: None if task[0] == "killer" else task[0].upper() for task in tasks}


def use(address: str, timeout_s: float = 600.0) -> None:
    with cluster_executor(address, timeout_s=timeout_s):
        pass


def lose(address: str, process: subprocess.Popen) -> None:
    with cluster_executor(address) as executor:
        future = executor.submit(time.sleep, 60)
        process.kill()
        future.result(timeout=600)


@pytest.mark.full
def test_nobody_there_nobody_to_work_too_many_threads_and_lost(tmp_path):
    with pytest.raises(InputError, match=r"no Dask scheduler answers.*`dask scheduler`"):
        use("tcp://127.0.0.1:9", timeout_s=0.5)
    with pytest.raises(InputError, match=r"cannot connect to such an address.*name one such as tcp://HOST:8786"):
        use("nonsense://x", timeout_s=0.5)
    with scheduler() as (address, process):
        with pytest.raises(InputError, match=r"has no workers.*--nthreads 1"):
            use(address)
        with worker(address, tmp_path / "two", threads=2):
            with client_of(address, 1):
                pass
            with pytest.raises(InputError, match=r"has 2 threads.*--nthreads 1"):
                use(address)
        with worker(address, tmp_path / "one"):
            with client_of(address, 1) as client:
                while len(client.nthreads()) != 1 or max(client.nthreads().values()) > 1:  # the other is not gone yet
                    time.sleep(0.05)
            with pytest.raises(InputError, match="scheduler was lost; run prepare again"):
                lose(address, process)


def test_without_dask(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "distributed", None)
    for more, words in (([], "pip install 'ichformer[cluster]'"), (["--workers", "2"], "leave it out with --cluster")):
        command = ["prepare", "--dataset", "phantom", "--source", str(tiny_cohort(tmp_path / f"c{len(more)}", scans=1))]
        with pytest.raises(SystemExit) as stop:
            main([*command, "--out", str(tmp_path / "out"), "--cluster", "tcp://h:1", *more])
        assert stop.value.code == 2
        assert words in capsys.readouterr().err
