"""The DICOM server beside peers that behave, and peers that do not."""

import json
import random
import shutil
import socket
import ssl
import struct
import time
from contextlib import closing, suppress

import pytest

from ichformer.errors import InputError
from ichformer.serving import listener
from ichformer.serving.bounded import is_allowed
from ichformer.serving.listener import Listener, receive_into
from ichformer.serving.settings import LimitSettings, ListenSettings, NodeSettings
from tests.serving.sockets import UNCLOSED, collect_sockets
from tests.serving.studies import Parts, associate, certificate, free_port, send, study

pytestmark = UNCLOSED
collected = pytest.fixture(collect_sockets, scope="module", autouse=True)


class Server:
    """A listener with its parts, and what it was told."""

    def __init__(self, folder, *, limits=None, **listen):
        self.parts, self.released = Parts(folder), []
        settings = NodeSettings(
            out=str(folder),
            listen=ListenSettings(port=0, **listen),
            limits=limits or LimitSettings(silence_s=2, instance_mb=1, free_disk_mb=0),
        )
        receive_into(self.parts.folder.temporary)
        self.listener = Listener(settings, self.parts.intake, self.parts.log, self.released.append)
        self.port = self.listener.port

    def said(self):
        """The lines of the audit log."""
        return [json.loads(line) for line in self.parts.folder.audit_log.read_text().splitlines()]

    def wait_for(self, **wanted):
        """A line of the log with these values."""
        until = time.monotonic() + 600
        while True:
            found = [line for line in self.said() if wanted.items() <= line.items()]
            if found:
                return found[0]
            assert time.monotonic() < until, self.said()
            time.sleep(0.05)


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", None)
    made = []

    def start(**options):
        made.append(Server(tmp_path / f"node{len(made)}", **options))
        return made[-1]

    yield start
    for one in made:
        one.listener.close()
        one.parts.close()


@pytest.mark.slow
def test_a_study_is_stored_and_its_association_told(server):
    one = server()
    assert send(one.port, study(1) + study(2)) == [0] * 12
    line = one.wait_for(event="received", ended="released", new=12)
    assert one.released == [set(line["studies"])]
    assert len(line["studies"]) == 2
    assert len(one.parts.files()) == 12
    assert send(one.port, study(1)) == [0] * 6
    one.wait_for(event="received", known=6)


def test_an_association_that_is_cut_short_is_told_as_that(server):
    one = server()
    association = associate(one.port)
    association.send_c_store(study()[0])
    association.abort()
    one.wait_for(event="received", ended="cut short", new=1)
    assert not one.released


def test_who_may_not_is_refused(server):
    one = server(allowed_aets=("CT1",), allowed_addresses=("127.0.0.0/8",))
    assert send(one.port, study()[:1], calling="OTHER") == [None]
    one.wait_for(event="refused", reason="association", aet="OTHER")
    assert send(one.port, study()[:1], calling="CT1", called="WRONG") == [None]
    assert send(one.port, study()[:1], calling="CT1") == [0]
    assert associate(one.port, calling="CT1").send_c_echo().Status == 0
    far = server(allowed_addresses=("10.0.0.0/8",))
    assert send(far.port, study()[:1]) == [None]
    far.wait_for(event="refused", reason="address", address="127.0.0.1")


@pytest.mark.parametrize(
    ("address", "networks", "allowed"),
    [
        ("10.0.0.1", ("10.0.0.0/8",), True),
        ("::ffff:10.0.0.1", ("10.0.0.0/8",), True),
        ("fe80::1%eth0", ("fe80::/10",), True),
        ("11.0.0.1", ("10.0.0.0/8", "::/0"), False),
        ("nonsense", ("10.0.0.0/8",), False),
    ],
)
def test_addresses(address, networks, allowed):
    assert is_allowed(address, networks) is allowed


def test_images_that_are_none_have_a_status(server):
    one = server()
    image = study()[0]
    del image.StudyInstanceUID
    assert send(one.port, [image]) == [0xC000]
    one.wait_for(event="refused", reason="unreadable")
    too_large = study()[0]
    too_large.PixelData = bytes(2_200_000)
    assert send(one.port, [too_large]) == [None]
    one.wait_for(event="refused", reason="instance_too_large")
    assert not one.parts.files()
    assert not [*one.parts.folder.temporary.iterdir()], "what came of it is deleted"
    assert send(one.port, study()[:1]) == [0], "the server goes on"


def test_a_command_without_an_end_is_ended(server):
    """Command sets are held in memory: here of a C-STORE whose last fragment never comes."""
    one = server(limits=LimitSettings(silence_s=2, instance_mb=600, free_disk_mb=0))
    association = associate(one.port)
    fragment = struct.pack(">LBB", 16_000 + 2, 1, 0b01) + bytes(16_000)
    unit = struct.pack(">BBL", 4, 0, len(fragment)) + fragment
    with suppress(OSError):
        for _ in range(1000):
            association.dul.socket.socket.sendall(unit)
    line = one.wait_for(event="refused", reason="message_too_large")
    assert line["bytes"] < 2_000_000
    association.abort()


