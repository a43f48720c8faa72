"""Studies by STOW-RS: what a client of the standard sends, and what peers send that are up to no good."""

import gzip
import http.client
import io
import json
import shutil
import socket
import time
import zlib
from contextlib import closing, suppress

import pydicom
import pytest
import requests
from dicomweb_client.web import DICOMwebClient
from pydicom.uid import DeflatedExplicitVRLittleEndian

from ichformer.serving.settings import LimitSettings, ListenSettings, NodeSettings
from ichformer.serving.stow import stow_application, stow_server
from ichformer.serving.web_server import WebServer
from tests.serving.studies import Parts, certificate, study

KIND = 'multipart/related; type="application/dicom"; boundary=edge'


class Server:
    """A STOW server with its parts, and what it was told."""

    def __init__(self, folder, **listen):
        self.parts, self.released = Parts(folder), []
        limits = LimitSettings(silence_s=1, instance_mb=1, study_mb=2, free_disk_mb=0)
        settings = NodeSettings(out=str(folder), listen=ListenSettings(stow_port=0, **listen), limits=limits)
        made = stow_application(settings, self.parts.intake, self.parts.folder, self.parts.log, self.released.append)
        self.web = WebServer(made, host="127.0.0.1", port=0)
        self.url = f"http://127.0.0.1:{self.web.port}"

    def post(self, body, **headers):
        """The code of the answer, and what it holds."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.web.port, timeout=60)) as connection:
            connection.request("POST", "/studies", body=body, headers={"Content-Type": KIND} | headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def reason(self):
        """Why the last request was refused."""
        return json.loads(self.parts.folder.audit_log.read_text().splitlines()[-1])["reason"]

    def close(self):
        """End all parts."""
        self.web.close()
        self.parts.close()


@pytest.fixture
def server(tmp_path):
    with closing(Server(tmp_path / "node")) as made:
        yield made


def body_of(*parts):
    return (
        b"".join(b"--edge\r\nContent-Type: application/dicom\r\n\r\n" + part + b"\r\n" for part in parts) + b"--edge--"
    )


def file_of(image):
    file = io.BytesIO()
    pydicom.dcmwrite(file, image)
    return file.getvalue()


def test_a_client_of_the_standard_stores_a_study(server):
    images = study(3)
    answer = DICOMwebClient(server.url).store_instances(images)
    assert [one.ReferencedSOPInstanceUID for one in answer.ReferencedSOPSequence] == [
        one.SOPInstanceUID for one in images
    ]
    assert len(server.parts.files()) == len(images)
    (studies,) = server.released
    assert len(studies) == 1
    assert "1.2.826" not in server.parts.folder.audit_log.read_text()


def test_what_is_no_image_is_told_and_the_rest_is_stored(server):
    code, said = server.post(body_of(file_of(study()[0]), b"no image"))
    assert code == 202
    assert said["00081198"]["Value"][0]["00081197"]["Value"] == [0xC000]
    assert len(said["00081199"]["Value"]) == 1
    assert server.post(body_of(b"no image"))[0] == 409
    assert len(server.parts.files()) == 1


def test_a_bomb_is_not_inflated(server):
    """A body in gzip, and a deflated data set, each of 100 MB of zeros in 100 kB."""
    assert server.post(gzip.compress(bytes(100_000_000)), **{"Content-Encoding": "gzip"})[0] == 415
    assert server.reason() == "content_encoding"
    image = study()[0]
    image.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    head = io.BytesIO()
    pydicom.dcmwrite(head, pydicom.dataset.FileDataset("", {}, file_meta=image.file_meta, preamble=b"\0" * 128))
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    code, _ = server.post(body_of(head.getvalue() + deflate.compress(bytes(100_000_000)) + deflate.flush()))
    assert code == 409
    assert not server.parts.files()


@pytest.mark.parametrize(
    ("body", "kind", "code", "reason"),
    [
        (b"x", "application/json", 415, "content_type"),
        (b"x", "multipart/form-data; boundary=edge", 415, "content_type"),
        (b"x", 'multipart/related; type="application/dicom"', 415, "content_type"),
        (b"x", 'multipart/related; type="application/dicom"; boundary=' + "e" * 200, 415, "content_type"),
        (b"no boundary at all", KIND, 400, "not_multipart"),
        (body_of(bytes(1_500_000)), KIND, 413, "instance_too_large"),
        (body_of(*[bytes(900_000)] * 4), KIND, 413, "request_too_large"),
        (b"--edge\r\n" + b"X: y\r\n" * 1000, KIND, 400, "not_multipart"),
    ],
)
def test_what_cannot_be_taken_is_refused_and_leaves_nothing(server, body, kind, code, reason):
    with suppress(BrokenPipeError, ConnectionResetError):
        assert server.post(body, **{"Content-Type": kind})[0] == code
    until = time.monotonic() + 600
    while not server.parts.folder.audit_log.read_text():
        assert time.monotonic() < until
        time.sleep(0.02)
    assert server.reason() == reason
    assert not [*server.parts.folder.temporary.iterdir()]


def test_who_falls_silent_is_left(server):
    with socket.create_connection(("127.0.0.1", server.web.port)) as peer:
        start = f"POST /studies HTTP/1.1\r\nHost: x\r\nContent-Type: {KIND}\r\nContent-Length: 100000\r\n\r\n"
        peer.sendall(start.encode() + b"--edge\r\nContent-Type: application/dicom\r\n\r\nhalf")
        peer.settimeout(60)
        assert b" 408 " in peer.recv(1000)
    assert server.reason() == "too_slow"
    assert not [*server.parts.folder.temporary.iterdir()]
    assert not server.released


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_with_tls_only_known_clients_store(tmp_path):
    own, own_key = certificate(tmp_path, "node")
    client = certificate(tmp_path, "client")
    settings = NodeSettings(
        out=str(tmp_path),
        listen=ListenSettings(stow_port=0, tls_certificate=str(own), tls_key=str(own_key), tls_clients=str(client[0])),
    )
    with (
        closing(Parts(tmp_path / "node")) as parts,
        closing(stow_server(settings, parts.intake, parts.folder, parts.log, lambda _: None)) as web,
    ):
        address, body = f"https://127.0.0.1:{web.port}/studies", body_of(file_of(study()[0]))
        given = {"data": body, "headers": {"Content-Type": KIND}, "verify": str(own), "timeout": 60}
        assert requests.post(address, cert=tuple(map(str, client)), **given).status_code == 200
        with pytest.raises(requests.exceptions.ConnectionError):
            requests.post(address, **given)


def test_other_addresses_and_other_paths_are_refused(tmp_path):
    with closing(Server(tmp_path / "node", allowed_addresses=("10.0.0.0/8",))) as far:
        assert far.post(body_of(file_of(study()[0])))[0] == 403
        assert requests.get(f"{far.url}/studies", timeout=60).status_code == 405
        assert requests.post(f"{far.url}/../queue.sqlite", timeout=60).status_code == 404
        assert not far.parts.files()
