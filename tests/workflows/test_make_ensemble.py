"""Trained runs made one: weights fitted, evaluated, predicted with, and what is refused."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from ichformer import LABELS
from ichformer.cli import main
from ichformer.cohorts.registry import COHORTS
from ichformer.cohorts.splits import hold_out_site
from ichformer.errors import InputError
from ichformer.evaluation.thresholds import read_thresholds
from ichformer.inference.ensembles import open_members
from ichformer.inference.trained import open_trained
from ichformer.pipeline.store.records import Store
from ichformer.reporting.evaluation.cards import TO_FILL
from ichformer.testing import tiny_cohort
from ichformer.training.config import DataConfig, ModelConfig, ParallelConfig, TrainConfig
from ichformer.training.runs.run import Run, seen_scans
from ichformer.training.trainer import run_training
from ichformer.workflows.evaluate_run import evaluate
from ichformer.workflows.make_ensemble import make_ensemble
from ichformer.workflows.parts.predict_store import predict_store
from ichformer.workflows.predict_scans import predict
from tests.stores import prepare_here

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store, two runs on its split "train" with two checkpoints each, and their ensemble."""
    folder = tmp_path_factory.mktemp("ensembling")
    tiny_cohort(folder / "cohort", scans=16)
    index = COHORTS["phantom"](folder / "cohort", cache=folder / "cache")
    index = hold_out_site(index, site="tiny-b", seed=0, val_fraction=0.4)
    store = prepare_here(index, folder / "store")
    for seed in (0, 1):
        config = TrainConfig(
            data=DataConfig(store=str(store.path), num_slices=4),
            model=ModelConfig(name="slice_vit_nano"),
            parallel=ParallelConfig(data=1),
            steps=2,
            checkpoint_every=1,
            seed=seed,
        )
        run_training(config, folder / f"run{seed}", progress=False)
    main(
        [
            "ensemble",
            str(folder / "run0"),
            str(folder / "run1"),
            "--weights",
            "equal",
            "--out",
            str(folder / "ensemble"),
        ]
    )
    return folder


def scores(table: pd.DataFrame) -> np.ndarray:
    return table[[f"score_{label}" for label in LABELS]].to_numpy()


def test_it_is_judged_like_a_run_and_says_what_its_members_say_together(folder, tmp_path):
    ensemble, store = open_trained(folder / "ensemble"), Store.open(folder / "store")
    assert ensemble.weights == (0.5, 0.5)
    assert len(ensemble.objective.model.groups) == 1
    seen = sorted(seen_scans(folder / "ensemble")["series"])
    assert seen == sorted(store.index.loc[store.index["split"] == "train", "series"])
    assert read_thresholds(folder / "ensemble" / "thresholds.json").split == "val"

    shutil.copytree(folder / "ensemble", tmp_path / "moved")
    evaluate(tmp_path / "moved", folder / "store", tmp_path / "out", replicates=20)
    found = scores(pd.read_csv(tmp_path / "out" / "predictions.csv"))
    tables = [scores(predict_store(Run.open(folder / name), store, "test")) for name in ("run0", "run1")]
    wanted = expit(sum(map(logit, tables)) / 2)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    card = (tmp_path / "out" / "model_card.md").read_text()
    assert "ensemble of" in card
    assert f"- Selection: {TO_FILL}" in card
    claimed = (tmp_path / "out" / "claim.md").read_text()
    assert "| 27 | Ensembles | logits of 2 models added with the weights 0.5, 0.5 |" in claimed
    assert "seed 0" in card
    assert "seed 1" in card


def test_it_predicts_and_tells_its_members(folder, tmp_path):
    (made,) = predict(folder / "cohort", run=folder / "ensemble", out=tmp_path, series="1").series
    members = made.values["model"]["members"]
    assert [member["name"] for member in members] == ["slice_vit_nano"] * len(members)
    assert made.values["model"]["run"] == "ensemble"
    assert "ensemble of" in made.report.read_text()


