"""The whole node as a process: from an image that comes to results in an archive, and what it leaves of both."""

import json
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pydicom
import pytest
from pynetdicom import AE, AllStoragePresentationContexts, evt

from ichformer.cli import main
from tests.processes import with_one_device
from tests.serving.sockets import UNCLOSED, collect_sockets
from tests.serving.studies import associate, free_port, send, study

pytestmark = UNCLOSED
collected = pytest.fixture(collect_sockets, scope="module", autouse=True)

SETTINGS = """
status_port = {status}
keep_s = {keep_s}
[listen]
port = {port}
[study]
quiet_s = 0.5
cut_short_s = 600
[limits]
free_disk_mb = 0
[[send]]
kind = "dicom"
aet = "PACS"
host = "127.0.0.1"
port = {archive}
"""


class Archive:
    """What was stored, by SOPInstanceUID; objects come as often as they are sent."""

    def __init__(self):
        self.objects: dict[str, pydicom.Dataset] = {}
        self.times: dict[str, int] = {}
        entity = AE(ae_title="PACS")
        entity.supported_contexts = AllStoragePresentationContexts
        handlers = [(evt.EVT_C_STORE, self._store)]
        self.server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        self.port = self.server.server_address[1]

    def _store(self, event):
        made = event.dataset
        self.objects[made.SOPInstanceUID] = made
        self.times[made.SOPInstanceUID] = self.times.get(made.SOPInstanceUID, 0) + 1
        return 0x0000

    def reports(self, uid=None):
        return [one for one in self.objects.values() if one.Modality == "SR" and uid in (None, one.StudyInstanceUID)]


class Node:
    """A node as a process."""

    def __init__(self, folder: Path, run: Path, archive: Archive, *, keep_s=3600.0):
        self.folder, self.run = folder, run
        self.port, self.status_port = free_port(), free_port()
        self.config = folder.with_suffix(".toml")
        ports = {"port": self.port, "status": self.status_port, "archive": archive.port}
        self.config.write_text(SETTINGS.format(keep_s=keep_s, **ports))
        self.said = folder.with_suffix(".log")

    def start(self):
        words = ["serve", "--config", str(self.config), "--out", str(self.folder), "--run", str(self.run)]
        with self.said.open("ab") as log:
            command = [sys.executable, "-m", "ichformer", *words]
            self.process = subprocess.Popen(command, env=with_one_device(), stdout=log, stderr=log)
        wait_until(self.is_up, self)
        return self

    def is_up(self):
        assert self.process.poll() is None, self.said.read_text()
        try:
            return "ready" in self.ask("/health")
        except OSError:
            return False

    def ask(self, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.status_port}{path}", timeout=60) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.read().decode()

    def counts(self):
        return json.loads(self.ask("/health"))["studies"]

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(timeout=600)


def wait_until(is_so, node, *, seconds=600):
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, node.said.read_text()[-3000:]
        time.sleep(0.2)


@pytest.fixture
def archive():
    made = Archive()
    yield made
    made.server.shutdown()


@pytest.mark.slow(minutes=1)
def test_a_study_comes_and_its_results_go_and_nothing_else_is_told(archive, tiny_run, tmp_path, capsys):
    node = Node(tmp_path / "node", tiny_run, archive, keep_s=0).start()
    try:
        cut_short = associate(node.port)
        cut_short.send_c_store(study(2)[0])
        cut_short.abort()
        images = study(1, PatientName="O'Neil^Maximiliane", AccessionNumber="ACC-4711")
        assert send(node.port, images[::-1]) == [0] * len(images)
        assert send(node.port, images[:2]) == [0, 0], "a part of it once more"
        wait_until(lambda: node.counts()["done"] == 1, node)
        assert node.counts()["receiving"] == 1, "the other one was cut short, and may come again"
        (report,) = archive.reports()
        assert report.StudyInstanceUID == images[0].StudyInstanceUID
        assert str(report.PatientName) == "O'Neil^Maximiliane"
        objects = len(archive.objects)

        assert send(node.port, study(2)) == [0] * len(images)
        wait_until(lambda: node.counts()["done"] == 2, node)
        assert len(archive.reports()) == 2
        wait_until(lambda: not any((node.folder / "images").iterdir()), node)
        assert send(node.port, images) == [0] * len(images)
        told = node.ask("/") + node.ask("/metrics") + node.ask("/health")

        main(["queue", str(node.folder), "--drain"])
        assert "done" in capsys.readouterr().out
        assert node.process.wait(timeout=600) == 0
        assert len(archive.objects) == 2 * objects, "what was known was not scored again"
        told += (node.folder / "audit.jsonl").read_text() + node.said.read_text()
        told += "".join(file.read_bytes().decode("latin-1") for file in node.folder.glob("queue.sqlite*"))
        for said in ("Neil", "Maximiliane", "ACC-4711", "patient-1", "1.2.826.0.1.1"):
            assert said not in told
        assert all(times == 1 for times in archive.times.values())
    finally:
        node.end(signal.SIGKILL)


@pytest.mark.full(minutes=3)
def test_a_node_that_is_killed_again_and_again_loses_and_doubles_nothing(archive, tiny_run, tmp_path):
    node, count = Node(tmp_path / "node", tiny_run, archive).start(), 12
    try:
        for number in range(count):
            sender = threading.Thread(target=send_until_it_is_there, args=(node.port, study(number)))
            sender.start()
            if number % 4 == 2:
                time.sleep(1)
                node.end(signal.SIGKILL)
                node.start()
            sender.join()
        wait_until(lambda: node.counts()["done"] == count, node)
        reports = archive.reports()
        assert len({one.StudyInstanceUID for one in reports}) == len(reports) == count
    finally:
        node.end(signal.SIGKILL)


def send_until_it_is_there(port, images):
    while set(send(port, images)) != {0}:
        time.sleep(0.3)


@pytest.mark.slow
def test_what_cannot_work_is_said_in_a_line(archive, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", None)  # which a node sets for the rest of its process
    config = tmp_path / "node.toml"
    config.write_text(
        f'out = "{tmp_path / "node"}"\nrun = "{tmp_path / "nothing"}"\nstatus_port = 0\n[listen]\nport = 0'
    )
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--config", str(config)])
    assert ended.value.code == 2
    assert "nothing" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["queue", str(tmp_path)])
    assert "is no folder of a node" in capsys.readouterr().err