def test_an_image_of_which_half_came_leaves_no_file(server):
    one = server()
    association = associate(one.port)
    image = study()[0]
    image.PixelData = bytes(800_000)
    peer, left = association.dul.socket, [400_000]
    real = peer.send

    def half(data):
        left[0] -= len(data)
        real(data) if left[0] > 0 else peer.close()

    peer.send = half
    assert "Status" not in association.send_c_store(image)
    until = time.monotonic() + 600
    while one.listener.open_associations or [*one.parts.folder.temporary.iterdir()]:
        assert time.monotonic() < until, [*one.parts.folder.temporary.iterdir()]
        time.sleep(0.05)
    assert not one.parts.files()


def test_a_unit_of_four_gigabytes_is_not_waited_for(server):
    one = server()
    with socket.create_connection(("127.0.0.1", one.port)) as peer:
        peer.sendall(struct.pack(">BBL", 1, 0, 0xFFFFFFF0) + b"x" * 1000)
        one.wait_for(event="refused", reason="data_unit_too_long", bytes=0xFFFFFFF0)
    assert send(one.port, study()[:1]) == [0]


@pytest.mark.slow
def test_who_falls_silent_within_a_unit_is_left(server):
    one = server()
    with socket.create_connection(("127.0.0.1", one.port)) as peer:
        peer.sendall(struct.pack(">BBL", 1, 0, 1000) + b"x")
        one.wait_for(event="refused", reason="too_slow")
    assert send(one.port, study()[:1]) == [0]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_with_tls_only_known_clients_come_in(server, tmp_path):
    own, own_key = certificate(tmp_path, "node")
    client, client_key = certificate(tmp_path, "client")
    stranger, stranger_key = certificate(tmp_path, "stranger")
    one = server(tls_certificate=str(own), tls_key=str(own_key), tls_clients=str(client))

    def over_tls(*files):
        context = ssl.create_default_context(cafile=own)
        context.check_hostname = False
        if files:
            context.load_cert_chain(*files)
        return send(one.port, study()[:1], tls=context)

    assert over_tls(client, client_key) == [0]
    assert over_tls(stranger, stranger_key) == [None]
    assert over_tls() == [None]
    assert send(one.port, study()[:1]) == [None], "without TLS"
    one.wait_for(event="refused", reason="tls")
    assert len(one.parts.files()) == 1


def test_files_for_tls_that_do_not_fit_are_named(tmp_path):
    (tmp_path / "no.pem").write_text("no certificate")
    file = str(tmp_path / "no.pem")
    settings = NodeSettings(out=str(tmp_path), listen=ListenSettings(port=0, tls_certificate=file, tls_key=file))
    with (
        closing(Parts(tmp_path / "node")) as parts,
        pytest.raises(InputError, match=r"listen\.tls_certificate: cannot"),
    ):
        Listener(settings, parts.intake, parts.log, lambda _: None)


def test_who_sends_too_fast_waits(monkeypatch):
    waited, now = [], [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr("time.sleep", waited.append)
    rates = listener._Rates(per_s=1)
    for address in ["a"] * 10 + ["b"] + ["a"] * 2:
        rates.wait(address)
    assert waited == [10.0, 10.0], "the eleventh and the twelfth of one address wait for the first and the second"
    now[0] = 100.0
    rates.wait("a")
    assert len(waited) == 2


# What pynetdicom makes of them may end the thread of that one association.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.slow
def test_random_bytes_end_nothing(server):
    one = server()
    rng = random.Random(0)
    for _ in range(60):
        with socket.create_connection(("127.0.0.1", one.port)) as peer:
            head = struct.pack(">BBL", rng.randrange(9), rng.randrange(256), rng.choice([0, 4, 68, 200, 70_000]))
            peer.sendall(rng.choice([head, b"", b"GET / HTTP/1.1\r\n\r\n"]) + rng.randbytes(rng.randrange(400)))
    until = time.monotonic() + 600
    while send(one.port, study()) != [0] * 6:  # until those are left that say nothing
        assert time.monotonic() < until
    assert len(one.parts.files()) == 6


def test_a_port_in_use_is_named(tmp_path):
    port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        settings = NodeSettings(out=str(tmp_path), listen=ListenSettings(port=port))
        with (
            closing(Parts(tmp_path / "node")) as parts,
            pytest.raises(InputError, match=f"127.0.0.1:{port}: cannot be listened on"),
        ):
            Listener(settings, parts.intake, parts.log, lambda _: None)
