"""docs/how-to/beside-a-pacs.md, letter by letter but for the ports: a study comes back as results."""

import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pydicom
import pytest

from ichformer.serving.settings import read_settings
from tests.pages import ROOT, shown
from tests.processes import with_one_device
from tests.serving.studies import free_port

PAGE = ROOT / "docs" / "how-to" / "beside-a-pacs.md"
STEPS = shown(PAGE)


def test_the_steps_are_those_that_are_tried_here(tmp_path):
    assert [step.kind for step in STEPS] == ["program", "toml", "command", "program", "command"]
    (tmp_path / "node.toml").write_text(STEPS[1].text)
    settings = read_settings(tmp_path / "node.toml", {})
    assert (settings.listen.port, settings.status_port, settings.send[0].port) == (11112, 8090, 11113)


@pytest.mark.full(minutes=2)
def test_a_study_is_sent_and_its_results_arrive(tiny_store, tmp_path):
    ports = {port: str(free_port()) for port in ("11112", "11113", "8090")}
    receive, settings, serve, send, queue = (re.sub("|".join(ports), lambda m: ports[m[0]], one.text) for one in STEPS)
    (tmp_path / "node.toml").write_text(settings)
    shutil.copytree(
        next(path.parent for path in sorted((tiny_store.parent / "cohort").rglob("*.dcm"))), tmp_path / "scan"
    )
    environment = with_one_device(PYTHONPATH=str(ROOT))

    def begin(line: str) -> subprocess.Popen:
        words = [sys.executable, *shlex.split(line.removeprefix("python "))]
        return subprocess.Popen(words, cwd=tmp_path, env=environment, stdout=said, stderr=said)

    with (tmp_path / "said.log").open("ab") as said:
        running = [begin(receive), begin(f"-m ichformer {serve}")]
        try:
            until = time.monotonic() + 600
            while begin(send).wait(timeout=600) != 0:  # the node needs some seconds to start
                assert time.monotonic() < until, (tmp_path / "said.log").read_text()
            while "SR" not in {pydicom.dcmread(path).Modality for path in received(tmp_path / "archive")}:
                assert time.monotonic() < until, (tmp_path / "said.log").read_text()
                time.sleep(0.5)
            assert begin(f"-m ichformer {queue}").wait(timeout=600) == 0
        finally:
            for process in reversed(running):
                process.terminate()
                process.wait(timeout=600)


def received(archive: Path) -> list[Path]:
    """Files that have come whole."""
    return [path for path in archive.rglob("*") if path.is_file() and path.read_bytes()[128:132] == b"DICM"]
