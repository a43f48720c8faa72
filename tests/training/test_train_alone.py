"""Two trainings of one folder: the second is refused, whatever it would have done, and the first goes on unharmed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ichformer.cli import main
from ichformer.errors import InputError
from ichformer.files.lease import hold, is_lease
from ichformer.training.config import DataConfig, ModelConfig, ParallelConfig, TrainConfig
from ichformer.training.trainer import run_training
from tests.processes import with_one_device


def config_of(store: Path) -> TrainConfig:
    return TrainConfig(
        data=DataConfig(store=str(store), batch_size=2, num_slices=4),
        model=ModelConfig(name="slice_vit_nano"),
        parallel=ParallelConfig(data=1),
        steps=2,
    )


def test_a_folder_in_which_another_trains_is_refused_and_left_as_it_is(tiny_store, tmp_path):
    run = tmp_path / "run"
    with hold(run, what="training"):
        with pytest.raises(InputError, match=r"another training \(process \d+ on .+\) works there since"):
            run_training(config_of(tiny_store), run, progress=False)
        assert all(map(is_lease, run.iterdir()))


def test_the_command_says_so_in_one_line_and_ends_with_2(tiny_store, tmp_path, capfd):
    run = tmp_path / "run"
    command = ["train", "--data.store", str(tiny_store), "--data.batch-size", "2", "--out", str(run)]
    with hold(run, what="training"), pytest.raises(SystemExit) as ended:
        main([*command, "--model.name", "slice_vit_nano", "--parallel.data", "1"])
    assert ended.value.code == 2
    said = capfd.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert "works there" in said[0]


def test_a_folder_that_is_no_run_is_refused_and_keeps_no_lease(tiny_store, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="is there and is no run"):
        run_training(config_of(tiny_store), tmp_path, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.full
def test_a_killed_training_is_followed_at_once_and_a_suspended_one_notices(tiny_store, tmp_path):
    """By processes as users start them: two at once, SIGKILL, and SIGSTOP until another has the folder."""
    run = tmp_path / "run"
    command = [sys.executable, "-m", "ichformer", "train", "--out", str(run), "--data.store", str(tiny_store)]
    command += ["--data.batch-size", "2", "--data.num-slices", "4", "--model.name", "slice_vit_nano"]
    command += ["--steps", "1000000", "--log-every", "1", "--checkpoint-every", "5"]
    started: list[subprocess.Popen] = []

    def start() -> subprocess.Popen:
        started.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=with_one_device()))
        return started[-1]

    def steps() -> list[int]:
        file = run / "metrics.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return [json.loads(line)["step"] for line in lines]

    def wait_for_steps(more: int) -> None:
        first, deadline = len(steps()), time.monotonic() + 600
        while len(steps()) < first + more:
            assert started[-1].poll() is None, started[-1].communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def wait_for_a_save() -> None:
        """Until a checkpoint is being written: who is suspended then has its unfinished files deleted by the next."""
        deadline = time.monotonic() + 600
        while not list((run / "checkpoints").glob("*tmp*")):
            assert started[-1].poll() is None, started[-1].communicate()
            assert time.monotonic() < deadline
            time.sleep(0.001)

    try:
        first = start()
        wait_for_steps(12)
        second = start()
        _, said = second.communicate(timeout=600)
        assert second.returncode == 2
        assert f"another training (process {first.pid} on" in said.strip().splitlines()[-1]
        assert "Traceback" not in said
        assert steps() == list(range(1, len(steps()) + 1))

        first.send_signal(signal.SIGKILL)
        first.wait()
        third = start()
        wait_for_steps(12)
        assert steps() == list(range(1, len(steps()) + 1))

        wait_for_a_save()
        third.send_signal(signal.SIGSTOP)
        [lease] = filter(is_lease, run.iterdir())
        then = time.time() - 3600  # as if it had been stopped for an hour
        os.utime(lease, (then, then))
        fourth = start()
        wait_for_steps(12)
        third.send_signal(signal.SIGCONT)
        _, said = third.communicate(timeout=600)
        assert third.returncode == 2, said
        assert "gave no sign of life for too long" in said.strip().splitlines()[-1]
        assert f"(process {fourth.pid} on" in said
        assert "Traceback" not in said
        wait_for_steps(5)
        fourth.send_signal(signal.SIGTERM)
        fourth.communicate(timeout=600)
        assert fourth.returncode == 0
        assert not list(filter(is_lease, run.iterdir()))
        # The line that the suspended one was about to write was not written.
        assert steps() == list(range(1, len(steps()) + 1))
    finally:
        for process in started:
            process.kill()
            process.wait()
            assert process.stderr is not None
            process.stderr.close()
