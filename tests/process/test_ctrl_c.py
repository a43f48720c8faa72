"""Ctrl-C at any moment: exit code 130 and no traceback, of the command and of the processes that it starts."""

import contextlib
import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ichformer.process.ctrl_c import end_at_ctrl_c, raising_at_ctrl_c
from ichformer.process.workers import process_pool, start_worker

HEEDS_IT = ["env", "--default-signal=INT"]  # whatever these tests inherited


def test_before_and_after_the_work_it_ends_at_once():
    """In an import that turns every exception into another, and when Python ends."""
    code = """
import os, signal
from ichformer.process.ctrl_c import end_at_ctrl_c, raising_at_ctrl_c
end_at_ctrl_c()
where = {where!r}
if where == "import":
    try: os.kill(os.getpid(), signal.SIGINT)
    except BaseException: raise ImportError
with raising_at_ctrl_c():
    try:
        if where == "work": os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt: print("raised", flush=True)
os.kill(os.getpid(), signal.SIGINT)
print("never")
"""
    for where, printed in (("import", ""), ("work", "raised\n"), ("end", "")):
        words = [*HEEDS_IT, sys.executable, "-c", code.format(where=where)]
        said = subprocess.run(words, capture_output=True, text=True)
        assert (said.returncode, said.stdout, said.stderr) == (130, printed, "")


def test_a_handler_of_somebody_else_stays():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        end_at_ctrl_c()
        with raising_at_ctrl_c():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def interrupts_itself(_: int) -> bool:
    os.kill(os.getpid(), signal.SIGINT)
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def blocked(marks: Path) -> None:
    """A worker's first act, before ``start_worker``: the signal waits."""
    os.kill(os.getpid(), signal.SIGINT)
    (marks / str(os.getpid())).touch()
    start_worker()


def test_a_worker_notices_nothing_from_its_first_moment(tmp_path, capfd):
    with process_pool(1, initializer=functools.partial(blocked, tmp_path)) as pool:
        assert pool.submit(interrupts_itself, 0).result() is False
    assert len(list(tmp_path.iterdir())) == 1
    assert capfd.readouterr().err == ""
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.slow
@pytest.mark.parametrize("wait_s", [0.2, 1.0, 2.0, 3.0])
def test_prepare_at_any_moment(tmp_path, wait_s, tiny_store):
    """As a terminal does it: the signal goes to the command and to all of its workers, also those that only start."""
    words = ["prepare", "--dataset", "phantom", "--source", str(tiny_store.parent / "cohort"), "--size", "32"]
    command = [*HEEDS_IT, sys.executable, "-m", "ichformer", *words, "--out", str(tmp_path / "store")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        time.sleep(wait_s)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        assert process.stderr is not None
        said = process.stderr.read()
    assert process.returncode in (130, 0)  # 0 where it was done already
    assert "Traceback" not in said
    assert "Exception ignored" not in said
