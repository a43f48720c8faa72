"""The command line as a person meets it: one readable line and exit code 2 for whatever is wrong."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest

from ichformer.cli import main
from ichformer.testing import tiny_cohort
from tests.ct.builders import ramp, write_series


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    cohort = tiny_cohort(tmp_path_factory.mktemp("cli") / "cohort", scans=1)
    return next(file.parent for file in sorted(cohort.glob("dicom/*/*/*/*.dcm")))


def refused(capsys, *arguments) -> str:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert stop.value.code == 2
    assert captured.out == ""
    assert captured.err.startswith("ichformer: error: ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_no_scan_to_be_found(capsys, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("no scan", encoding="utf-8")
    for path in ("empty", "texts", "missing"):
        assert path in refused(capsys, "inspect", tmp_path / path)


def test_truncated_file(capsys, series, tmp_path):
    folder = tmp_path / "cut"
    folder.mkdir()
    for file in sorted(series.iterdir()):
        data = file.read_bytes()
        (folder / file.name).write_bytes(data[: len(data) // 2])
    refused(capsys, "inspect", folder, "--sheet", tmp_path / "sheet.png")
    assert not (tmp_path / "sheet.png").exists()


@pytest.mark.parametrize("command", [["evaluate"], ["predict", "--out", "OUT", "PATH"]])
def test_missing_run(capsys, series, tmp_path, command):
    words = [str(tmp_path / "out") if w == "OUT" else str(series) if w == "PATH" else w for w in command]
    words.insert(1, str(tmp_path / "nothing"))
    assert "nothing" in refused(capsys, *words)
    assert list(tmp_path.iterdir()) == []


def test_nowhere_to_write_phantoms(capsys, tmp_path):
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    assert "is there and is no folder" in refused(
        capsys, "phantom", "--out", tmp_path / "file" / "cohort", "--scans", 1
    )
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


@pytest.mark.slow
def test_ctrl_c_ends_with_one_line_and_leaves_nothing_behind(tmp_path):
    """As a terminal does it: the signal goes to the command and to all of its workers."""
    heeds_it = ["env", "--default-signal=INT"]  # whatever these tests inherited
    command = [sys.executable, "-m", "ichformer", "phantom", "--out", str(tmp_path / "cohort"), "--scans", "80"]
    with subprocess.Popen([*heeds_it, *command], stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stderr is not None
        said = ""
        while not re.search(r" [1-9]\d*/80 ", said):
            said += process.stderr.read(1) or pytest.fail(said)
        os.killpg(process.pid, signal.SIGINT)
        said += process.stderr.read()
    assert process.returncode == 130
    assert said.splitlines()[-1].startswith("ichformer: interrupted")
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


def test_missing_store(capsys, tmp_path):
    error = refused(capsys, "train", "--data.store", tmp_path / "store", "--out", tmp_path / "run")
    assert "run prepare" in error
    assert list(tmp_path.iterdir()) == []


def test_wrong_words(capsys):
    assert "--sheeet" in refused(capsys, "inspect", "x", "--sheeet", "y")
    assert "bogus" in refused(capsys, "bogus")
    assert "ichformer train --help" in refused(capsys, "train", "--data.store", "s", "--out", "o", "--steps", "many")


def test_help_and_models(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    capsys.readouterr()
    main(["models", "--json"])
    table = json.loads(capsys.readouterr().out)["models"]
    assert {"slice_vit_b", "hybrid_s"} <= {row["name"] for row in table}
    assert all(row["params"] > 50_000 and row["gflops"] > 1 and row["about"] and row["family"] for row in table)
    main(["models"])
    assert "slice_vit_b" in capsys.readouterr().out


def test_inspect_prints_one_json_object(capsys, series, tmp_path):
    main(["inspect", str(series), "--json", "--sheet", str(tmp_path / "sheet.png")])
    (found,) = json.loads(capsys.readouterr().out)["series"]
    assert {
        *("path", "modality", "n_slices", "shape", "spacing_mm", "tilt_deg", "missing_slices"),
        *("hu_min", "hu_max", "kernel", "description", "warnings"),
    } <= found.keys()
    assert found["n_slices"] == found["shape"][0] == len(list(series.iterdir()))
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")


def test_a_sheet_shows_the_series_that_is_chosen(capsys, tmp_path):
    for name, description, stored in (("a", "CT BONE", ramp(30)), ("b", "CT PLAIN", ramp(30)[::-1])):
        write_series(tmp_path / "both" / name, stored, series_uid=f"1.{name == 'b':d}", SeriesDescription=description)
    for name in ("both", "both/a", "both/b"):
        main(["inspect", str(tmp_path / name), "--sheet", str(tmp_path / "sheet.png")])
        (tmp_path / "sheet.png").rename(tmp_path / f"{name.replace('/', '_')}.png")
    both, a, b = ((tmp_path / f"{name}.png").read_bytes() for name in ("both", "both_a", "both_b"))
    assert both == b != a


def test_phantom_prints_one_json_object(capsys, tmp_path):
    main(["phantom", "--out", str(tmp_path / "cohort"), "--scans", "1", "--json"])
    assert json.loads(capsys.readouterr().out) == {"cohort": str(tmp_path / "cohort"), "scans": 1}
    assert (tmp_path / "cohort" / "studies.csv").exists()


def test_inspect_of_the_real_head(capsys, real_data):
    main(["inspect", str(real_data / "dcm_qa_ct" / "GE"), "--json"])
    (found,) = json.loads(capsys.readouterr().out)["series"]
    assert found["n_slices"] == 28
    assert abs(found["tilt_deg"]) == pytest.approx(18.5, abs=0.1)
    assert any(w.startswith("variable_spacing: ") and "4.002" in w and "6.999" in w for w in found["warnings"])


def test_bench_says_what_it_can_and_what_is_wrong(capsys, tmp_path):
    assert "ichformer bench --help" in refused(capsys, "bench")
    assert "ichformer bench --help" in refused(capsys, "bench", "lodaer")
    assert "ichformer bench loader --help" in refused(capsys, "bench", "loader", tmp_path, "--batches", "many")
    assert "run prepare first" in refused(capsys, "bench", "loader", tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["bench", "--help"])
    assert stop.value.code == 0
    assert "loader" in capsys.readouterr().out
