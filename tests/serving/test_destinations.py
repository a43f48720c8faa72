"""Results on their way: an archive by C-STORE, a webhook and an HL7 broker, each played by a small server here."""

import http.server
import json
import socketserver
import threading
from pathlib import Path

import hl7
import numpy as np
import pytest
from pynetdicom import AE, AllStoragePresentationContexts, evt

from ichformer.ct.io.dicom.reader import read_series
from ichformer.ct.io.dicom.series import find_series
from ichformer.reporting.dicom.objects import as_files, dicom_objects
from ichformer.reporting.dicom.source import open_source
from ichformer.serving.destinations.hl7_message import oru_message
from ichformer.serving.destinations.results import NotSentError, Results
from ichformer.serving.sender import send
from ichformer.serving.settings import Destination
from tests.ct.builders import head_hu, write_series
from tests.reporting.dicom.readings import SIDE, SLICES, made_of, reading_of
from tests.serving.sockets import UNCLOSED, collect_sockets

pytestmark = UNCLOSED
collected = pytest.fixture(collect_sockets, scope="module", autouse=True)

NUMBERS = {
    "scored": True,
    "reason": None,
    "scan": {"subdural": 0.75, "any": 0.95},
    "thresholds": {"scan": {"any": 0.5}},
    "positive": {"any": True},
    "ml": {"any": 12.5},
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    stored = (head_hu(SLICES, SIDE) + 1024).astype(np.int16)
    write_series(folder / "images", stored, PixelSpacing=[5.0, 5.0], PatientName="O^Neil|Jane", PatientID="7&8")
    (series,) = find_series(folder / "images").series
    files = as_files(dicom_objects(made_of(open_source(series)), reading_of(read_series(series))))
    made = folder / "round" / "series"
    made.mkdir(parents=True)
    for name, data in files.items():
        (made / name).write_bytes(data)
    (made / "prediction.json").write_text(json.dumps(NUMBERS))
    return Results("ab12", folder / "round")


class Archive:
    """Stores what comes, or answers with a status."""

    def __init__(self, status=0x0000, contexts=AllStoragePresentationContexts):
        self.stored = []
        entity = AE(ae_title="PACS")
        entity.supported_contexts = contexts

        def store(event):
            self.stored.append(event.request.AffectedSOPInstanceUID)
            return status

        self.server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
        self.to = Destination(kind="dicom", aet="PACS", host="127.0.0.1", port=self.server.server_address[1])


def test_all_objects_come_to_an_archive_and_reports_last(results):
    archive = Archive()
    send(results, archive.to, aet="NODE")
    archive.server.shutdown()
    objects = results.objects()
    assert archive.stored == [one.SOPInstanceUID for one in objects]
    assert objects[-1].Modality == "SR"
    assert len(objects) > 5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"status": 0xA700}, "status A700"),
        ({"contexts": AllStoragePresentationContexts[:1]}, "association|not accepted"),
    ],
)
def test_an_archive_that_does_not_take_them_is_an_error(results, options, said):
    archive = Archive(**options)
    with pytest.raises(NotSentError, match=said):
        send(results, archive.to, aet="NODE")
    archive.server.shutdown()


@pytest.mark.parametrize("kind", ["dicomweb", "dicom", "webhook", "hl7"])
def test_nobody_there_is_an_error_without_names(results, kind):
    to = Destination(kind=kind, url="http://127.0.0.1:9", aet="PACS", host="127.0.0.1", port=9)
    with pytest.raises(NotSentError) as error:
        send(results, to, aet="NODE")
    assert not {"Neil", "7&8"} & set(str(error.value).split())


