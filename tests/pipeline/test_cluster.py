"""Prepare on a Dask cluster: real schedulers and workers, as processes of this machine, and one of them killed."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import distributed
import pytest

from ichformer.cli import main
from ichformer.errors import InputError
from ichformer.pipeline.cluster import cluster_executor
from ichformer.pipeline.workers import run_all
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
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


@contextlib.contextmanager
def scheduler():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with dask("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard", "--no-show") as process:
        yield f"tcp://127.0.0.1:{port}", process


def worker(address: str, folder, threads: int = 1):
    return dask(
        *("worker", address, "--no-nanny", "--no-dashboard", "--nthreads", str(threads), "--memory-limit", "0"),
        *("--host", "127.0.0.1", "--local-directory", str(folder)),
    )


@contextlib.contextmanager
def client_of(address: str, workers: int):
    with distributed.Client(address, timeout=120, set_as_default=False) as client:
        client.wait_for_workers(workers, timeout=120)
        yield client


def kill_in_the_middle(address: str, process: subprocess.Popen, shards, seen: list[int]) -> None:
    """Kills a worker while it has a series in hand, when some are done and others are not."""
    with client_of(address, 2) as client:
        (victim,) = [name for name, pid in client.run(os.getpid).items() if pid == process.pid]
        while True:
            done = len(list(shards.glob("*.array_record")))
            if done >= 3:
                process.send_signal(signal.SIGSTOP)  # so that it cannot finish while we look
                if in_hand := len(client.processing()[victim]):
                    process.kill()
                    seen += [done, in_hand]
                    return
                process.send_signal(signal.SIGCONT)
            time.sleep(0.005)


@pytest.mark.slow
def test_a_killed_worker_costs_nothing_but_time(tmp_path, capsys):
    cohort = tiny_cohort(tmp_path / "cohort", scans=24)
    out, seen = tmp_path / "store", []
    with (
        scheduler() as (address, _),
        worker(address, tmp_path / "a") as victim,
        worker(address, tmp_path / "b"),
    ):
        killer = threading.Thread(target=kill_in_the_middle, args=(address, victim, out / "shards", seen), daemon=True)
        killer.start()
        with client_of(address, 2):
            pass
        options = ["--dataset", "phantom", "--source", str(cohort), "--out", str(out), "--size", "32"]
        main(["prepare", *options, "--cluster", address])
        killer.join(timeout=60)
        assert victim.wait(timeout=60) == -signal.SIGKILL
    done, in_hand = seen
    assert done < 24
    assert in_hand >= 1
    assert "24 series, 0 left out" in capsys.readouterr().out
    main(["prepare", *options[:-4], "--out", str(tmp_path / "pool"), "--size", "32", "--workers", "2"])
    assert digests(out) == digests(tmp_path / "pool")


@pytest.mark.slow
def test_a_series_that_kills_its_workers_is_given_up(tmp_path):
    tasks = [(name, str(tmp_path)) for name in ("a", "killer", "b", "once", "c")]
    with scheduler() as (address, _), contextlib.ExitStack() as workers:
        for i in range(6):  # Dask gives a task up when the fourth worker has died at it; "once" takes another
            workers.enter_context(worker(address, tmp_path / str(i)))
        with client_of(address, 6), cluster_executor(address) as executor:
            results = dict(run_all(kill_or_answer, tasks, executor=executor, workers=1))
    assert results == {task: None if task[0] == "killer" else task[0].upper() for task in tasks}


def use(address: str, timeout_s: float = 120.0) -> None:
    with cluster_executor(address, timeout_s=timeout_s):
        pass


def lose(address: str, process: subprocess.Popen) -> None:
    with cluster_executor(address) as executor:
        future = executor.submit(time.sleep, 60)
        process.kill()
        future.result(timeout=120)


def test_nobody_there_nobody_to_work_too_many_threads_and_lost(tmp_path):
    for address in ("tcp://127.0.0.1:9", "nonsense://x"):
        with pytest.raises(InputError, match=r"no Dask scheduler answers.*`dask scheduler`"):
            use(address, timeout_s=0.5)
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
