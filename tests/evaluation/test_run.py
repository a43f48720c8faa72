"""A trained run judged on a store: what is written, what the scans tell, and what is refused as leakage."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from ichformer.cli import main
from ichformer.cohorts.registry import COHORTS
from ichformer.cohorts.splits import hold_out_site
from ichformer.errors import InputError
from ichformer.evaluation.judge import FILES
from ichformer.evaluation.predictions import VALIDATION_NAME, evaluate, train_and_freeze
from ichformer.evaluation.scan_groups import GROUP_COLUMNS
from ichformer.evaluation.table import read_predictions
from ichformer.pipeline.prepare import PrepareConfig, prepare
from ichformer.pipeline.records import Store
from ichformer.testing import tiny_cohort
from ichformer.training.config import DataConfig, ModelConfig, TrainConfig
from ichformer.training.run import seen_scans


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store, and a run of one step trained on its split "train"."""
    folder = tmp_path_factory.mktemp("run")
    tiny_cohort(folder / "cohort", scans=16)
    index = COHORTS["phantom"](folder / "cohort", cache=folder / "cache")
    index = hold_out_site(index, site="tiny-b", seed=0, val_fraction=0.4)
    store = prepare(index, folder / "store", config=PrepareConfig(size=32), workers=1, progress=False)
    config = TrainConfig(
        data=DataConfig(store=str(store.path), num_slices=4), model=ModelConfig(name="slice_vit_nano"), steps=1
    )
    train_and_freeze(config, folder / "run", progress=False)
    return folder


def with_splits(folder: Path, out: Path, change: dict[str, str]) -> Path:
    """The store under another name, with other splits."""
    shutil.copytree(folder / "store", out)
    values = json.loads((out / "index.json").read_text())
    for entry in values["series"]:
        entry["split"] = change.get(entry["split"], entry["split"])
    (out / "index.json").write_text(json.dumps(values))
    return out


def test_everything_is_written_with_what_the_run_and_the_scans_know(folder, tmp_path):
    out = tmp_path / "out"
    evaluate(folder / "run", folder / "store", out, replicates=20)
    found = json.loads((out / "metrics.json").read_text())
    assert {path.name for path in out.iterdir()} == set(FILES)
    table, index = read_predictions(out / "predictions.csv"), Store.open(folder / "store").index
    assert set(table["patient"]) == {f"phantom/{name}" for name in index.loc[index["split"] == "test", "patient"]}
    assert set(GROUP_COLUMNS) < set(table)
    scans = table[table["slice"] == ""]
    assert set(scans["group_thickness"]) == {"over 4 mm"}
    # A mask is empty where and only where there is no bleed.
    pd.testing.assert_series_equal(scans["group_bleed_volume"] == "none", scans["any"] == 0, check_names=False)
    groups = {part["name"]: part["n"] for part in found["levels"][1]["subgroups"]["bleed_volume"]}
    assert groups == scans["group_bleed_volume"].value_counts().to_dict()
    # Calibration was mended on the validation that the run kept.
    assert (folder / "run" / VALIDATION_NAME).exists()
    assert all(set(label["after"]) == {"temperature", "platt", "isotonic"} for label in found["calibration"])
    claim = (out / "claim.md").read_text()
    assert "slice\\_vit\\_nano" in claim
    assert "share no patient, study, series or pixels, which was checked" in claim
    named = set(index["patient"]) | set(index["series"])
    for name in set(FILES) - {"predictions.csv"}:
        text = (out / name).read_text()
        assert not [said for said in named if said in text]


def test_a_run_keeps_the_list_of_what_it_was_trained_on(folder):
    seen, index = seen_scans(folder / "run"), Store.open(folder / "store").index
    assert sorted(seen["series"]) == sorted(index.loc[index["split"] == "train", "series"])


@pytest.mark.slow
def test_the_command_line_judges_a_run(folder, capsys):
    main(["evaluate", str(folder / "run"), "--prevalence", "0.2", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads((folder / "run" / "evaluation" / "metrics.json").read_text())
    assert found["levels"][0]["labels"][5]["operating_points"][0]["ppv_at_prevalence"] is not None


@pytest.mark.slow
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
    judged = next(entry for entry in values["series"] if entry["split"] == "test")
    judged["patient"] = training["patient"]
    (store / "index.json").write_text(json.dumps(values))
    config = TrainConfig(data=DataConfig(store=str(store)), model=ModelConfig(name="slice_vit_nano"), steps=1)
    with pytest.raises(InputError, match=r"^patient: "):
        train_and_freeze(config, tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()
