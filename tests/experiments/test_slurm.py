"""``slurm.sbatch`` on a real Slurm: munged, slurmctld and slurmd of this machine, as one node of two processors."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "experiments" / "launch" / "slurm.sbatch"
NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "scontrol", "sinfo", "setpriv")
STEPS = 100

# cred_expire: also how long a job waits that was put back into the queue; less than 5 seconds count as 120.
# GraceTime: how long a job of "spare" has to save, once it is told to make room for an urgent one.
CONFIG = """
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
AuthInfo=socket={folder}/munge,cred_expire=5
SlurmUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=localhost NodeHostname={host} NodeAddr=127.0.0.1 CPUs=2
PartitionName=spare Nodes=localhost Default=YES PriorityTier=1 GraceTime=60
PartitionName=urgent Nodes=localhost PriorityTier=2 PreemptMode=OFF
"""


# Where only the script is looked at: trains until it is told to stop, and is done when it goes on.
STAND_IN = """#!/bin/bash
if [[ -n ${SLURM_RESTART_COUNT:-} ]]; then echo "goes on"; exit; fi
trap 'echo saved; exit 0' TERM
echo trains
while :; do sleep 0.1; done
"""


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in taken:
            each.bind(("localhost", 0))
        return [each.getsockname()[1] for each in taken]


def kill_all_of(config: Path) -> None:
    """Whatever runs with this configuration: the daemons, what they started, and what that did."""
    mark, some = f"SLURM_CONF={config}\0".encode(), True
    while some:
        some = False
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (process / "environ").read_bytes():
                    os.kill(int(process.name), signal.SIGKILL)
                    some = True
        time.sleep(0.05)


def wait_until(true: Callable[[], bool], *, within_s: float, said: Callable[[], str]) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, said()
        time.sleep(0.2)


class Slurm:
    """A cluster of one node; its jobs write into the folder that they were submitted from."""

    def __init__(self, environment: dict[str, str], log: Path):
        self.environment, self.log = environment, log

    def __call__(self, *command: str, cwd: Path | None = None) -> str:
        return subprocess.run(
            command, env=self.environment, cwd=cwd, check=True, capture_output=True, text=True, timeout=600
        ).stdout.strip()

    def submit(self, *options: str, cwd: Path) -> str:
        return self("sbatch", "--parsable", *options, cwd=cwd)

    def job(self, number: str) -> dict[str, str]:
        return dict(re.findall(r"(\w+)=(\S+)", self("scontrol", "show", "job", "--oneliner", number)))

    def wait_for(self, number: str, state: str, *, within_s: float = 1200) -> None:
        def said() -> str:
            job = self.job(number)
            out = Path(job["StdOut"])
            return f"{job}\n{out.read_text() if out.exists() else ''}\n{self.log.read_text()[-3000:]}"

        wait_until(lambda: self.job(number)["JobState"] == state, within_s=within_s, said=said)


@pytest.fixture(scope="module")
def slurm(environment: dict[str, str]) -> Iterator[Slurm]:
    if missing := [name for name in NEEDED if shutil.which(name) is None]:
        pytest.skip(f"no {', '.join(missing)} here: apt-get install slurm-wlm munge")
    if os.geteuid() != 0:
        pytest.skip("slurmd needs root")
    folder = Path(tempfile.mkdtemp(prefix="slurm"))  # pytest's own is too long a name for munge's socket
    folder.chmod(0o755)
    (folder / "state").mkdir()
    (folder / "key").write_bytes(os.urandom(1024))
    (folder / "key").chmod(0o600)
    config, log = folder / "slurm.conf", folder / "log"
    controller, node = free_ports(2)
    config.write_text(CONFIG.format(folder=folder, controller=controller, node=node, host=socket.gethostname()))
    one = Slurm(environment | {"SLURM_CONF": str(config)}, log)
    started: list[subprocess.Popen] = []
    try:
        with log.open("w") as said:
            for daemon in (
                [
                    *("munged", "--foreground", f"--socket={folder}/munge", f"--log-file={folder}/munge.log"),
                    *(f"--{name}-file={folder}/{name}" for name in ("key", "pid", "seed")),
                ],
                ["slurmctld", "-D", "-f", str(config)],
                ["slurmd", "-D", "-f", str(config)],
            ):
                # Where these tests are killed themselves, no daemon stays.
                command = ["setpriv", "--pdeathsig", "KILL", *daemon]
                started.append(subprocess.Popen(command, env=one.environment, stdout=said, stderr=said))
                if daemon[0] == "munged":
                    wait_until((folder / "munge").exists, within_s=30, said=log.read_text)

        def ready() -> bool:
            with contextlib.suppress(subprocess.CalledProcessError):
                return "idle" in one("sinfo", "--noheader", "--format=%T")
            return False

        try:
            wait_until(ready, within_s=60, said=log.read_text)
        except AssertionError as error:  # the script is what is tested, not whether this machine can have a Slurm
            pytest.skip(f"slurmctld and slurmd do not start here: {error}")
        yield one
    finally:
        kill_all_of(config)
        for process in started:
            process.wait()
        shutil.rmtree(folder)


def losses(run: Path) -> dict[int, float]:
    """By step; a line that is being written does not count."""
    written, _, _ = (run / "metrics.jsonl").read_text(encoding="utf-8").rpartition("\n")
    lines = [json.loads(line) for line in written.splitlines()]
    return {line["step"]: line["loss"] for line in lines}


def assert_same(found: Path, wanted: Path) -> None:
    assert list(losses(found)) == list(losses(wanted)) == list(range(1, STEPS + 1))
    a, b = (np.array(list(losses(run).values())) for run in (found, wanted))
    print(
        f"\n{a[0]:.6f} to {a[-1]:.6f}, one process {b[0]:.6f} to {b[-1]:.6f}; apart by {abs(a - b).max():.1e} at most"
    )
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def alone(environment, arguments, tmp_path_factory) -> Path:
    """The run of one process that nobody started but us."""
    run = tmp_path_factory.mktemp("alone") / "run"
    command = ["ichformer", "train", *arguments, "--steps", str(STEPS), "--out", str(run)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    return run


@pytest.mark.full
def test_two_tasks_are_one_training(slurm, arguments, alone, tmp_path):
    run = tmp_path / "run"
    job = slurm.submit("--ntasks=2", str(SCRIPT), *arguments, "--steps", str(STEPS), "--out", str(run), cwd=tmp_path)
    slurm.wait_for(job, "COMPLETED")
    assert_same(run, alone)
    # A task has one device: the mesh went over both.
    assert [len(json.loads((each / "run.json").read_text())["hardware"]["devices"]) for each in (run, alone)] == [2, 1]


@pytest.mark.full
def test_a_job_that_has_to_give_way_saves_and_goes_on(slurm, arguments, alone, tmp_path):
    run = tmp_path / "run"
    job = slurm.submit("--ntasks=2", str(SCRIPT), *arguments, "--steps", str(STEPS), "--out", str(run), cwd=tmp_path)
    out = tmp_path / f"ichformer-{job}.out"
    wait_until(
        lambda: (run / "metrics.jsonl").exists() and losses(run) != {}, within_s=1200, said=lambda: out.read_text()
    )
    urgent = slurm.submit("--partition=urgent", "--ntasks=2", "--wrap=true", cwd=tmp_path)
    slurm.wait_for(urgent, "COMPLETED")
    stopped = re.search(r"stopped after step (\d+) of", out.read_text())
    assert stopped, out.read_text()
    assert (run / "checkpoints" / stopped[1]).exists()
    slurm.wait_for(job, "COMPLETED")
    assert slurm.job(job)["Restarts"] == "1"
    assert_same(run, alone)


@pytest.mark.full
@pytest.mark.parametrize(
    ("told", "state", "restarts"),
    [
        (["--batch", "--signal=TERM"], "COMPLETED", 1),  # what Slurm does itself two minutes before the time is over
        ([], "CANCELLED", 0),
    ],
    ids=["its time is over", "cancelled"],
)
def test_who_is_stopped_goes_back_into_the_queue_unless_somebody_cancelled(slurm, tmp_path, told, state, restarts):
    command = tmp_path / "ichformer"
    command.write_text(STAND_IN)
    command.chmod(0o755)
    path = f"{tmp_path}:{slurm.environment['PATH']}"
    job = Slurm(slurm.environment | {"PATH": path}, slurm.log).submit("--ntasks=2", str(SCRIPT), cwd=tmp_path)
    out = tmp_path / f"ichformer-{job}.out"
    wait_until(lambda: out.exists() and out.read_text().count("trains") == 2, within_s=600, said=slurm.log.read_text)
    slurm("scancel", *told, job)
    slurm.wait_for(job, state)
    assert slurm.job(job)["Restarts"] == str(restarts)
    assert [out.read_text().count(word) for word in ("saved", "goes on")] == [2, 2 * restarts]


@pytest.mark.full
def test_bad_input_fails_the_job_with_its_exit_code(slurm, tmp_path):
    job = slurm.submit(str(SCRIPT), "--data.store", "nowhere", "--out", "run", cwd=tmp_path)
    slurm.wait_for(job, "FAILED")
    assert slurm.job(job)["ExitCode"] == "2:0"
    assert "nowhere" in (tmp_path / f"ichformer-{job}.out").read_text()
