"""The command line as a person meets it: one readable line and exit code 2 for whatever is wrong."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest
import tyro

from ichformer import __version__
from ichformer.cli import main
from ichformer.cli.command import COMMANDS, GROUPS, load_command
from ichformer.cli.options import all_options, option_groups
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


@pytest.mark.parametrize("command", [["evaluate", "RUN"], ["predict", "PATH", "--run", "RUN", "--out", "OUT"]])
def test_missing_run(capsys, series, tmp_path, command):
    places = {"OUT": tmp_path / "out", "PATH": series, "RUN": tmp_path / "nothing"}
    words = [str(places.get(word, word)) for word in command]
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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("trian", "there is no command 'trian'; perhaps you meant train; see ichformer --help"),
        ("bogus", "there is no command 'bogus'; see ichformer --help"),
        ("", "a command is missing"),
        (
            "inspect x --sheeet y",
            "there is no option --sheeet; perhaps you meant --sheet; see ichformer inspect --help",
        ),
        ("train --stpes 3", "there is no option --stpes; perhaps you meant --steps; see ichformer train --help-all"),
        ("train --optim.learning-rat 1", "perhaps you meant --optim.learning-rate;"),
        ("train --learning-rate 1", "perhaps you meant --optim.learning-rate;"),
        ("train --lerning-rate=1", "perhaps you meant --optim.learning-rate;"),
        ("train --store s", "perhaps you meant --data.store;"),
        ("train --model swin3d_t", "perhaps you meant --model.name;"),
        ("train --plugin mine", "it stands before the command: ichformer --plugin MODULE train"),
        ("train --data.store s --out o --steps many", "--steps: found 'many'; give a whole number;"),
        ("train --data.store s --out o --steps 0", "--steps: 0 is out of range"),
        (
            "train --data.store s --out o --optim.name adamv",
            "found 'adamv'; perhaps you meant adamw, or give one of adamw",
        ),
        ("train --data.store s --out o --profile 3", "--profile: found '3'; give 2 whole numbers;"),
        ("train --steps 3", "train: needs --out PATH and --data.store TEXT;"),
        ("train --data.store s --out", "train: --out: needs a path;"),
        ("predict scan", "predict: needs --out PATH; see ichformer predict --help"),
        ("predict --out o", "predict: names no scan; name a scan, or a folder of scans"),
        ("inspect a b", "inspect: does not know what to do with 'b'; see ichformer inspect --help"),
        (
            "prepare --dataset foldr --source s --out o",
            "there is no cohort 'foldr'; perhaps you meant folder, or choose",
        ),
        ("--vresion", "perhaps you meant --version"),
        ("--json models", "there is no option --json before the command; name the command first"),
        ("--plugin", "--plugin: needs the name of a module"),
    ],
)
def test_wrong_words(capsys, words, message):
    assert message in refused(capsys, *words.split())


def printed(capsys, *words) -> str:
    """What is printed by a command that ends there, such as one with ``--help``."""
    with pytest.raises(SystemExit) as stop:
        main(list(words))
    assert stop.value.code == 0
    return capsys.readouterr().out


def test_version(capsys):
    assert printed(capsys, "--version") == f"ichformer {__version__}\n"


def test_help_names_every_command_with_one_sentence(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")  # at most 100 are used
    text = printed(capsys, "--help")
    assert text == printed(capsys, "--help-all") == printed(capsys, "-h")
    commands = text.partition("Commands:\n")[2].partition("\n\n")[0]
    found = re.findall(r"^  (\S+) +(.*(?:\n   .*)*)", commands, re.MULTILINE)
    assert [name for name, _ in found] == list(COMMANDS)
    assert all(re.fullmatch(r"[A-Z].*\.", sentence, re.DOTALL) for _, sentence in found)
    assert max(map(len, text.splitlines())) <= 100
    inner = printed(capsys, "bench", "--help")
    assert all(re.search(rf"^  {name} +Measures ", inner, re.MULTILINE) for name in GROUPS["bench"])


def test_the_short_help_of_train_says_where_the_rest_is(capsys):
    short, whole = printed(capsys, "train", "--help"), printed(capsys, "train", "--help-all")
    names = re.findall(r"^  (--\S+)", short, re.MULTILINE)
    assert {"--data.store", "--out", "--model.name", "--steps", "--data.batch-size", "--optim.learning-rate"} < set(
        names
    )
    assert 10 <= len(names) <= 16
    options = all_options(load_command("train").run)
    assert re.findall(r"^  (--\S+)", whole, re.MULTILINE) == [option.name for option in options]
    assert f"`ichformer train --help-all` shows all {len(options)}." in " ".join(short.split())
    assert "help-all" not in whole
    assert "(default: 1000)" in whole
    assert printed(capsys, "predict", "--help") == printed(capsys, "predict", "--help-all")


@pytest.mark.parametrize("name", [*sorted(set(COMMANDS) - set(GROUPS)), *(f"bench {name}" for name in GROUPS["bench"])])
def test_help_knows_the_options_that_are_parsed(capsys, name):
    command = load_command(name)
    with pytest.raises(SystemExit):
        tyro.cli(command.run, args=["--help"])
    parsed = re.findall(r"^(?:│ |  )(--[a-z][\w.-]+)", capsys.readouterr().out, re.MULTILINE)
    options = all_options(command.run)
    assert sorted(parsed) == sorted(option.name for option in options if not option.is_positional)
    for option in options:
        assert re.fullmatch(r"(?:[A-Z0-9`].*)\.", option.help), f"{name} {option.name}: {option.help}"
    assert all(group.about.endswith(".") for group in option_groups(command.run)[1:])
    assert {f"--{common}" for common in command.common} <= {option.name for option in options}


def test_a_plugin_is_imported_before_the_command(capsys, tmp_path, monkeypatch):
    (tmp_path / "plugin_of_a_test.py").write_text("print('imported')", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert printed(capsys, "--plugin", "plugin_of_a_test", "models", "--help").startswith("imported\nUsage: ")
    assert "plugin_of_another_test" in refused(capsys, "--plugin=plugin_of_another_test", "models")


def test_help_loads_nothing_heavy():
    code = (
        "import sys\nfrom ichformer.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
        "print({'jax', 'flax', 'pandas', 'pydicom', 'scipy', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_models(capsys):
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
        drawn, beside = {"both": ("both/b", ", one of 2 series")}.get(name, (name, ""))
        assert f"sheet: {tmp_path}/sheet.png shows {tmp_path}/{drawn}{beside}\n" in capsys.readouterr().out
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
    assert "perhaps you meant loader; see ichformer bench --help" in refused(capsys, "bench", "lodaer")
    assert "ichformer bench loader --help" in refused(capsys, "bench", "loader", tmp_path, "--batches", "many")
    assert "run prepare first" in refused(capsys, "bench", "loader", tmp_path)
