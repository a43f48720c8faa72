"""A run goes on with the scans that it was begun with, wherever they lie, and with no others."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from ichformer.errors import InputError
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.store.records import Store
from ichformer.training.recovery.resume import check_same_scans, hash_scans
from ichformer.training.runs.contract import SCANS_FACT
from ichformer.training.runs.run import read_config
from ichformer.training.trainer import run_training


@pytest.fixture
def store(tiny_store, tmp_path):
    shutil.copytree(tiny_store, tmp_path / "store")
    return tmp_path / "store"


def changed(store: Path, change) -> Store:
    """The store with another index: ``change`` is given the list of its series."""
    values = json.loads((store / "index.json").read_text())
    values["series"] = change(values["series"]) or values["series"]
    (store / "index.json").write_text(json.dumps(values))
    return Store.open(store)


def check(store, hashed, **facts):
    prepare = PrepareConfig(**store.config)
    facts = {"prepare": dataclasses.asdict(prepare), SCANS_FACT: hashed} | facts
    check_same_scans(facts, prepare, store, "train", run=Path("run"))


def another_label(series):
    first = next(one for one in series if one["split"] == "train")
    first["any"] = 1.0 - (first["any"] or 0.0)


def one_more(series):
    next(one for one in series if one["split"] != "train")["split"] = "train"


def one_less(series):
    next(one for one in series if one["split"] == "train")["split"] = "none"


@pytest.mark.parametrize("change", [another_label, one_more, one_less])
def test_other_scans_and_labels_are_refused(tiny_store, store, change):
    hashed = hash_scans(Store.open(tiny_store), "train")
    check(Store.open(store), hashed)
    with pytest.raises(InputError, match="holds other scans or labels than the run was begun with"):
        check(changed(store, change), hashed)


def test_another_preparation_is_refused(tiny_store):
    store = Store.open(tiny_store)
    before = {**store.config, "keep": "brain"}
    with pytest.raises(InputError, match=r"prepared in another way \(keep brain there and head here\)"):
        check(store, hash_scans(store, "train"), prepare=before)


def test_a_run_of_an_earlier_version_says_nothing_of_its_scans(tiny_store):
    store = Store.open(tiny_store)
    facts = {"prepare": dataclasses.asdict(PrepareConfig(**store.config))}
    check_same_scans(facts, PrepareConfig(**store.config), store, "train", run=Path("run"))


def test_a_training_is_not_gone_on_with_on_other_scans(tiny_run, store, tmp_path):
    shutil.copytree(tiny_run, tmp_path / "run")
    changed(store, another_label)
    config = read_config(tmp_path / "run" / "config.json")
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, store=str(store)))
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    with pytest.raises(InputError, match="begin another run from this one with --init-from"):
        run_training(config, tmp_path / "run", progress=False)
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before