def test_robustness_takes_it(folder, tmp_path, capsys):
    main(["robustness", str(folder / "ensemble"), "--corruption", "metal", "--out", str(tmp_path), "--json"])
    assert json.loads(capsys.readouterr().out) == json.loads((tmp_path / "robustness.json").read_text())


def test_snapshots_of_one_run(folder, tmp_path, capsys):
    newest, average = (open_members(folder / "run0", kind)[0] for kind in ("one", "average"))
    both = open_members(folder / "run0", "members")
    assert [one.step for one in both] == [1, 2]
    jax.tree.map(np.testing.assert_array_equal, both[1].params, newest.params)
    jax.tree.map(
        lambda mean, a, b: np.testing.assert_allclose(mean, (a + b) / 2, atol=1e-7),
        average.params,
        *(one.params for one in both),
    )


def test_snapshots_and_views_from_the_command_line(folder, tmp_path, capsys):
    main(["ensemble", str(folder / "run0"), "--snapshots", "members", "--weights", "equal", "--flip",
          "--out", str(tmp_path / "new"), "--json"])  # fmt: skip
    said = json.loads(capsys.readouterr().out)
    assert [(member["step"], member["weight"]) for member in said["members"]] == [(1, 0.5), (2, 0.5)]
    opened = open_trained(tmp_path / "new")
    assert opened.views == ("plain", "flip")
    jax.tree.map(
        lambda stacked, a, b: np.testing.assert_array_equal(stacked, np.stack([a, b])),
        opened.params["group0"],
        *(one.params for one in open_members(folder / "run0", "members")),
    )


def test_fitted_weights_are_no_worse_than_the_best_member_and_who_has_none_is_left_out(folder, tmp_path):
    said = make_ensemble([folder / "run0", folder / "run1"], folder / "store", tmp_path / "new")
    assert said.loss <= min(member["loss"] for member in said.members) * (1 + 1e-6)
    weights = [member["weight"] for member in said.members]
    assert sum(weights) == pytest.approx(1)
    assert open_trained(tmp_path / "new").weights == tuple(weight for weight in weights if weight)
    assert json.loads((tmp_path / "new" / "ensemble.json").read_text())["fit"]["loss"] == said.loss


def test_what_does_not_go_together_is_refused(folder, tmp_path):
    run, store, out = folder / "run0", folder / "store", tmp_path / "out"
    with pytest.raises(InputError, match="one run is no ensemble"):
        make_ensemble([run], store, out)
    with pytest.raises(InputError, match="named twice"):
        make_ensemble([run, run / ".." / "run0"], store, out)
    with pytest.raises(InputError, match="is an ensemble itself"):
        make_ensemble([run, folder / "ensemble"], store, out)
    with pytest.raises(InputError, match="there is no run here"):
        make_ensemble([run, tmp_path], store, out)
    with pytest.raises(InputError, match="never saw a scan of the view 'reverse'"):
        make_ensemble([run, folder / "run1"], store, out, views=("plain", "reverse"))
    with pytest.raises(InputError, match="in training and in test"):
        make_ensemble([run, folder / "run1"], store, out, split="train")
    with pytest.raises(InputError, match="is there already"):
        make_ensemble([run, folder / "run1"], store, folder / "store")
    shutil.copytree(run, tmp_path / "other")
    facts = json.loads((run / "run.json").read_text())
    facts["prepare"]["keep"] = "brain"
    (tmp_path / "other" / "run.json").write_text(json.dumps(facts))
    with pytest.raises(InputError, match=r"otherwise than .*: keep brain, not head"):
        make_ensemble([run, tmp_path / "other"], store, out)
    (tmp_path / "other" / "run.json").write_text((run / "run.json").read_text())
    (tmp_path / "other" / "seen.csv").unlink()
    with pytest.raises(InputError, match="keeps no list of the scans"):
        make_ensemble([run, tmp_path / "other"], store, out)
    assert not out.exists()
