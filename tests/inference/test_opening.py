"""What stands for the folder of a run: bundles, addresses and repositories of a hub."""

import dataclasses
import functools
import hashlib
import http.server
import threading

import jax
import numpy as np
import pytest

import ichformer as ich
from ichformer.errors import InputError
from ichformer.files.bundles import bundle_bytes
from ichformer.inference.trained import open_trained
from ichformer.training.runs.opening import fetching
from ichformer.training.runs.opening.hub import HubAddress
from ichformer.training.runs.opening.run_folder import run_folder
from ichformer.training.runs.portable import EXPORTED_NAMES
from ichformer.training.runs.run import Run, seen_scans
from ichformer.training.trainer import run_training
from ichformer.workflows.exports.export_run import CARD_NAME, FROZEN_NAMES
from ichformer.workflows.exports.write_export import export_folder
from tests.shared import tiny_training

constants = pytest.importorskip("huggingface_hub.constants")


@pytest.fixture(scope="module")
def bundle(tiny_run, tmp_path_factory):
    file = tmp_path_factory.mktemp("bundle") / "first run.ichformer"
    export_folder(open_trained(tiny_run), file, as_bundle=True, dtype="float32")
    return file


@pytest.fixture
def served(bundle):
    """The address of the folder with the bundle, on this machine."""
    handler = functools.partial(QuietHandler, directory=bundle.parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "http://192.0.2.1/a.ichformer")
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, *args):
        pass


def test_every_exported_name_is_known():
    assert {CARD_NAME, *FROZEN_NAMES} < set(EXPORTED_NAMES)


def test_a_bundle_is_its_run(bundle, tiny_run):
    opened, run = ich.open_run(bundle), open_trained(tiny_run)
    assert opened.run.fingerprint == run.fingerprint
    assert opened.path.name == "first-run"
    assert opened.path == run_folder(bundle)
    assert open_trained(bundle).path == opened.path


def test_a_bundle_starts_a_training_as_its_run_does(bundle, tiny_run, tiny_store, tmp_path):
    """What is loaded is the run's, to the bit, and the scans that it saw are noted."""
    started = []
    for source in (tiny_run, bundle):
        settings = dataclasses.replace(tiny_training(tiny_store), init_from=str(source), steps=1, ema_decay=0.0)
        run_training(settings, tmp_path / source.name, progress=False)
        started.append(Run.open(tmp_path / source.name))
    jax.tree.map(np.testing.assert_array_equal, started[0].params, started[1].params)
    seen = [set(seen_scans(run.path)["series"]) for run in started]
    assert seen[0] == seen[1] >= set(seen_scans(tiny_run)["series"])


def test_files_that_are_no_bundle(tmp_path):
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(InputError, match=r"is a file; name the folder of a run, such as .*, or a bundle"):
        ich.open_run(tmp_path / "a.txt")
    (tmp_path / "a.ichformer").write_bytes(bundle_bytes({}))
    with pytest.raises(InputError, match="is a file; name the folder"):  # a zip of nothing begins otherwise
        ich.open_run(tmp_path / "a.ichformer")


def test_what_is_refused_leaves_no_folder(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    data = bytearray(bundle.read_bytes())
    data[data.index(b"any") + 1] ^= 1  # in the middle of a file in it
    (tmp_path / "damaged.ichformer").write_bytes(data)
    for named in (tmp_path / "damaged.ichformer", "https://localhost:1/nothing.ichformer"):
        with pytest.raises(InputError):
            run_folder(named)
    assert [path.name for path in tmp_path.iterdir()] == ["damaged.ichformer"]


def test_an_address_is_downloaded_once(served, bundle, tiny_run, capsys):
    address = f"{served}/first%20run.ichformer"
    run = ich.open_run(address).run
    assert run.fingerprint == open_trained(tiny_run).fingerprint
    digest = hashlib.sha256(bundle.read_bytes()).hexdigest()
    assert f"downloaded {bundle.stat().st_size:,} bytes, SHA-256 {digest}" in capsys.readouterr().err
    assert open_trained(address).path == run.path


@pytest.mark.parametrize(
    ("name", "said"),
    [("nothing", "cannot be downloaded .*404"), ("moved", "192.0.2.1/a.ichformer: is no https address")],
)
def test_addresses_that_lead_nowhere(served, name, said):
    with pytest.raises(InputError, match=said):
        run_folder(f"{served}/{name}")


def test_plain_http_is_refused():
    with pytest.raises(InputError, match="is no https address, so anybody on the way could exchange the model"):
        run_folder("http://example.org/a.ichformer")


def test_a_download_has_a_limit(served, tmp_path):
    with pytest.raises(InputError, match="is larger than 1,000 bytes"):
        fetching.download_bundle(f"{served}/first%20run.ichformer", tmp_path / "a", max_bytes=1000)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def cached(bundle, tmp_path, monkeypatch):
    """A hub's cache as huggingface_hub lays it out, with the run as "owner/heads"; nothing is fetched."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--owner--heads"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    for file in run_folder(bundle).iterdir():
        (snapshot / file.name).write_bytes(file.read_bytes())
    (snapshot / "further.bin").write_bytes(b"not ours")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return commit


def test_a_repository_of_the_hub(cached, tiny_run, capsys):
    run = ich.open_run("hf://owner/heads").run
    assert run.fingerprint == open_trained(tiny_run).fingerprint
    assert {file.name for file in run.path.iterdir()} <= set(EXPORTED_NAMES)
    assert f"hf://owner/heads is at commit {cached}" in capsys.readouterr().err
    with pytest.raises(InputError, match="hf://owner/nothing: cannot be fetched"):
        run_folder("hf://owner/nothing")


@pytest.mark.parametrize("text", ["heads", "owner/heads/more", "owner/..", "owner/heads@", "owner/heads@../x", "o/h?x"])
def test_what_is_no_address_on_the_hub(text):
    with pytest.raises(InputError, match="is no address on the hub; write hf://OWNER/NAME"):
        HubAddress.parse(text)
