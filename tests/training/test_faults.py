"""What a disk, a folder or a store refuses is one line with the fix and exit code 2; once fixed, the run goes on.

The command line itself, in processes of its own.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
import pytest

from ichformer.cli import main
from ichformer.training.runs.run import Run
from tests.processes import with_one_device

STEPS = 60
TRAIN = ["--data.batch-size", "2", "--data.num-slices", "4", "--model.name", "slice_vit_nano", "--steps", str(STEPS)]


@pytest.fixture(scope="module")
def store(tiny_store: Path) -> Path:
    return tiny_store


def words(store: Path, run: Path, *more: object) -> list[str]:
    """A training that writes metrics after every step and saves after every sixth, unless ``more`` says otherwise."""
    told = ["train", "--out", run, "--data.store", store, *TRAIN, "--log-every", 1, "--checkpoint-every", 6]
    told += ["--parallel.data", 1, *more]
    return [str(word) for word in told]


def start(arguments: list[str], *wrapper: str, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [*wrapper, sys.executable, "-m", "ichformer", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env=with_one_device(**environment),
    )


def finish(process: subprocess.Popen) -> tuple[int, str]:
    """Exit code and what was said on standard error, without the bar."""
    _, said = process.communicate(timeout=600)
    return process.returncode, "\n".join(line for line in said.splitlines() if line and not line.startswith("train:"))


_BEFORE = ("settings: ", "labels known in", "  ", "Not trained: ", "memory: ")


def refused(process: subprocess.Popen) -> str:
    """The one line of a process that ended with exit code 2; what the training takes and knows may stand before it."""
    code, said = finish(process)
    assert code == 2, said
    *before, last = said.splitlines()
    assert last.startswith("ichformer: error: ")
    assert all(line.startswith(_BEFORE) for line in before), said
    return last


@pytest.fixture(scope="module")
def undisturbed(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "undisturbed"
    code, said = finish(start(words(store, run)))
    assert code == 0, said
    return run


def losses(run: Path) -> dict[int, float]:
    """Of the whole lines; a line that is none is an error."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return {line["step"]: line["loss"] for line in lines}


def assert_goes_on(process: subprocess.Popen, run: Path, undisturbed: Path) -> None:
    code, said = finish(process)
    assert code == 0, said
    assert losses(run) == losses(undisturbed)
    found, wanted = Run.open(run), Run.open(undisturbed)
    assert found.step == wanted.step == STEPS
    jax.tree.map(np.testing.assert_array_equal, found.params, wanted.params)


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Callable[[str], None]]:
    """A disk of ``size`` at ``folder``; what is given changes its options."""
    folder.mkdir()

    def mount(*words: object) -> None:
        done = subprocess.run(["mount", *map(str, words)], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")

    if os.geteuid() or shutil.which("mount") is None:
        pytest.skip("mounting a small disk needs Linux and root")
    mount("-t", "tmpfs", "-o", f"size={size}", "none", folder)
    try:
        yield lambda options: mount("-o", f"remount,{options}", folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.full
def test_a_disk_that_is_full_while_a_checkpoint_is_written_and_then_read_only(store, undisturbed, tmp_path):
    n_bytes = sum(f.stat().st_size for f in (undisturbed / "checkpoints").rglob("*") if f.is_file())
    disk = tmp_path / "disk"
    with small_disk(disk, str(2 * n_bytes)) as remount:
        run = disk / "run"
        said = refused(start(words(store, run, "--keep-checkpoints", 9)))
        assert "No space left on device; make room on the disk, then run the same command again" in said
        assert str(run) in said
        assert 0 < max(losses(run)) < STEPS
        kept = {path.name for path in (run / "checkpoints").iterdir() if path.name.isdigit()}
        assert kept

        remount(f"ro,size={2 * n_bytes}")
        said = refused(start(words(store, run)))
        assert f"{run}" in said
        assert "Read-only file system; make it writable or name another place, then run the same command again" in said
        remount("rw,size=1g")
        assert_goes_on(start(words(store, run)), run, undisturbed)


@pytest.mark.full
def test_a_disk_that_is_full_while_metrics_are_written(store, undisturbed, tmp_path):
    disk = tmp_path / "disk"
    with small_disk(disk, "40k") as remount:
        run = disk / "run"
        said = refused(start(words(store, run, "--checkpoint-every", 1000)))
        assert "No space left on device" in said
        assert re.search(r"metrics\.jsonl|events\.out\.tfevents", said)
        assert list(losses(run)) == list(range(1, max(losses(run)) + 1))
        assert not any(path.name.endswith(".tmp") for path in run.iterdir())
        remount("size=1g")
        assert_goes_on(start(words(store, run)), run, undisturbed)


@pytest.mark.full
def test_files_that_may_not_grow(store, undisturbed, tmp_path):
    """As on a full disk, where no disk can be mounted: the background thread of Orbax meets the limit."""

    run, limited = tmp_path / "run", ("sh", "-c", 'ulimit -f 200; exec "$0" "$@"')
    said = refused(start(words(store, run), *limited, JAX_ENABLE_COMPILATION_CACHE="0"))
    assert "File too large; raise the limit on the size of a file (ulimit -f)" in said
    assert not [path for path in (run / "checkpoints").iterdir() if path.name.isdigit()]
    assert_goes_on(start(words(store, run)), run, undisturbed)


@pytest.mark.full
def test_a_shard_that_vanishes_under_a_training(store, undisturbed, tmp_path):
    copy, run = tmp_path / "store", tmp_path / "run"
    shutil.copytree(store, copy)
    process = start(words(copy, run, "--steps", STEPS))
    wait_for(process, lambda: (run / "metrics.jsonl").exists() and len(losses(run)) > 2)
    shards = sorted((copy / "shards").iterdir())
    for shard in shards:
        shard.rename(tmp_path / shard.name)
    said = refused(process)
    assert "the shard" in said
    assert "run prepare again" in said
    for shard in shards:
        (tmp_path / shard.name).rename(shard)
    assert_goes_on(start(words(copy, run)), run, undisturbed)


def wait_for(process: subprocess.Popen, there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 600
    while not there():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("last", "says"),
    [
        pytest.param("run.json", "stopped before step 1 of 60", marks=pytest.mark.slow),
        pytest.param("tensorboard", "stopped after step 1 of 60", marks=pytest.mark.full),
    ],
)
def test_sigterm_while_it_starts_or_compiles(store, undisturbed, tmp_path, last, says):
    """``last`` is what was written before; the step is compiled anew, which takes seconds."""
    run = tmp_path / "run"
    process = start(words(store, run), JAX_COMPILATION_CACHE_DIR=str(tmp_path / "cache"))
    wait_for(process, lambda: (run / last).exists())
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    code, said = finish(process)
    assert code == 0, said
    assert says in said
    assert_goes_on(start(words(store, run)), run, undisturbed)


def test_a_store_that_lacks_a_shard(store, tmp_path, capsys):
    shutil.copytree(store, tmp_path / "store")
    shard = next((tmp_path / "store" / "shards").iterdir())
    shard.unlink()
    with pytest.raises(SystemExit) as ended:
        main(words(tmp_path / "store", tmp_path / "run"))
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{shard.name}: the shard is missing" in said
    assert "run prepare again" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("version", [0, 2, None])
def test_a_config_of_another_version(store, tmp_path, capsys, version):
    (tmp_path / "config.json").write_text(json.dumps({"version": version}), encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        main(words(store, tmp_path))
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"is of layout version {version}, this ichformer reads 1; use the ichformer that wrote it" in said
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
