"""What the command line says where some series get no report: the others have theirs, and the exit code tells."""

import json
from pathlib import Path

import pytest

from ichformer.cli import main
from ichformer.errors import InputError, one_line
from ichformer.faults import Fault, explain_failure
from ichformer.training.runs.run import Run
from ichformer.workflows.predict_scans import predict
from ichformer.workflows.prediction import read_scan as module
from tests.ct.builders import ramp, write_series
from tests.workflows.counter import open_counter, write_head


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    return open_counter(tmp_path / "runs" / "counter", monkeypatch)


def two_studies(folder: Path) -> Path:
    """A head, and a series whose third slice stands 15 m away."""
    write_head(folder / "a", step_mm=9.0, degrees=0.0, series_uid="1.2.1", StudyInstanceUID="1.1")
    write_series(folder / "b", ramp(), [0, 5, 15_000, 15], series_uid="1.2.2", StudyInstanceUID="1.2")
    return folder


def outcome(arguments: list[object], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, arguments)))
    said = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, said.out, said.err


def test_one_series_that_cannot_be_read(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = two_studies(tmp_path / "study")
    command = ["predict", study, "--run", run.path, "--out", tmp_path / "out", "--json"]
    code, printed, said = outcome(command, capsys)
    assert code == 2
    *bars, line = said.splitlines()
    assert all(bar.startswith("predict: ") for bar in filter(None, bars))
    assert "1 of 2 series were not predicted; series 2: " in line
    assert "1 of 4 slices lack a valid ImagePositionPatient" in line
    values = json.loads(printed)
    assert [one["number"] for one in values["series"]] == [1]
    assert Path(values["series"][0]["report"]).is_file()
    assert [(one["number"], one["code"]) for one in values["left_out"]] == [(2, "unreadable")]


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (
            KeyError("x"),
            1,
            "ichformer: fault: 1 of 2 series were not predicted; series 1: {}: a fault of ichformer (KeyError ",
        ),
        (
            MemoryError(),
            2,
            "ichformer: error: {}: 1 of 2 series were not predicted; series 1: {}/a: needs more memory than",
        ),
    ],
)
def test_a_fault_is_not_said_to_be_bad_input(
    run: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    code: int,
    words: str,
) -> None:
    study, read = tmp_path / "study", module.read_volume
    write_series(study / "a", ramp(), series_uid="1.2.2", StudyInstanceUID="1.2")
    write_head(study / "b", step_mm=9.0, degrees=0.0, series_uid="1.2.1", StudyInstanceUID="1.1")

    def fails(scan: object, **options: object) -> object:
        if scan.uid == "1.2.2":
            raise error
        return read(scan, **options)

    monkeypatch.setattr(module, "read_volume", fails)
    found, printed, said = outcome(["predict", study, "--run", run.path, "--out", tmp_path / "out"], capsys)
    line = said.splitlines()[-1]
    assert found == code
    assert line.startswith(words.format(study / "a" if code == 1 else study, study))
    assert "series 2: " in printed
    assert "series 1 not scored: " in printed

    monkeypatch.setattr(module, "read_volume", lambda scan, **_: fails(type("Scan", (), {"uid": "1.2.2"})))
    with pytest.raises(Fault if code == 1 else InputError, match="none of 2 series"):
        predict(study, run=run.path, out=tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_what_is_said_of_a_failure() -> None:
    bad = InputError("is bad", where="here", fix="fix it")
    assert explain_failure(bad, where="there") is bad
    for error in (MemoryError("no room"), RuntimeError("RESOURCE_EXHAUSTED: Out of memory")):
        said = explain_failure(error, where="there")
        assert isinstance(said, InputError)
        assert str(said).startswith(f"there: needs more memory than there is ({type(error).__name__}); use a machine")
    said = explain_failure(ZeroDivisionError("by\nnothing"), where="a\nb")
    assert isinstance(said, Fault)
    assert str(said) == "a\\nb: a fault of ichformer (ZeroDivisionError: by\\nnothing); please report this line"

    class Unprintable:
        def __str__(self) -> str:
            raise LookupError("no text")

    with pytest.raises(LookupError) as caught:
        one_line(Unprintable())
    assert "(LookupError in ichformer/errors.py, line " in str(explain_failure(caught.value, where="there"))


def test_inspect_ends_with_1_at_a_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import ichformer.ct.inspect as inspect

    read = inspect.read_volume
    for name in ("a", "b"):
        write_series(tmp_path / name, ramp(), series_uid=f"1.{ord(name)}")

    def fails(scan: object, **options: object) -> object:
        if scan.path.name == "a":
            raise IndexError("too far")
        return read(scan, **options)

    monkeypatch.setattr(inspect, "read_volume", fails)
    code, printed, said = outcome(["inspect", tmp_path, "--json"], capsys)
    assert code == 1
    assert [one["shape"] for one in json.loads(printed)["series"]] == [None, [4, 12, 10]]
    (line,) = said.splitlines()
    assert line.startswith("ichformer: fault: 1 of 2 series could not be read; the first: failed: ")
