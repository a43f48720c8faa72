"""One process at a time in a folder: who is refused, who takes over, and how the one that lost it learns of it."""

import contextlib
import dataclasses
import errno
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ichformer.errors import InputError, Stopped
from ichformer.files import holder as holders
from ichformer.files import lease as module
from ichformer.files.holder import Holder
from ichformer.files.lease import hold, is_lease

BEAT_S, BOUND_S = 0.05, 0.3

HOLDS = """
import sys, time
from pathlib import Path
from ichformer.files.lease import hold
with hold(Path(sys.argv[1]), what="training"):
    print("held", flush=True)
    time.sleep(600)
"""

ELSEWHERE = Holder(
    what="training",
    host="node7",
    machine="another",
    pid=1,
    started="1",
    since="2026-01-01 00:00:00 UTC",
    token="0" * 32,
)


def leases(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if is_lease(path))


def left_by(holder: Holder, folder: Path, *, number: int = 1, age_s: float = 0.0) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f".lease.{number}"
    path.write_text(json.dumps(dataclasses.asdict(holder)))
    then = time.time() - age_s
    os.utime(path, (then, then))
    return path


@contextlib.contextmanager
def held_elsewhere(folder: Path, *, clock_s: float = 0.0):
    """As a process of another machine holds it, whose clock differs: alive, but not to be seen from here."""
    path, stop = left_by(ELSEWHERE, folder, age_s=-clock_s), threading.Event()

    def beat() -> None:
        while not stop.wait(BEAT_S):
            now = time.time() + clock_s
            os.utime(path, (now, now))

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def holder(tmp_path):
    """Another process of this machine that holds ``tmp_path / "run"``."""
    command = [sys.executable, "-c", HOLDS, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_folder_is_made_held_and_left_as_it_was(tmp_path):
    threads = set(threading.enumerate())
    with hold(tmp_path / "a" / "run", what="training") as lease:
        assert leases(tmp_path / "a" / "run") == [".lease.1"]
        lease.confirm()
    assert list((tmp_path / "a" / "run").iterdir()) == []
    assert set(threading.enumerate()) == threads


def test_a_second_one_of_the_same_process_is_refused_in_one_line(tmp_path):
    with hold(tmp_path, what="training"):
        wanted = rf"another training \(process {os.getpid()} on .+\) works there since .+ UTC; wait until it ends"
        with pytest.raises(InputError, match=wanted) as refused, hold(tmp_path, what="training"):
            pass
        assert "\n" not in str(refused.value)
        assert leases(tmp_path) == [".lease.1"]
    with hold(tmp_path, what="training"):
        pass


def test_another_process_is_refused_while_it_lives_and_not_once_it_was_killed(tmp_path, holder, capfd):
    with pytest.raises(InputError, match=f"process {holder.pid} on"), hold(tmp_path / "run", what="training"):
        pass
    holder.send_signal(signal.SIGKILL)
    # Nobody has waited for it yet: it is a zombie, which the system still lists.
    deadline = time.monotonic() + 60
    while holders._process(holder.pid)[0] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with hold(tmp_path / "run", what="training"):
        assert leases(tmp_path / "run") == [".lease.2"]
    assert leases(tmp_path / "run") == []
    assert capfd.readouterr().err == ""  # nothing was waited for


def test_a_process_number_that_another_process_has_by_now_holds_nothing(tmp_path):
    mine = holders.this_process("training")
    left_by(dataclasses.replace(mine, started="1"), tmp_path)
    with hold(tmp_path, what="training"):
        assert leases(tmp_path) == [".lease.2"]


def test_a_process_that_proc_hides_lives_all_the_same(tmp_path, holder, monkeypatch):
    """With hidepid, /proc lists no processes of other users, who may share the folder."""
    monkeypatch.setattr(holders, "_process", lambda pid: None)
    with pytest.raises(InputError, match=f"process {holder.pid} on"), hold(tmp_path / "run", what="training"):
        pass
    assert leases(tmp_path / "run") == [".lease.1"]


@pytest.mark.parametrize("clock_s", [0.0, -3600.0, 3600.0])
def test_one_that_cannot_be_seen_is_refused_at_its_first_sign_of_life(tmp_path, clock_s):
    """Whatever its clock says: an old time alone takes nothing from one that lives."""
    with (
        held_elsewhere(tmp_path, clock_s=clock_s),
        pytest.raises(InputError, match=r"another training \(process 1 on node7\) works there"),
        hold(tmp_path, what="training", beat_s=30.0, bound_s=60.0),
    ):
        pass
    assert leases(tmp_path) == [".lease.1"]


@pytest.mark.parametrize("age_s", [0.0, 3600.0, -3600.0], ids=["just now", "long ago", "in the future"])
def test_one_that_stays_silent_is_taken_over_and_that_is_said(tmp_path, capfd, age_s):
    left_by(ELSEWHERE, tmp_path, age_s=age_s)
    with hold(tmp_path, what="training", beat_s=BEAT_S, bound_s=BOUND_S):
        assert leases(tmp_path) == [".lease.2"]
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert "is held by another training (process 1 on node7); goes on if that gives no sign of life within" in said


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00\xff", b"[]", b"{}", b"[" * 100_000, b'{"pid": "x"}', b"1" * 9_999],
    ids=["empty", "bytes", "list", "object", "deep", "kinds", "digits"],
)
def test_a_lease_that_does_not_say_whose_it_is_is_judged_by_its_signs_of_life(tmp_path, content):
    (tmp_path / ".lease.1").write_bytes(content)
    with hold(tmp_path, what="training", beat_s=BEAT_S, bound_s=BOUND_S):
        assert leases(tmp_path) == [".lease.2"]


def test_what_a_lease_says_is_printed_as_one_line(tmp_path, capfd):
    left_by(dataclasses.replace(ELSEWHERE, host="a\nb\x1b[31m", what="x\n"), tmp_path)
    with hold(tmp_path, what="training", beat_s=BEAT_S, bound_s=BOUND_S):
        pass
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert "\x1b" not in said


def test_who_waits_ends_where_it_is_told_to(tmp_path):
    left_by(ELSEWHERE, tmp_path)
    with (
        pytest.raises(Stopped, match="stopped while waiting for another training"),
        hold(tmp_path, what="training", is_told_to_stop=lambda: True),
    ):
        pass
    assert leases(tmp_path) == [".lease.1"]


def test_a_lease_that_ends_while_it_is_watched_is_free(tmp_path):
    path = left_by(ELSEWHERE, tmp_path)
    timer = threading.Timer(0.1, path.unlink)
    timer.start()
    with hold(tmp_path, what="training", beat_s=BEAT_S, bound_s=60.0):
        pass
    timer.join()


def take(folder: Path, count: int, ready, results) -> None:
    ready.wait()
    for _ in range(count):
        try:
            with hold(folder, what="training", beat_s=BEAT_S, bound_s=5.0):
                # Who is alone here finds no mark of another.
                with (folder / "alone").open("x"):
                    time.sleep(0.001)
                (folder / "alone").unlink()
            results.put("held")
        except InputError as error:
            results.put("refused" if "works there" in str(error) else str(error))
        except FileExistsError:
            results.put("two at once")


def test_of_many_that_take_over_at_once_one_wins(tmp_path):
    """Time after time, from a dead process's lease and from none."""
    dead = dataclasses.replace(holders.this_process("training"), started="1")
    left_by(dead, tmp_path, number=3)
    left_by(dead, tmp_path, number=7)
    context = multiprocessing.get_context("fork") if "jax" not in sys.modules else multiprocessing.get_context("spawn")
    takers, count = 3, 25
    ready, results = context.Barrier(takers), context.Queue()
    processes = [context.Process(target=take, args=(tmp_path, count, ready, results)) for _ in range(takers)]
    for process in processes:
        process.start()
    found = [results.get(timeout=120) for _ in range(takers * count)]
    for process in processes:
        process.join()
    assert set(found) <= {"held", "refused"}
    assert found.count("held") >= takers
    assert leases(tmp_path) == []


@pytest.mark.slow
def test_who_was_suspended_finds_the_folder_taken_over_before_it_writes(tmp_path, monkeypatch):
    with hold(tmp_path, what="training", beat_s=600.0) as lease:
        lease.confirm()
        left_by(ELSEWHERE, tmp_path, number=2)
        clock = module._clock
        monkeypatch.setattr(module, "_clock", lambda: clock() + 3600)
        wanted = r"this training gave no sign of life for too long, and another training \(process 1 on node7\) took"
        for _ in range(2):
            with pytest.raises(InputError, match=wanted) as lost:
                lease.confirm()
        assert "\n" not in str(lost.value)
    assert leases(tmp_path) == [".lease.2"]


def test_what_fails_where_another_works_by_now_fails_for_that_reason(tmp_path, monkeypatch):
    """As a checkpoint does that was half-written when the process was suspended, and that the other cleared away."""

    def write() -> None:
        with hold(tmp_path, what="training", beat_s=600.0):
            left_by(ELSEWHERE, tmp_path, number=2)
            clock = module._clock
            monkeypatch.setattr(module, "_clock", lambda: clock() + 3600)
            (tmp_path / "no such folder" / "file").write_text("")

    with pytest.raises(InputError, match="took the folder over"):
        write()


def test_who_was_suspended_and_still_holds_the_folder_goes_on(tmp_path, monkeypatch):
    with hold(tmp_path, what="training", beat_s=600.0) as lease:
        os.utime(tmp_path / ".lease.1", (0, 0))
        clock = module._clock
        monkeypatch.setattr(module, "_clock", lambda: clock() + 3600)
        lease.confirm()
        assert (tmp_path / ".lease.1").stat().st_mtime > 0  # at once a sign of life


@pytest.mark.slow
def test_the_beat_learns_of_it_as_well_and_ends(tmp_path):
    with hold(tmp_path, what="training", beat_s=BEAT_S) as lease:
        left_by(ELSEWHERE, tmp_path, number=2)
        lease._thread.join(timeout=60)
        assert not lease._thread.is_alive()
        with pytest.raises(InputError, match="took the folder over"):
            lease.confirm()


def test_a_folder_that_vanishes_ends_the_beat_and_is_said(tmp_path):
    with hold(tmp_path / "run", what="training", beat_s=BEAT_S) as lease:
        shutil.rmtree(tmp_path / "run")
        lease._thread.join(timeout=60)
        assert not lease._thread.is_alive()
        with pytest.raises(InputError, match=r"the lease of this training is gone"):
            lease.confirm()


def test_a_lease_is_kept_fresh(tmp_path):
    with hold(tmp_path, what="training", beat_s=BEAT_S):
        path = tmp_path / ".lease.1"
        before, deadline = path.stat().st_mtime_ns, time.monotonic() + 60
        while path.stat().st_mtime_ns == before:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_file_system_without_links_and_what_the_killed_left(tmp_path, monkeypatch):
    left = tmp_path / ".lease.abc.tmp"
    left.write_text("")
    os.utime(left, (0, 0))

    def refuse(*_):
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    with hold(tmp_path, what="training"):
        assert leases(tmp_path) == [".lease.1"]
        with pytest.raises(InputError, match="works there"), hold(tmp_path, what="training"):
            pass
    assert leases(tmp_path) == []


def test_where_a_file_stands_or_nothing_may_be_written_one_line_says_so(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file; name a folder"), hold(tmp_path / "file", what="training"):
        pass

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match="No space left on device; make room"), hold(tmp_path / "run", what="training"):
        pass
    assert leases(tmp_path / "run") == []


def test_a_look_tells_whether_a_work_is_done_there(tmp_path):
    assert not module.is_held(tmp_path / "nowhere", what="training")
    with hold(tmp_path, what="training"):
        assert module.is_held(tmp_path, what="training")
        assert not module.is_held(tmp_path, what="evaluation")
    assert not module.is_held(tmp_path, what="training")
    ours = holders.this_process("training")
    left_by(dataclasses.replace(ours, started="1"), tmp_path, number=1)  # dead
    assert not module.is_held(tmp_path, what="training")
    elsewhere = dataclasses.replace(ours, machine="another")
    left_by(elsewhere, tmp_path, number=2)
    assert module.is_held(tmp_path, what="training")
    left_by(elsewhere, tmp_path, number=3, age_s=3600.0)
    assert not module.is_held(tmp_path, what="training")


def test_a_file_system_that_does_not_answer_for_a_moment_takes_no_lease_away(tmp_path, monkeypatch):
    def busy(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    with hold(tmp_path, what="training", beat_s=0.02) as lease:
        with monkeypatch.context() as patched:
            patched.setattr(Path, "open", busy)
            time.sleep(0.2)
        time.sleep(0.2)
        lease.confirm()
