"""One function over many things: in order, each once, and nothing is begun after the end."""

import errno
import os
import resource
import signal
import subprocess
import sys
import time
import types
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from ichformer.errors import InputError
from ichformer.pipeline.augmentation.augment import Augmentation
from ichformer.pipeline.loader import training_batches
from ichformer.pipeline.preparation.workers import run_all
from ichformer.pipeline.store.records import Store
from ichformer.process.workers import check_guard, ending_in_order, map_processes

MANY, BAD = 60, 10


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (
            "import ichformer as ich\nich.train('store', out='run')\n",
            "a script that starts worker processes needs a guard",
        ),
        ("if __name__ == '__main__':\n    print()\n", ""),
        (None, ""),
    ],
    ids=["no guard", "guard", "notebook"],
)
def test_a_script_without_a_guard_is_refused(tmp_path, monkeypatch, script, said):
    """Its workers would start it again from its first line, and the process that waits for them would wait for ever."""
    main = types.ModuleType("__main__")
    if script is not None:
        main.__file__ = str(tmp_path / "script.py")
        (tmp_path / "script.py").write_text(script, encoding="utf-8")
    monkeypatch.setitem(sys.modules, "__main__", main)
    if said:
        with pytest.raises(InputError, match=said):
            check_guard()
    else:
        check_guard()


def leave_a_mark(folder: Path, number: int) -> int:
    (folder / str(number)).touch()
    time.sleep(0.5 if number > BAD else 0.05)  # a worker that runs ahead while another starts does not do them all
    if number == BAD:
        raise ValueError(number)
    return number * number


def leave_a_mark_slowly(folder: Path, number: int) -> int:
    """Later ones take long, so that a worker that runs ahead while another starts does not do them all."""
    (folder / str(number)).touch()
    time.sleep(0.5 if number > 1 else 0.0)
    return number


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_every_thing_once_and_in_order(tmp_path, workers):
    of_ten = map_processes(partial(leave_a_mark, tmp_path), range(BAD), desc="", unit="", workers=workers)
    assert list(of_ten) == [number * number for number in range(BAD)]
    assert len(list(tmp_path.iterdir())) == BAD


@pytest.mark.slow
def test_who_stops_early_does_not_wait_for_the_rest(tmp_path):
    of_many = map_processes(partial(leave_a_mark_slowly, tmp_path), range(MANY), desc="", unit="", workers=2)
    assert next(of_many) == 0
    of_many.close()
    assert len(list(tmp_path.iterdir())) < MANY


@pytest.mark.slow
def test_ctrl_c_while_the_bar_is_drawn_does_not_either(tmp_path, monkeypatch):
    def interrupted(bar, n):
        raise KeyboardInterrupt

    monkeypatch.setattr("ichformer.process.workers.tqdm.update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(map_processes(partial(leave_a_mark_slowly, tmp_path), range(MANY), desc="", unit="", workers=2))
    assert len(list(tmp_path.iterdir())) < MANY


@pytest.mark.slow
def test_an_error_is_handed_on_and_the_rest_is_left(tmp_path):
    with pytest.raises(ValueError, match=str(BAD)):
        list(map_processes(partial(leave_a_mark, tmp_path), range(MANY), desc="", unit="", workers=2))
    assert len(list(tmp_path.iterdir())) < MANY


def test_the_bar_counts_units_and_few_things_have_none(tmp_path, capfd):
    mark = partial(leave_a_mark, tmp_path)
    assert len(list(map_processes(mark, range(3), desc="few", unit="file", serial=3))) == 3
    assert capfd.readouterr().err == ""
    assert len(list(map_processes(mark, range(3), desc="headers", unit="file", sizes=[5, 6, 7], workers=1))) == 3
    said = capfd.readouterr().err
    assert "headers" in said
    assert "18/18" in said


def fresh_pages(_: int) -> int:
    def pages() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        np.ones(8_000_000)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    return min(pages() for _ in range(5))


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc alone")
def test_workers_take_the_memory_of_their_last_array():
    of_64_mb = list(map_processes(fresh_pages, range(2), desc="", unit="", workers=2))
    assert max(of_64_mb) < 200  # of 15,625


def mark_and_wait(folder: Path, number: int) -> None:
    (folder / f"worker{number}").write_text(str(os.getpid()))
    time.sleep(600)


WAITS = """
import sys
from functools import partial
from pathlib import Path
from ichformer.process.workers import ending_in_order, map_processes
from tests.process.test_workers import mark_and_wait
if __name__ == "__main__":
    with ending_in_order():
        list(map_processes(partial(mark_and_wait, Path(sys.argv[1])), range(2), desc="", unit="", progress=False))
"""


def is_running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_workers_end_with_their_parent(tmp_path):
    """A worker in the middle of a task, whose parent is killed and can tell it nothing."""
    with subprocess.Popen([sys.executable, "-c", WAITS, tmp_path], stderr=subprocess.DEVNULL) as parent:
        deadline = time.monotonic() + 120
        while len(files := [file for file in tmp_path.iterdir() if file.read_text()]) < 2:
            assert parent.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        workers = [int(file.read_text()) for file in files]
        assert all(map(is_running, workers))
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    deadline = time.monotonic() + 60
    while any(map(is_running, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_clears_up_as_an_exception_does(tmp_path, number):
    def interrupted() -> None:
        try:
            os.kill(os.getpid(), number)
            time.sleep(60)
        finally:
            (tmp_path / "cleared").touch()

    before = signal.signal(number, signal.SIG_DFL)  # nohup, under which these tests may run, ignores SIGHUP
    try:
        with pytest.raises(SystemExit) as ended, ending_in_order():
            interrupted()
        assert ended.value.code == 128 + number
        assert (tmp_path / "cleared").exists()
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)


def test_a_signal_that_somebody_else_handles_is_left_to_him():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with ending_in_order():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_no_shared_memory_is_one_line(tmp_path, monkeypatch, tiny_store):
    """As where /dev/shm is not there or may not be written to; whether workers read scans or prepare them."""

    def refused(*_, **__):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr("multiprocessing.synchronize.SemLock.__init__", refused)
    asked = {"split": "train", "seed": 0, "batch_size": 2, "num_slices": 4, "augmentation": Augmentation()}
    store = Store.open(tiny_store)
    for work in (
        lambda: list(map_processes(partial(leave_a_mark, tmp_path), range(9), desc="", unit="", workers=2)),
        lambda: list(run_all(len, ["a"], executor=None, workers=1)),
        lambda: training_batches(store, **asked, num_workers=1),
    ):
        with pytest.raises(InputError, match=r"/dev/shm: worker processes need shared memory there \(No such file"):
            work()
    assert list(tmp_path.iterdir()) == []


CLEANS_UP = """
import os, signal, sys, time
from ichformer.process.workers import ending_in_order
with ending_in_order():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGHUP)
        print("cleaned up")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
def test_a_second_signal_does_not_interrupt_the_cleaning_up():
    done = subprocess.run([sys.executable, "-c", CLEANS_UP], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (128 + signal.SIGTERM, "cleaned up\n", "")
