"""Scans of another recipe of preparation: a run is not used on them, and where a recipe is unknown, that is said."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

import ichformer as ich
from ichformer.cohorts.index import read_index
from ichformer.errors import InputError
from ichformer.inference.ensembles import assemble
from ichformer.inference.trained import open_trained
from ichformer.pipeline.preparation.config import RECIPE_VERSION, PrepareConfig
from ichformer.pipeline.store.records import Store
from ichformer.process.said import say_once
from ichformer.training.config import read_config
from ichformer.training.recovery.resume import check_same_scans
from ichformer.training.runs.contract import AXES, CONTRACT_FACT, check_kept, read_contract
from ichformer.training.runs.run import Run, read_facts
from ichformer.training.trainer import run_training
from ichformer.training.transfer import earlier_stages
from ichformer.workflows.evaluate_run import open_to_evaluate
from ichformer.workflows.exports.export_run import export_run
from ichformer.workflows.features.embed_store import open_to_embed
from ichformer.workflows.prediction.score_scan import open_reader
from tests.stores import prepare_here


@pytest.fixture(autouse=True)
def nothing_said():
    say_once.cache_clear()


def store_of(recipe: int | None, tiny_store: Path) -> Store:
    return dataclasses.replace(Store.open(tiny_store), recipe=recipe)


@pytest.fixture(scope="module")
def opened(tiny_run):
    return open_trained(tiny_run)


def run_of(recipe: int | None, run: Run) -> Run:
    """The run with another recipe in its record; with None as an earlier ichformer recorded it."""
    facts = json.loads(json.dumps(run.facts))
    if recipe is None:
        del facts[CONTRACT_FACT]
    else:
        facts[CONTRACT_FACT]["stages"][-1]["recipe"] = recipe
    return dataclasses.replace(run, facts=facts)


def test_a_store_and_a_run_say_their_recipe(tiny_store, opened):
    assert json.loads((tiny_store / "index.json").read_text())["recipe"] == RECIPE_VERSION
    contract = read_contract(opened.facts, where="run")
    assert contract is not None
    assert (contract.axes, contract.recipe, len(contract.stages)) == (AXES, RECIPE_VERSION, 1)
    assert contract.stages[0].objective == "classification"
    assert contract.stages[0].licences == {"phantom": "Apache-2.0, as ichformer, which makes them"}
    assert contract.stages[0].scans_sha256 == opened.facts["scans_sha256"]


USES = {
    "evaluate": lambda run, store: open_to_evaluate(run, store, "test"),
    "embed and probe": lambda run, store: open_to_embed(ich.TrainedModel(run=run), store),
    "export": lambda run, store: export_run(run, Path("nowhere"), store=store),
    "resume": lambda run, store: check_same_scans(
        run.facts, PrepareConfig(**store.config), store, "train", run=run.path
    ),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(
    ("of_run", "of_store", "fix"),
    [(2, 3, "from the run with --init-from"), (3, 2, "prepare it again with the same command")],
)
def test_a_store_of_another_recipe_is_refused(opened, tiny_store, use, of_run, of_store, fix):
    run, store = run_of(of_run, opened), store_of(of_store, tiny_store)
    with pytest.raises(InputError, match=f"was prepared by recipe {of_store}, and .* by recipe {of_run}: .*; .*{fix}"):
        USES[use](run, store)


@pytest.mark.parametrize(
    ("of_run", "of_store", "said"),
    [(None, 3, "run does not say by which recipe"), (3, None, "store does not say by which"), (2, 2, ""), (3, 3, "")],
)
def test_what_is_unknown_is_said_once(opened, tiny_store, capsys, of_run, of_store, said):
    for _ in range(2):
        open_to_evaluate(run_of(of_run, opened), store_of(of_store, tiny_store), "test")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == bool(said)
    assert all(said in line for line in lines)


def test_a_run_of_another_recipe_scores_no_new_scan(opened, tiny_store):
    run = run_of(RECIPE_VERSION - 1, opened)
    volume = Store.open(tiny_store).read(0).volume
    model = ich.TrainedModel(run=run)
    for use in (model.predict, model.features, lambda volume: open_reader(run)):
        with pytest.raises(InputError, match=r"was trained on scans of recipe 2, and this ichformer .* by recipe 3"):
            use(volume)


@pytest.mark.slow
def test_a_run_that_does_not_say_its_recipe_scores_new_scans_and_says_so(tiny_run, tiny_store, tmp_path, capsys):
    shutil.copytree(tiny_run, tmp_path / "run")
    facts = read_facts(tmp_path / "run" / "run.json")
    del facts[CONTRACT_FACT]
    (tmp_path / "run" / "run.json").write_text(json.dumps(facts))
    scan = read_index(tiny_store.parent / "cohort" / "studies.csv")["path"].iloc[0]
    model = ich.open_run(tmp_path / "run")
    for _ in range(2):
        assert model.predict(ich.read_volume(scan)).not_scored is None
    assert capsys.readouterr().err.count("before ichformer recorded by which recipe") == 1
    (one,) = ich.predict(scan, run=tmp_path / "run", out=tmp_path / "out", report=False, progress=False).series
    assert "before ichformer recorded by which recipe" in " ".join(one.values["remarks"])


def test_an_ensemble_is_of_one_recipe(opened, tmp_path):
    runs = [run_of(recipe, opened) for recipe in (3, 2)]
    with pytest.raises(InputError, match=r"was trained on scans of recipe 2, .* on scans of recipe 3"):
        assemble(runs, [0.5, 0.5], ("plain",), tmp_path)


def test_a_training_may_start_from_a_run_of_another_recipe_and_says_so(tiny_run, opened, tiny_store, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    shutil.copy(tiny_run / "config.json", tmp_path / "run" / "config.json")
    (tmp_path / "run" / "run.json").write_text(json.dumps(run_of(2, opened).facts))
    config = dataclasses.replace(read_config(tiny_run / "config.json"), init_from=str(tmp_path / "run"))
    (before,) = earlier_stages(config, Store.open(tiny_store))
    assert (before.recipe, before.objective) == (2, "classification")
    assert "the run run was trained on scans of recipe 2, and goes on with scans of recipe 3" in capsys.readouterr().err


@pytest.mark.slow
def test_the_record_of_a_run_that_goes_on_from_another_holds_both(tiny_run, tiny_store, tmp_path):
    config = read_config(tiny_run / "config.json")
    data = dataclasses.replace(config.data, store=str(tiny_store))
    later = dataclasses.replace(config, data=data, init_from=str(tiny_run), steps=1, evaluate_every=0, profile=None)
    run_training(later, tmp_path / "later", progress=False)
    for folder in (tmp_path / "later", export_run(open_trained(tmp_path / "later"), tmp_path / "out").path):
        contract = read_contract(read_facts(folder / "run.json"), where=folder)
        assert contract is not None
        assert [stage.recipe for stage in contract.stages] == [RECIPE_VERSION] * 2


def test_an_earlier_store_that_is_prepared_again_says_its_recipe_and_keeps_its_shards(tiny_store, tmp_path, capsys):
    cohort = read_index(tiny_store.parent / "cohort" / "studies.csv").iloc[:2]
    before = prepare_here(cohort, tmp_path / "store")
    values = json.loads((before.path / "index.json").read_text())
    del values["recipe"]
    (before.path / "index.json").write_text(json.dumps(values))
    assert Store.open(before.path).recipe is None
    files = {file: file.stat().st_mtime_ns for file in (before.path / "shards").iterdir()}
    assert prepare_here(cohort, before.path).recipe == RECIPE_VERSION
    assert {file: file.stat().st_mtime_ns for file in (before.path / "shards").iterdir()} == files


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"axes": "RAS"}, "whose axes are 'RAS', and this ichformer gives 'LPS: slices"),
        ({"values": "grey levels"}, "whose values are 'grey levels'"),
        ({"windows_hu": [[0.0, 100.0]]}, "with windows of 0 to 100 HU, and its settings now mean windows of 0 to 80"),
        ({"windows_hu": None}, ""),
    ],
)
def test_a_run_is_not_given_what_it_was_not_trained_on(opened, change, said):
    facts = opened.facts | {CONTRACT_FACT: opened.facts[CONTRACT_FACT] | change}
    if not said:
        check_kept(facts, opened.objective, where="run")
        return
    with pytest.raises(InputError, match=said):
        check_kept(facts, opened.objective, where="run")
