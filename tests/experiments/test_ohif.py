"""The small server that puts OHIF and an archive under one address."""

import contextlib
import http.server
import threading
import urllib.error
import urllib.request

import pytest

from experiments.ohif import CONFIG, server


class Archive(http.server.BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    def do_GET(self):
        code = 404 if "nothing" in self.path else 200
        body = f"{self.path} {self.headers['Accept']}".encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/dicom+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def running(made):
    threading.Thread(target=made.serve_forever, daemon=True).start()
    with made:
        yield f"http://127.0.0.1:{made.server_address[1]}"
        made.shutdown()


@pytest.fixture
def address(tmp_path):
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "index.html").write_text("the viewer")
    (tmp_path / "secret.txt").write_text("a secret")
    with (
        running(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Archive)) as archive,
        running(server(tmp_path / "dist", archive, 0)) as made,
    ):
        yield made


def ask(address, path):
    asked = urllib.request.Request(address + path, headers={"Accept": "application/dicom+json"})
    with urllib.request.urlopen(asked, timeout=60) as answer:
        assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        return answer.read()


def test_files_and_the_archive_are_of_one_origin(address):
    assert ask(address, "/dicom-web/studies?limit=1") == b"/dicom-web/studies?limit=1 application/dicom+json"
    assert ask(address, "/viewer?StudyInstanceUIDs=1.2") == b"the viewer"
    assert ask(address, "/app-config.js") == CONFIG
    assert b"secret" not in ask(address, "/../secret.txt")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        ask(address, "/dicom-web/nothing")
