"""Frozen features of a store's scans and the probes of them, from Python and from the command line."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import ichformer as ich
from ichformer.cli import main
from ichformer.errors import InputError
from ichformer.evaluation.probes.table import features_in
from ichformer.evaluation.scorable import NO_BRAIN
from ichformer.evaluation.tables.table import ID_COLUMNS, NOT_SCORED
from ichformer.inference.ensembles import assemble
from ichformer.inference.scoring import score
from ichformer.pipeline.store.records import Store
from ichformer.training.runs.run import Run
from ichformer.workflows.features import embed_store
from ichformer.workflows.opened.trained_model import TrainedModel
from ichformer.workflows.parts.predict_store import predict_store
from tests.typecheck import unchecked


@pytest.fixture(scope="module")
def run(tiny_run: Path) -> TrainedModel:
    return ich.open_run(tiny_run)


@pytest.fixture(scope="module")
def table(run: TrainedModel, tiny_store: Path) -> pd.DataFrame:
    """Features of all scans."""
    return ich.embed(run, tiny_store, progress=False)


@pytest.mark.slow
def test_features_of_scans_are_those_of_each_scan_alone(run, tiny_store, table):
    store = Store.open(tiny_store)
    assert list(table["series"]) == list(store.index["series"])
    assert list(table["split"]) == list(store.index["split"])
    np.testing.assert_array_equal(table[list(ich.LABELS)], store.index[list(ich.LABELS)])
    assert set(table["slice"]) == {""}
    for row in (0, 7):
        alone = score(run.run.objective, run.run.variables, store.read(row).volume)[2]
        np.testing.assert_allclose(features_in(table)[row], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_scans_are_named_as_predictions_are(run, tiny_store, table):
    predicted = predict_store(run.run, Store.open(tiny_store), "test")
    scans = predicted[predicted["slice"] == ""].set_index("series")
    own = table[table["split"] == "test"].set_index("series")
    columns = [name for name in (*ID_COLUMNS, *ich.LABELS) if name != "series"]
    pd.testing.assert_frame_equal(own[columns], scans.loc[own.index, columns], check_dtype=False)


@pytest.mark.slow
def test_features_of_slices_have_those_of_the_scan_as_their_mean(run, tiny_store, table):
    slices = ich.embed(run, tiny_store, split="val", level="slice", progress=False)
    store = Store.open(tiny_store)
    assert len(slices) == sum(store.n_slices[row] for row in store.rows("val"))
    means = slices.groupby("series", sort=False)[[name for name in slices if name.startswith("feature_")]].mean()
    own = table.set_index("series").loc[means.index]
    np.testing.assert_allclose(means, features_in(own), rtol=1e-4, atol=1e-5)
    row = int(store.rows("val")[0])
    of_scan = slices[slices["series"] == store.index["series"][row]]
    assert list(of_scan["slice"]) == [str(s) for s in range(store.n_slices[row])]
    np.testing.assert_array_equal(of_scan[list(ich.LABELS)], store.read(row).slice_labels)


@pytest.mark.slow
def test_an_ensemble_has_the_features_of_all_of_its_members(run, tiny_store, tiny_run, table, tmp_path):
    members = [Run.open(tiny_run), Run.open(tiny_run)]
    both = TrainedModel(run=assemble(members, (0.5, 0.5), ("plain",), tmp_path))
    found = features_in(ich.embed(both, tiny_store, split="val", progress=False))
    own = features_in(table[table["split"] == "val"])
    np.testing.assert_allclose(found, np.hstack([own, own]), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_commands_write_tables_and_print_one_json_object(tiny_run, tiny_store, table, tmp_path, capsys):
    words = [str(tiny_run), "--store", str(tiny_store)]
    for _ in range(2):  # a table that is there is replaced
        main(["embed", *words, "--split", "train", "test", "--out", str(tmp_path / "f.parquet"), "--json"])
        told = json.loads(capsys.readouterr().out)
    read = pd.read_parquet(tmp_path / "f.parquet")
    expected = table[table["split"] != "val"].reset_index(drop=True)
    pd.testing.assert_frame_equal(read, expected)
    count = features_in(expected).shape[1]
    assert told == {
        "table": str(tmp_path / "f.parquet"),
        "level": "scan",
        "rows": len(expected),
        "features": count,
    }
    for method in ("ridge", "knn", "attentive"):
        probe = ["probe", *words, "--label", "any", "--method", method, "--draws", "2"]
        main([*probe, "--fractions", "0.5", "--out", str(tmp_path / method), "--json"])
        told = json.loads(capsys.readouterr().out)
        assert told == json.loads((tmp_path / method / "probe.json").read_text())
        assert {path.name for path in (tmp_path / method).iterdir()} == {"probe.csv", "probe.json", "predictions.csv"}
        assert told["dimensions"] == count
        assert told["train"]["scans"] == (table["split"] == "train").sum()
        assert [share["fraction"] for share in told["shares"]] == [0.5, 1.0]
        assert told["auroc"]["value"] is not None


@pytest.mark.slow
def test_a_scan_without_a_brain_is_in_the_table_and_in_no_figure(run, tiny_store, monkeypatch, capsys):
    first = int(Store.open(tiny_store).rows("train")[0])
    monkeypatch.setattr(embed_store, "why_stored_not_scored", lambda store, row, hu: NO_BRAIN if row == first else None)
    table = ich.embed(run, tiny_store, split="train", progress=False)
    assert list(table[NOT_SCORED]) == [NO_BRAIN.text, *[""] * (len(table) - 1)]
    assert np.isfinite(features_in(table)).all()
    main(["probe", str(run.path), "--store", str(tiny_store), "--fractions", "1"])
    assert f"fitted on {len(table) - 1} scans (train)" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("embed RUN --store STORE --out OUT/f.txt", "f.txt: is no name of a table; let it end in .parquet or .csv"),
        ("embed RUN --store STORE --out OUT/f.csv --split tset", "holds no scan of the split 'tset'; it has: test, tr"),
        ("embed RUN --store RUN --out OUT/f.csv", "RUN"),
        ("embed STORE --store STORE --out OUT/f.csv", "is a store, not a run"),
        (
            "probe RUN --store STORE --label subdurall --out OUT/p",
            "label: there is no label 'subdurall'; perhaps you m",
        ),
        ("probe RUN --store STORE --fractions 1.5 --out OUT/p", "fractions: found (1.5,); give shares above 0"),
        ("probe RUN --store STORE --draws 0 --out OUT/p", "draws: found 0; take a whole number from 1"),
    ],
)
def test_bad_input_is_one_line(tiny_run, tiny_store, tmp_path, capsys, words, said):
    places = {"RUN": str(tiny_run), "STORE": str(tiny_store)}
    typed = [places.get(word, word.replace("OUT", str(tmp_path))) for word in words.split()]
    with pytest.raises(SystemExit) as stop:
        main(typed)
    error = capsys.readouterr().err.splitlines()[-1]
    assert stop.value.code == 2
    assert error.startswith("ichformer: error: ")
    assert places.get(said, said) in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_probe_refuses_scans_that_the_run_was_trained_on(tiny_run, tiny_store):
    store = Store.open(tiny_store)
    turned = store.index.assign(split=store.index["split"].replace({"train": "test", "test": "train"}))
    swapped = Store(path=store.path, config=store.config, index=turned, label_set=store.label_set)
    with pytest.raises(InputError, match="series are in training and in test"):
        ich.probe(tiny_run, swapped, progress=False)


def test_what_is_no_run_and_no_store_is_refused(tiny_run):
    with unchecked():
        with pytest.raises(InputError, match="run: found None; give what open_run gives, or the folder of a run"):
            ich.embed(None, "store")
        with pytest.raises(InputError, match=r"store: found a DataFrame of shape .*; give a Store or its folder"):
            ich.probe(tiny_run, pd.DataFrame())
        with pytest.raises(InputError, match="level: found 'voxel'; take 'slice' or 'scan'"):
            ich.embed(tiny_run, "store", level="voxel")
