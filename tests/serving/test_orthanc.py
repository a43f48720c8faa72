"""A node and Orthanc: whatever is killed, every complete study has one set of results in the archive."""

import json
import random
import resource
import signal
import threading
import time
from pathlib import Path

import pydicom
import pytest

from tests.serving.orthanc import Orthanc, why_not
from tests.serving.sockets import UNCLOSED, collect_sockets
from tests.serving.studies import associate, free_port, send, study
from tests.serving.test_node import Node, wait_until

pytestmark = [UNCLOSED, pytest.mark.skipif(bool(why_not()), reason=why_not())]
collected = pytest.fixture(collect_sockets, scope="module", autouse=True)

SEND = """
[[send]]
kind = "dicomweb"
url = "{url}/dicom-web"
"""


@pytest.fixture
def archive(tmp_path):
    made = Orthanc(tmp_path / "orthanc", port=free_port(), dicom_port=free_port())
    yield made
    made.kill()


def node_of(folder, run, archive, more=""):
    """A node that sends to Orthanc by DICOMweb."""
    made = Node(folder, run, type("Nowhere", (), {"port": 9}))
    text = made.config.read_text()
    made.config.write_text(text[: text.index("[[send]]")] + SEND.format(url=archive.url) + more)
    return made.start()


class Scanner(threading.Thread):
    """Sends studies as scanners and routers do: out of order, some of it twice, cut short and then again, until all
    of it is taken.
    """

    def __init__(self, port, numbers, seed):
        super().__init__(daemon=True)
        self.port, self.numbers, self.rng, self.sent = port, numbers, random.Random(seed), []

    def run(self):
        for number in self.numbers:
            images = study(number)
            self.rng.shuffle(images)
            if self.rng.random() < 0.3:
                self._cut_short(images[: self.rng.randrange(1, len(images))])
            while set(send(self.port, images + self.rng.sample(images, self.rng.randrange(3)))) != {0}:
                time.sleep(0.5)
            self.sent.append(images[0].StudyInstanceUID)

    def _cut_short(self, images):
        association = associate(self.port)
        if association.is_established:
            for image in images:
                if association.is_established:
                    association.send_c_store(image)
            association.abort()


@pytest.mark.full(minutes=30)
@pytest.mark.parametrize(("studies", "kills"), [(24, 4), (200, 10)])
def test_every_study_has_one_set_of_results_whatever_is_killed(archive, tiny_run, tmp_path, studies, kills):
    rng = random.Random(studies)
    node = node_of(tmp_path / "node", tiny_run, archive)
    try:
        halves = [range(1, studies + 1)[half::2] for half in range(2)]
        scanners = [Scanner(node.port, numbers, seed) for seed, numbers in enumerate(halves)]
        for one in scanners:
            one.start()

        def progress():
            """In studies: half of it is sending them to the node, and half is having results."""
            return (sum(len(one.sent) for one in scanners) + node.counts()["done"]) / 2

        for kill in range(kills):
            wanted = rng.uniform(0.5, 1) * studies * (kill + 1) / (kills + 1)
            wait_until(lambda: progress() >= wanted, node, seconds=3000)  # noqa: B023
            time.sleep(rng.uniform(0, 5))
            if rng.random() < 0.5:
                archive.kill()
                archive.start()
            else:
                node.end(signal.SIGKILL)
                node.start()
        for one in scanners:
            one.join()
        wait_until(lambda: node.counts()["done"] == studies, node, seconds=3000)
        for uid in (uid for one in scanners for uid in one.sent):
            found = dict(archive.series(uid))
            assert len(found) == len(archive.series(uid)), f"a kind of result is there twice: {archive.series(uid)}"
            assert found["SR"] == 1
        assert archive.ask("/statistics")["CountStudies"] == studies
    finally:
        node.end(signal.SIGKILL)


@pytest.mark.full(minutes=10)
def test_a_fresh_study_is_reported_within_30_seconds(archive, tiny_run, tmp_path):
    """From its last image until its report is in the archive, with the weights of the package."""
    node = node_of(tmp_path / "node", "default", archive)
    try:
        wait_until(lambda: json.loads(node.ask("/health"))["ready"], node)
        for number in range(20):
            assert set(send(node.port, study(number, slices=30))) == {0}
            wait_until(lambda: node.counts()["done"] == number + 1, node)  # noqa: B023
        lines = [line for line in node.ask("/metrics").splitlines() if line.startswith("ichformer_seconds_to_report{")]
        seconds = {line.split('"')[1]: float(line.split()[-1]) for line in lines}
        print(seconds)
        assert seconds["0.95"] < 30
    finally:
        node.end(signal.SIGKILL)


@pytest.mark.full(minutes=5)
@pytest.mark.parametrize("kind", ["dicomweb", "dicom"])
def test_studies_are_fetched_from_the_archive(tiny_run, tmp_path, kind):
    port, dicom_port, own = free_port(), free_port(), free_port()
    archive = Orthanc(
        tmp_path / "orthanc", port=port, dicom_port=dicom_port, peers={"node": ["ICHFORMER", "127.0.0.1", own]}
    )
    today = time.strftime("%Y%m%d")
    for image in study(1, StudyDate=today) + study(2, StudyDate="20200101"):
        file = tmp_path / "image.dcm"
        pydicom.dcmwrite(file, image)
        archive.ask("/instances", file.read_bytes())
    place = {
        "dicomweb": f'url = "{archive.url}/dicom-web"',
        "dicom": f'aet = "PACS"\nhost = "127.0.0.1"\nport = {dicom_port}',
    }
    node = Node(tmp_path / "node", tiny_run, type("Nowhere", (), {"port": 9}))
    text = node.config.read_text().replace(f"\nport = {node.port}\n", f"\nport = {own}\n")
    pull = f'[[pull]]\nkind = "{kind}"\nevery_s = 1\n{place[kind]}\n'
    node.config.write_text(text[: text.index("[[send]]")] + SEND.format(url=archive.url) + pull)
    node.start()
    try:
        wait_until(lambda: node.counts()["done"] == 1, node)
        assert dict(archive.series(study(1)[0].StudyInstanceUID))["SR"] == 1
        assert [kind for kind, _ in archive.series(study(2)[0].StudyInstanceUID)] == ["CT"]
        time.sleep(3)
        assert node.counts() == {"receiving": 0, "working": 0, "sending": 0, "done": 1, "failed": 0}
    finally:
        node.end(signal.SIGKILL)
        archive.kill()


@pytest.mark.full(minutes=3)
def test_hostile_peers_do_not_fill_the_memory(archive, tiny_run, tmp_path):
    """A data unit of 4 GB, images without an end and large bodies: the node's memory stays as it is."""
    node = node_of(tmp_path / "node", tiny_run, archive, "")

    most, is_over = [0.0], threading.Event()

    def watch():
        while not is_over.wait(0.02):
            pages = int(Path(f"/proc/{node.process.pid}/statm").read_text().split()[1])
            most[0] = max(most[0], pages * resource.getpagesize() / 1e6)

    try:
        wait_until(lambda: json.loads(node.ask("/health"))["ready"], node)
        assert set(send(node.port, study(1))) == {0}
        threading.Thread(target=watch, daemon=True).start()
        time.sleep(1)
        before = most[0]
        large = study(2)[0]
        large.PixelData = bytes(400_000_000)
        threads = [threading.Thread(target=send, args=(node.port, [large])) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        grown = most[0] - before
        print(f"{before:.0f} MB before, {grown:.0f} MB more")
        assert grown < 100
        assert set(send(node.port, study(3))) == {0}
    finally:
        is_over.set()
        node.end(signal.SIGKILL)
