"""A trained run evaluated on a store: what is written, what the scans tell, and what is refused as leakage."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ichformer.cli import main
from ichformer.errors import InputError
from ichformer.evaluation.tables.files import read_predictions
from ichformer.evaluation.tables.scan_groups import GROUP_COLUMNS
from ichformer.pipeline.store.records import Store
from ichformer.pipeline.store.resplit import resplit
from ichformer.reporting.evaluation.folder import FILES
from ichformer.reporting.evaluation.run_facts import run_facts
from ichformer.training.config import DataConfig, ModelConfig, TrainConfig
from ichformer.training.runs.outputs import TrainedOutputs
from ichformer.training.runs.run import Run, note_scans, seen_scans
from ichformer.workflows.cross_validate import CrossValidation, format_cross_validation, spread
from ichformer.workflows.evaluate_run import UNUSUAL_NAME, USUAL_NAME, evaluate
from ichformer.workflows.leave_one_site_out import leave_one_site_out
from ichformer.workflows.parts.frozen import VALIDATION_NAME
from ichformer.workflows.train_run import train_and_freeze


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_store: Path, tiny_run: Path) -> Path:
    """A store, and a run trained on its split "train", which these tests write into."""
    folder = tmp_path_factory.mktemp("run")
    shutil.copytree(tiny_store, folder / "store")
    shutil.copytree(tiny_run, folder / "run")
    return folder


def with_splits(folder: Path, out: Path, change: dict[str, str]) -> Path:
    """The store under another name, with other splits."""
    shutil.copytree(folder / "store", out)
    values = json.loads((out / "index.json").read_text())
    for entry in values["series"]:
        entry["split"] = change.get(entry["split"], entry["split"])
    (out / "index.json").write_text(json.dumps(values))
    return out


@pytest.mark.slow
def test_everything_is_written_with_what_the_run_and_the_scans_know(folder, tmp_path):
    out = tmp_path / "out"
    evaluate(folder / "run", folder / "store", out, replicates=20)
    found = json.loads((out / "metrics.json").read_text())
    assert {path.name for path in out.iterdir()} == set(FILES)
    table, index = read_predictions(out / "predictions.csv").rows, Store.open(folder / "store").index
    assert set(table["patient"]) == {f"phantom/{name}" for name in index.loc[index["split"] == "test", "patient"]}
    assert set(GROUP_COLUMNS) < set(table)
    scans = table[table["slice"] == ""]
    assert set(scans["group_thickness"]) == {"over 4 mm"}
    assert set(scans["group_sex"]) <= {"female", "male", ""}
    assert set(scans["group_familiarity"]) <= {USUAL_NAME, UNUSUAL_NAME}
    assert not [warning for warning in found["warnings"] if "too good" in warning]
    # A mask is empty where and only where there is no bleed.
    pd.testing.assert_series_equal(scans["group_bleed_volume"] == "none", scans["any"] == 0, check_names=False)
    groups = {part["name"]: part["n"] for part in found["levels"][1]["subgroups"]["bleed_volume"]}
    assert groups == scans["group_bleed_volume"].value_counts().to_dict()
    # Recalibrations were fitted on the validation that the run kept.
    assert (folder / "run" / VALIDATION_NAME).exists()
    assert all(set(label["after"]) == {"temperature", "platt", "isotonic"} for label in found["calibration"])
    claim = (out / "claim.md").read_text()
    assert "slice\\_vit\\_nano" in claim
    assert "share no patient, study, series or pixels, which was checked" in claim
    named = set(index["patient"]) | set(index["series"])
    for name in set(FILES) - {"predictions.csv"}:
        text = (out / name).read_text()
        assert not [said for said in named if said in text]


@pytest.mark.slow
def test_guessed_patients_are_said_everywhere_and_never_checked(folder, tmp_path):
    store = with_splits(folder, tmp_path / "store", {})
    values = json.loads((store / "index.json").read_text())
    for number, entry in enumerate(values["series"]):
        entry |= {"patient_source": "guessed", "group_scanner": "old" if number % 2 else "new", "group_sex": "X"}
    (store / "index.json").write_text(json.dumps(values))
    out = tmp_path / "out"
    summary = evaluate(folder / "run", store, out, replicates=20)
    n_scans = summary.levels[1].n
    said = f"patients guessed from file names ({n_scans} of {n_scans} scans)"
    for name in ("evaluation.html", "model_card.md", "claim.md", "metrics.json"):
        text = (out / name).read_text()
        assert said in text, name
        assert "which was checked" not in text, name
    assert any(said in warning and "two splits" in warning for warning in summary.warnings)
    # The subgroups of the store's index are those of the page, before what the headers say.
    table = read_predictions(out / "predictions.csv").rows
    assert set(table["group_scanner"]) <= {"old", "new"}
    assert set(table["group_sex"]) == {"X"}
    assert "scanner" in summary.levels[1].subgroups


def test_a_list_of_seen_scans_that_does_not_say_how_patients_are_known(folder, tmp_path):
    shutil.copytree(folder / "run", tmp_path / "run")
    seen = pd.read_csv(tmp_path / "run" / "seen.csv", dtype=str, keep_default_na=False)
    assert set(seen["patient_source"]) == {"dataset"}
    seen.drop(columns="patient_source").to_csv(tmp_path / "run" / "seen.csv", index=False)
    facts = run_facts(Run.open(tmp_path / "run"), Store.open(folder / "store"), "test")
    assert "checked" not in facts.disjoint
    assert f"training: patients known in a way that was not recorded ({len(seen)} of" in facts.disjoint
    # The list says it as soon as the run sees its scans again.
    note_scans(tmp_path / "run", Store.open(folder / "store").index[lambda index: index["split"] == "train"])
    again = seen_scans(tmp_path / "run")
    assert (len(again), set(again["patient_source"])) == (len(seen), {"dataset"})


@pytest.mark.slow
def test_a_run_that_keeps_no_list_of_its_scans_is_not_said_to_be_checked(folder, tmp_path):
    shutil.copytree(folder / "run", tmp_path / "run")
    said = "nobody checked that it never saw these patients"
    assert not any(said in one for one in evaluate(tmp_path / "run", folder / "store", None, replicates=20).warnings)
    (tmp_path / "run" / "seen.csv").unlink()
    assert any(said in one for one in evaluate(tmp_path / "run", folder / "store", None, replicates=20).warnings)


def test_a_run_says_truly_where_it_started_and_which_checkpoint_it_is(folder):
    run, store = Run.open(folder / "run"), Store.open(folder / "store")
    trained = json.loads((folder / "run" / "labels.json").read_text())["trained"]
    assert run.trained_outputs == TrainedOutputs(slice=tuple(trained["slice"]), scan=tuple(trained["scan"]))
    assert "any" in trained["slice"]
    facts = run_facts(run, store, "test")
    of_scans, of_slices = (", ".join(trained[level]) for level in ("scan", "slice"))
    assert facts.training.endswith(f"trained outputs of scans: {of_scans}; of slices: {of_slices}")
    assert (facts.initialisation, facts.ensemble) == ("random, seed 0", "none (it is one model)")
    assert f"of step {run.step}, the smallest loss" in facts.selection
    never_judged = replace(run, config=replace(run.config, evaluate_every=0), step=1)
    assert run_facts(never_judged, store, "test").selection == "averaged parameters (decay 0.99) of step 1"
    assert facts.missing.startswith("missing slices stay gaps")
    model = replace(run.config.model, pretrained="/home/me/dinov2.safetensors")
    config = replace(run.config, model=model, evaluate_every=500, ema_decay=0.0)
    pretrained = {"file": "dinov2.safetensors", "sha256": "c0ffee"}
    facts = run_facts(replace(run, config=config, step=1500, facts={"pretrained": pretrained}), store, "test")
    assert facts.initialisation == "weights dinov2.safetensors, SHA-256 c0ffee, the rest random"
    assert facts.selection == (
        'parameters of step 1500, the smallest loss on the split "val", which was evaluated every 500 steps'
    )


def test_a_run_keeps_the_list_of_what_it_was_trained_on(folder):
    seen, index = seen_scans(folder / "run"), Store.open(folder / "store").index
    assert sorted(seen["series"]) == sorted(index.loc[index["split"] == "train", "series"])


@pytest.mark.slow
def test_the_command_line_judges_a_run(folder, capsys):
    # The run was copied away from its store.
    main(["evaluate", str(folder / "run"), "--store", str(folder / "store"), "--prevalence", "0.2", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads((folder / "run" / "evaluation" / "metrics.json").read_text())
    assert found["levels"][0]["labels"][5]["operating_points"][0]["ppv_at_prevalence"] is not None


@pytest.mark.full
def test_what_a_run_started_from_counts_as_trained_on(folder, tmp_path):
    index = Store.open(folder / "store").index
    config = TrainConfig(
        data=DataConfig(store=str(folder / "store"), split="val", num_slices=4, batch_size=8),
        model=ModelConfig(name="slice_vit_nano"),
        steps=1,
        init_from=str(folder / "run"),
    )
    train_and_freeze(config, tmp_path / "second", progress=False)
    both = index.loc[index["split"].isin(["train", "val"]), "series"]
    assert sorted(seen_scans(tmp_path / "second")["series"]) == sorted(both)


def test_scans_that_were_trained_on_are_not_judged(folder, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(InputError, match="in training and in test"):
        evaluate(folder / "run", folder / "store", out, split="train")
    # The store's own split no longer says so; the run's list does.
    store = with_splits(folder, tmp_path / "store", {"train": "test", "test": "train"})
    with pytest.raises(InputError, match=r"^patient: .* in training and in test"):
        evaluate(folder / "run", store, out)
    assert not out.exists()


def test_nobody_trains_on_a_store_that_leaks(folder, tmp_path):
    store = with_splits(folder, tmp_path / "store", {})
    values = json.loads((store / "index.json").read_text())
    training = next(entry for entry in values["series"] if entry["split"] == "train")
    evaluated = next(entry for entry in values["series"] if entry["split"] == "test")
    evaluated["patient"] = training["patient"]
    (store / "index.json").write_text(json.dumps(values))
    config = TrainConfig(data=DataConfig(store=str(store)), model=ModelConfig(name="slice_vit_nano"), steps=1)
    with pytest.raises(InputError, match=r"^patient: "):
        train_and_freeze(config, tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_a_store_under_other_splits_holds_the_same_scans(folder, tmp_path):
    store = Store.open(folder / "store")
    turned = store.index["split"].map({"train": "test", "test": "train", "val": ""})
    other = resplit(store, turned, tmp_path / "other")
    pd.testing.assert_frame_equal(other.index, store.index.assign(split=turned.tolist()))
    assert (other.read(3).volume.hu == store.read(3).volume.hu).all()
    assert Store.open(folder / "store").index["split"].equals(store.index["split"])
    again = resplit(store, store.index["split"], tmp_path / "other")
    assert again.index["split"].equals(store.index["split"])
    (tmp_path / "taken" / "shards").mkdir(parents=True)
    with pytest.raises(InputError):
        resplit(store, turned, tmp_path / "taken")


@pytest.mark.slow
def test_each_site_is_judged_by_a_run_that_never_saw_it(folder, tmp_path, capsys):
    out, store = tmp_path / "sites", Store.open(folder / "store")
    main(["leave-one-site-out", "--data.store", str(store.path), "--data.num-slices", "4", "--steps", "1",
          "--model.name", "slice_vit_nano", "--out", str(out), "--json"])  # fmt: skip
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads((out / "sites.json").read_text())
    assert found["folders"] == {"tiny-a": "site-00", "tiny-b": "site-01"}
    of_site = store.index.groupby("site")["series"].agg(set)
    for site, name in found["folders"].items():
        evaluated = read_predictions(out / name / "evaluation" / "predictions.csv").rows
        assert set(evaluated["series"]) == of_site[site]
        assert not set(seen_scans(out / name / "run")["series"]) & of_site[site]
        alone = json.loads((out / name / "evaluation" / "metrics.json").read_text())["levels"][1]
        (part,) = (part for part in found["levels"][1]["sites"] if part["name"] == site)
        assert part["labels"][5]["auroc"] == alone["labels"][5]["auroc"]
        assert part["labels"][5]["sensitivity"] == alone["labels"][5]["operating_points"][0]["sensitivity"]
    assert "tiny-b" in (out / "sites.html").read_text()
    assert set(found["levels"][1]["pooled"][5]["weights"]) <= {"tiny-a", "tiny-b"}


@pytest.mark.parametrize("seeds", [pytest.param(1, marks=pytest.mark.full), pytest.param(2, marks=pytest.mark.full)])
def test_each_patient_is_judged_by_runs_that_never_saw_them(folder, tmp_path, capsys, seeds):
    out, store = tmp_path / "folds", Store.open(folder / "store")
    main(["cross-validate", "--data.store", str(store.path), "--data.num-slices", "4", "--steps", "1",
          "--folds", "2", "--seeds", str(seeds), "--seed", "3", "--model.name", "slice_vit_nano", "--out", str(out),
          "--json"])  # fmt: skip
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads((out / "folds.json").read_text())
    assert found["folders"] == [f"fold-0{fold}/seed-{seed}" for fold in (0, 1) for seed in (3, 4)[:seeds]]
    evaluated = []
    for name in found["folders"]:
        table = read_predictions(out / name / "evaluation" / "predictions.csv").rows
        assert not set(seen_scans(out / name / "run")["series"]) & set(table["series"])
        evaluated += sorted(set(table["series"]))
    assert sorted(evaluated) == sorted(seeds * store.index["series"].tolist())
    (any_auroc,) = (
        one for one in found["spreads"] if (one["level"], one["label"], one["figure"]) == ("scan", "any", "auroc")
    )
    for value, name in zip(any_auroc["values"], found["folders"], strict=True):
        alone = json.loads((out / name / "evaluation" / "metrics.json").read_text())["levels"][1]
        assert value == alone["labels"][5]["auroc"]["value"]
    known = [value for value in any_auroc["values"] if value is not None]
    assert any_auroc["mean"] == pytest.approx(np.mean(known))
    assert any_auroc["standard_deviation"] == pytest.approx(np.std(known, ddof=1))


def test_figures_that_some_runs_lack_are_told_with_their_number():
    spreads = (spread("scan", "any", "auroc", [0.9, None, 0.8]), spread("scan", "epidural", "auroc", [None] * 3))
    text = format_cross_validation(CrossValidation(folds=3, seeds=(0,), folders=("a", "b", "c"), spreads=spreads))
    assert "0.850 ± 0.071 (2 runs)" in text
    assert "not estimable" in text


def test_one_site_cannot_be_left_out(folder, tmp_path):
    values = json.loads((folder / "store" / "index.json").read_text())
    shutil.copytree(folder / "store", tmp_path / "store")
    for entry in values["series"]:
        entry["site"] = "tiny-a"
    (tmp_path / "store" / "index.json").write_text(json.dumps(values))
    config = TrainConfig(data=DataConfig(store=str(tmp_path / "store")))
    with pytest.raises(
        InputError, match=r"has [01] sites, and each needs a training; prepare a cohort of 2 to 100 sites"
    ):
        leave_one_site_out(config, tmp_path / "out")
    assert not (tmp_path / "out").exists()