class Hook(http.server.BaseHTTPRequestHandler):
    """Keeps what is posted; its class says with which code it answers."""

    code, seen = 204, []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((json.loads(body), self.headers.get("Authorization")))
        self.send_response(self.code)
        self.send_header("Location", "http://127.0.0.1:9/elsewhere")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def served(request):
    """A small server of the class that the test names, and its port."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), request.param) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield request.param, server.server_address[1]
        server.shutdown()


@pytest.mark.parametrize("served", [type("Hook204", (Hook,), {"seen": []})], indirect=True)
def test_a_webhook_is_told_what_was_found_and_nobody_s_name(results, served, monkeypatch):
    hook, port = served
    monkeypatch.setenv("HOOK_TOKEN", "secret")
    send(results, Destination(kind="webhook", url=f"http://127.0.0.1:{port}/", token_variable="HOOK_TOKEN"), aet="N")
    ((said, token),) = hook.seen
    assert token == "Bearer secret"
    (series,) = said["series"]
    assert (series["raised"], series["scores"]["any"], series["ml"]) == (["any"], 0.95, {"any": 12.5})
    assert series["report_uid"] == results.report(results.series[0]).SOPInstanceUID
    assert not any(name in json.dumps(said) for name in ("Neil", "Jane", "7&8", "1.2.3"))


@pytest.mark.parametrize("served", [type("Hook302", (Hook,), {"seen": [], "code": 302})], indirect=True)
def test_a_webhook_that_leads_elsewhere_is_not_followed(results, served):
    with pytest.raises(NotSentError, match="http_302"):
        send(results, Destination(kind="webhook", url=f"http://127.0.0.1:{served[1]}/"), aet="NODE")


class Broker(socketserver.StreamRequestHandler):
    """An HL7 broker: keeps the message, and acknowledges it with the code of its class."""

    code, seen = "AA", []

    def handle(self):
        data = b""
        while not data.endswith(b"\x1c\r"):
            data += self.rfile.read(1)
        message = hl7.parse(data[1:-2].decode())
        self.seen.append(message)
        answer = f"MSH|^~\\&|X||||20260101||ACK|1|P|2.5.1\rMSA|{self.code}|{message.segment('MSH')(10)}\r"
        self.wfile.write(b"\x0b" + answer.encode() + b"\x1c\r")


@pytest.mark.parametrize("served", [type("BrokerAA", (Broker,), {"seen": []})], indirect=True)
def test_a_broker_gets_a_message_that_hl7_reads(results, served):
    broker, port = served
    send(results, Destination(kind="hl7", host="127.0.0.1", port=port), aet="NODE")
    (message,) = broker.seen
    assert message.unescape(str(message.segment("PID")(3))) == "7&8"
    assert message.unescape(str(message.segment("PID")[5][0][1])) == "Neil|Jane"
    scores = {str(one(3)(0)(0)): (str(one(5)), str(one(8)), str(one(11))) for one in message.segments("OBX")}
    assert scores == {"subdural": ("0.7500", "", "F"), "any": ("0.9500", "A", "F")}


@pytest.mark.parametrize("served", [type("BrokerAE", (Broker,), {"seen": [], "code": "AE"})], indirect=True)
def test_a_broker_that_refuses_is_an_error(results, served):
    with pytest.raises(NotSentError, match="answer AE"):
        send(results, Destination(kind="hl7", host="127.0.0.1", port=served[1]), aet="NODE")


def test_a_scan_that_was_not_scored_has_no_values(results):
    values = NUMBERS | {"scored": False, "reason": {"code": "no_brain"}, "positive": {}}
    message = hl7.parse(oru_message(values, results.report(results.series[0]), at=0))
    assert [(str(one(5)), str(one(11))) for one in message.segments("OBX")] == [("", "X")] * 2
    assert "not scored: no_brain" in str(message.segment("NTE"))


@pytest.mark.parametrize(
    ("changes", "is_sent"),
    [({}, True), ({"positive": {"any": False}}, False), ({"positive": {"any": False}, "scored": False}, True)],
)
def test_raised_only_leaves_out_what_nobody_has_to_see(results, tmp_path, changes, is_sent):
    (tmp_path / "series").mkdir()
    (tmp_path / "series" / "prediction.json").write_text(json.dumps(NUMBERS | changes))
    to = Destination(kind="hl7", host="127.0.0.1", port=9, raised_only=True)
    if is_sent:
        with pytest.raises((NotSentError, FileNotFoundError)):
            send(Results("ab12", Path(tmp_path)), to, aet="NODE")
    else:
        send(Results("ab12", Path(tmp_path)), to, aet="NODE")
