"""What a node says of itself over HTTP: its page, health and metrics."""

import http.client
import json
import time
from contextlib import closing, suppress

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ichformer.serving.queue.database import set_switch
from ichformer.serving.queue.scoring import Outcome, claim, not_scored, scored
from ichformer.serving.queue.sending import next_delivery, not_sent, sent
from ichformer.serving.settings import StudySettings
from ichformer.serving.status.text import format_status
from ichformer.serving.status.values import read_status
from ichformer.serving.status.web import application
from ichformer.serving.web_server import WebServer
from tests.serving.studies import Parts, study

NOW = StudySettings(quiet_s=1e-3, cut_short_s=1e-3)


@pytest.fixture
def parts(tmp_path):
    """Of four studies one is raised and sent, one cannot be sent, one cannot be read, and one is coming."""
    with closing(Parts(tmp_path / "node")) as made:
        for number in range(3):
            made.take(study(number)[0])
        now = time.time() + 1
        for at, state in enumerate(("raised", "not scored")):
            found = Outcome(state=state, score=0.9 - at, familiarity=97.0, seconds=2.0)
            scored(made.queue, claim(made.queue, at=now, when=NOW), found, at=now, destinations=["dicomweb <b>"])
        not_scored(made.queue, claim(made.queue, at=now, when=NOW), "unreadable: <script>x</script>", at=now)
        sent(made.queue, next_delivery(made.queue, at=now, destinations=["dicomweb <b>"]), at=now)
        other = next_delivery(made.queue, at=now, destinations=["dicomweb <b>"])
        not_sent(made.queue, other, "http_503", at=now, again_at=now + 100)
        made.take(study(9)[0])
        yield made


@pytest.fixture
def ask(parts):
    made = application(
        parts.queue,
        parts.log,
        run="default",
        aet="NODE",
        associations=lambda: 2,
        is_ready=lambda: parts.is_ready,
        hosts=["127.0.0.1"],
    )
    parts.is_ready = True
    with closing(WebServer(made, host="127.0.0.1", port=0)) as server:

        def asked(path, *, method="GET", body=None, **headers):
            with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
                connection.request(method, path, body=body, headers=headers)
                answer = connection.getresponse()
                return answer.status, answer.read().decode()

        yield asked


def test_health_says_whether_studies_are_scored(parts, ask):
    code, text = ask("/health")
    said = json.loads(text)
    assert (code, said["ready"]) == (200, True)
    assert said["studies"] == {"receiving": 1, "working": 0, "sending": 1, "done": 1, "failed": 1}
    parts.is_ready = False
    assert ask("/health")[0] == 503


def test_metrics_are_read_by_prometheus(ask):
    code, text = ask("/metrics")
    assert code == 200
    found = {
        (one.name, *(one.labels[name] for name in sorted(one.labels))): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }
    assert found["ichformer_results_total", "raised"] == 1
    assert found["ichformer_studies", "failed"] == 1
    assert found["ichformer_deliveries", "waiting", "dicomweb <b>"] == 1
    assert found["ichformer_share", "7", "raised"] == 1
    assert found["ichformer_share", "7", "not scored"] == 0.5
    assert found["ichformer_associations",] == 2
    assert 0 <= found["ichformer_seconds_to_report", "0.95"] < 1e6


def test_the_page_shows_what_waits_and_runs_nothing(parts, ask):
    set_switch(parts.queue, "paused", is_on=True)
    code, text = ask("/")
    assert code == 200
    assert "<script" not in text
    assert "unreadable: &lt;script&gt;" in text
    assert "dicomweb &lt;b&gt;" in text
    for said in ("Paused.", "http_503", "raised", "100% (21% to 100%)", "1 study has no results"):
        assert said in text


@pytest.mark.parametrize(
    ("method", "path", "headers", "code"),
    [
        ("POST", "/", {}, 405),
        ("DELETE", "/health", {}, 405),
        ("GET", "/../../etc/passwd", {}, 404),
        ("GET", "/queue.sqlite", {}, 404),
        ("GET", "/", {"Host": "evil.example"}, 400),
    ],
)
def test_nothing_else_is_answered(ask, method, path, headers, code):
    assert ask(path, method=method, **headers)[0] == code


def test_a_large_body_is_not_read(ask):
    with suppress(BrokenPipeError, ConnectionResetError):  # the node may close the connection before all is sent
        assert ask("/", method="POST", body=b"x" * 50_000_000)[0] == 405
    assert ask("/health")[0] == 200


def test_a_fault_is_a_line_in_the_log(parts, ask):
    parts.folder.path.joinpath("queue.sqlite").rename(parts.folder.path / "away")
    parts.queue.read = lambda *_: 1 / 0
    code, text = ask("/health")
    assert (code, text) == (500, "a fault of the node\n")
    assert '"event": "web_failed"' in parts.folder.audit_log.read_text()


def test_the_text_names_studies_without_results(parts):
    status = read_status(parts.queue)
    text = format_status(status)
    assert status.failed[0].study in text
    assert "to dicomweb <b>: 1 waiting, 0 given up (last reason: http_503)" in text
