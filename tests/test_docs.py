"""Pages for readers: links lead somewhere, commands have the options shown, and figures are those of the results."""

import re
import urllib.parse

import numpy as np
import pytest
import yaml

from ichformer import __version__
from ichformer.cli.parsing import parse
from ichformer.cohorts.registry import COHORTS
from ichformer.ct.corruptions import CORRUPTIONS, corrupt
from ichformer.explanations.registry import EXPLANATIONS
from ichformer.models.encoders.registry import ENCODERS
from ichformer.models.registry import registered_models
from ichformer.objectives.registry import OBJECTIVES
from ichformer.training.config import DataConfig, TrainConfig
from tests.pages import DOCS, README, ROOT, named, shown, snippets
from tests.registries import forget_after

RESULTS = ROOT / "experiments" / "RESULTS.md"
STUDIES = sorted((ROOT / "experiments" / "studies").glob("*.md"))
PAGES = [README, ROOT / "CONTRIBUTING.md", *DOCS, RESULTS, *STUDIES]
PAGES += [ROOT / "experiments" / "launch" / "README.md"]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_to_files_and_headings(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            address = urllib.parse.urlsplit(target)  # nobody looks whether it is there: tests need no network
            assert address.scheme == "https"
            assert re.fullmatch(r"[\w-]+(\.[\w-]+)+", address.netloc), f"{named(page)} links to {target}"
            continue
        path, _, heading = target.partition("#")
        file = (page.parent / path) if path else page
        assert file.exists(), f"{named(page)} links to {target}"
        if heading:
            titles = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = [re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles]
            assert heading in anchors, f"{named(page)} links to {target}"


def test_commands_have_the_options_that_are_shown(tmp_path, monkeypatch):
    commands = {one.text: one.words for page in (README, *DOCS) for one in shown(page) if one.kind == "command"}
    assert len(commands) >= 15
    monkeypatch.chdir(tmp_path)
    for command, words in commands.items():
        if of_settings := re.search(r"--config (\S+\.json)", command):  # the file is read with the options
            file = tmp_path / of_settings[1]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(TrainConfig(data=DataConfig(store="store")).to_json(), encoding="utf-8")
        parse(words[2:] if words[0] == "--plugin" else words)  # says what is wrong, and runs nothing


def test_every_study_is_dated_and_linked_from_the_results():
    results = RESULTS.read_text(encoding="utf-8")
    assert STUDIES
    for study in STUDIES:
        assert re.fullmatch(r"20\d\d-\d\d-\d\d-[a-z0-9-]+\.md", study.name)
        assert f"](studies/{study.name})" in results


def test_rows_of_the_results_are_whole():
    rows = [line for line in RESULTS.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    assert len(rows) > 50
    assert {row.replace(r"\|", "").count("|") for row in rows} == {7}


def test_readme_is_short_and_its_figures_are_those_of_the_results():
    readme, results = README.read_text(encoding="utf-8"), RESULTS.read_text(encoding="utf-8")
    assert len(readme.splitlines()) < 150
    assert readme.count("esearch use only") >= 2
    table = readme.partition("\n## Results")[2].partition("\n## ")[0]
    figures = re.findall(r"\d+\.\d+", table)
    assert len(figures) >= 10
    assert [figure for figure in figures if figure not in results] == []


def test_the_citation_names_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(citation["version"]) == __version__
    assert citation["license"] == "Apache-2.0"
    assert citation["authors"] == [{"name": "The ichformer founders"}]


@pytest.mark.slow
def test_readme_as_a_library(tiny_run, tiny_store, tmp_path, monkeypatch, capsys):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "first").symlink_to(tiny_run)
    (tmp_path / "store").symlink_to(tiny_store)
    series = next(path.parent for path in sorted((tiny_store.parent / "cohort").rglob("*.dcm")))
    (tmp_path / "scan").symlink_to(series)
    monkeypatch.chdir(tmp_path)
    (snippet,) = snippets(README)
    names: dict = {}
    exec(compile(snippet, "README.md", "exec"), names)
    volume, prediction = names["volume"], names["prediction"]
    assert repr(volume) in capsys.readouterr().out
    assert "any" in prediction.scan_scores
    assert prediction.slice_scores["any"].shape == (len(volume.hu),)
    assert names["heat"].shape == volume.hu.shape
    assert [level.level for level in names["summary"].levels] == ["slice", "scan"]
    assert (tmp_path / "evaluation" / "evaluation.html").is_file()


@pytest.mark.slow
def test_what_extending_shows_is_trained(tiny_store, tmp_path, monkeypatch):
    forget_after(monkeypatch, registered_models(), COHORTS, CORRUPTIONS, ENCODERS, EXPLANATIONS, OBJECTIVES)
    names: dict = {"__name__": "extending"}
    for snippet in snippets(ROOT / "docs" / "extending.md"):
        exec(compile(snippet, "extending.md", "exec"), names)
    run = names["ich"].train(
        tiny_store,
        model="brightness",
        objective="scans_count_twice",
        augment=names["darken"],
        out=tmp_path / "run",
        steps=2,
        data={"batch_size": 8, "num_slices": 4},
        progress=False,
    )
    assert run.labels == names["ich"].LABELS
    assert type(run.run.objective).__name__ == "ScansCountTwice"
    assert names["ich"].open_run(tmp_path / "run").run.step == 2
    assert EXPLANATIONS["squared_gradient"].explain is names["squared_gradient"]
    model = names["ich"].create_model("hybrid_nano", encoder="squares")
    assert model.encoder == names["Squares"]()
    table = "file,patient,bleed,fracture,volume_ml\na.nii.gz,01,1,0,12.5\nb.nii.gz,02,0,,\n"
    (tmp_path / "diagnoses.csv").write_text(table)
    cohort = COHORTS["our_hospital"](tmp_path, cache=tmp_path / "cache")
    assert cohort.index[["patient", "bleed", "volume_ml"]].values.tolist()[0] == ["01", 1.0, 12.5]
    hu = np.zeros((3, 4, 4), np.int16)
    volume = names["ich"].Volume(hu=hu, spacing_mm=(5.0, 0.5, 0.5), affine=np.eye(4), source=("1", "2", "3"))
    assert np.ptp(corrupt(volume, "drift", 5).volume.hu) == 32
