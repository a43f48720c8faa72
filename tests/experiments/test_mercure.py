"""The module for a gateway: from one folder to another, with a result that says what is known of each scan."""

import json
from pathlib import Path

import pydicom
import pytest

from experiments.launch.mercure import module
from tests.workflows.counter import open_counter, write_head


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    run = open_counter(tmp_path / "runs" / "counter", monkeypatch)
    given, out = tmp_path / "in", tmp_path / "out"
    given.mkdir()
    out.mkdir()
    for name, value in (("MERCURE_IN_DIR", given), ("MERCURE_OUT_DIR", out), ("ICHFORMER_RUN", run.path)):
        monkeypatch.setenv(name, str(value))
    return given, out


@pytest.mark.slow
def test_results_lie_in_the_other_folder(folders) -> None:
    given, out = folders
    write_head(given / "study")
    assert module.main() == 0
    found = json.loads((out / "result.json").read_text())
    (scan,) = found["scans"]
    assert scan["scored"]
    assert 0 < scan["scan"]["any"] < 1
    assert found["__mercure_notification"]["requested"] is False  # the run has no thresholds
    reports = [*out.glob("*_report.dcm")]
    assert [pydicom.dcmread(file).Modality for file in reports] == ["SR"]


def test_what_cannot_be_read_is_told_and_notified(folders, capsys) -> None:
    given, out = folders
    (given / "notes.txt").write_text("no scan")
    assert module.main() == 2
    found = json.loads((out / "result.json").read_text())
    assert found["scans"] == []
    assert found["__mercure_notification"]["requested"] is True
    assert len(found["not_read"]) == 1
    assert capsys.readouterr().err.startswith("ichformer: error: ")
    assert {file.name for file in out.iterdir()} == {"result.json"}
