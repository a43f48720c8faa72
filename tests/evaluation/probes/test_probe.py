"""A probe of a table of features: what it finds with many and with few labels, and what it says where it finds none."""

import json

import numpy as np
import pandas as pd
import pytest

from ichformer.errors import InputError
from ichformer.evaluation.compare import compare
from ichformer.evaluation.probes.probe import probe_features
from ichformer.evaluation.probes.table import check_place, feature_names, features_in, write_features
from ichformer.evaluation.probes.text import format_probe, probe_files
from ichformer.evaluation.tables.table import ID_COLUMNS, NOT_SCORED
from ichformer.statistics.delong import delong_test
from tests.typecheck import unchecked

DIMENSIONS = 6


def features(patients: int, split: str, *, seed: int, signal: float = 1.0) -> pd.DataFrame:
    """Two scans a patient, every third patient positive; the features tell so as far as ``signal`` says."""
    rng = np.random.default_rng(seed)
    number = np.arange(patients).repeat(2)
    positive = number % 3 == 0
    told = {name: np.full(2 * patients, "", object) for name in ID_COLUMNS}
    told |= {"patient": [f"{split}/{one}" for one in number], "series": [f"{split}.{i}" for i in range(2 * patients)]}
    told |= {"split": split, "any": positive.astype(np.float64), NOT_SCORED: ""}
    values = rng.normal(size=(2 * patients, DIMENSIONS)) + signal * positive[:, None]
    return pd.DataFrame({**told, **dict(zip(feature_names(DIMENSIONS), values.astype(np.float32).T, strict=True))})


TRAIN, TEST = features(60, "train", seed=0), features(30, "test", seed=1)


@pytest.mark.parametrize("method", ["ridge", "knn"])
def test_features_that_tell_are_read_the_better_the_more_labels_there_are(method):
    found = probe_features(TRAIN, TEST, label="any", method=method, fractions=(0.05, 0.5), draws=4)
    assert [(share.fraction, share.patients, share.draws, share.scored) for share in found.shares] == [
        *[(0.05, 3, 4, 4), (0.5, 30, 4, 4)],
        (1.0, 60, 1, 1),
    ]
    few, half, full = found.shares
    assert 0.6 < few.mean_auroc < half.mean_auroc <= full.mean_auroc == found.auroc.value
    assert few.spread > half.spread > 0
    assert full.spread is None
    assert found.auroc.interval.low < found.auroc.value < found.auroc.interval.high
    assert {draw.scans for draw in found.draws if draw.fraction == 0.05} == {6}
    assert (found.train.scans, found.train.patients, found.train.positive_patients) == (120, 60, 20)
    assert found.collapse.scans == 120
    assert all((draw.penalty is None) == (method == "knn") for draw in found.draws)


@pytest.mark.slow
def test_an_attentive_probe_reads_the_slices_of_the_same_scans():
    """Of three slices of each scan the last has its features; scans without a label or a score are left out."""
    tables = [table.copy() for table in (TRAIN, TEST)]
    tables[0].loc[3, "any"] = np.nan
    tables[1].loc[5, NOT_SCORED] = "No brain was found in this scan."
    slices = tuple(pd.concat([table] * 3).sort_index(kind="stable", ignore_index=True) for table in tables)
    for table in slices:
        table["slice"] = np.tile(["0", "1", "2"], len(table) // 3)
        table.loc[table["slice"] != "2", feature_names(DIMENSIONS)] = np.float32(0)
    found = probe_features(*tables, label="any", method="attentive", fractions=(1.0,), slices=slices)
    assert (found.train.scans, found.test.left_out) == (119, 1)
    assert found.auroc.value > 0.8
    assert found.draws[-1].penalty in 10.0 ** np.arange(-3, 2)
    scores = found.predictions["score_any"]
    assert scores.isna().sum() == 1
    assert scores.dropna().between(0, 1).all()
    assert "a learned query over the slices of each scan" in format_probe(found)
    with pytest.raises(ValueError, match="slices of 118 scans for 120"):
        probe_features(*tables, label="any", method="attentive", slices=(slices[0][6:], slices[1]))


def test_features_that_tell_nothing():
    train, test = (features(60, name, seed=seed, signal=0) for seed, name in enumerate(("train", "test")))
    found = probe_features(train, test, label="any", fractions=(1.0,))
    assert found.auroc.interval.low < 0.5 < found.auroc.interval.high


def test_the_same_seed_gives_the_same_and_another_seed_gives_other_draws():
    one, same, other = (
        probe_features(TRAIN, TEST, label="any", fractions=(0.1,), draws=2, seed=seed) for seed in (0, 0, 1)
    )
    assert one == same
    assert one.draws[0] != other.draws[0]
    assert one.draws[-1] == other.draws[-1]


def test_two_probes_are_compared_on_the_same_patients(tmp_path):
    """The file of a probe's scores is a table of predictions, and the difference of AUROCs is DeLong's, paired."""
    probes = [probe_features(TRAIN, TEST, label="any", method=method, fractions=()) for method in ("ridge", "knn")]
    for probe in probes:
        (tmp_path / f"{probe.method}.csv").write_bytes(probe_files(probe)["predictions.csv"])
    (found,) = compare(tmp_path / "ridge.csv", tmp_path / "knn.csv", replicates=10)
    ridge, knn = (probe.predictions["score_any"].to_numpy() for probe in probes)
    assert ((ridge > 0) & (ridge < 1)).all()
    patients = pd.factorize(TEST["patient"])[0].astype(np.int64)
    expected = delong_test(TEST["any"].to_numpy(), knn, ridge, patients, tails="student")
    assert found.levels[0].labels[0].auroc.value == pytest.approx(expected.value)
    assert found.levels[0].labels[0].auroc.interval.low == pytest.approx(expected.interval.low)
    assert found.levels[0].labels[0].reference_auroc == pytest.approx(probes[0].auroc.value)


def test_scans_without_a_score_or_a_label_are_in_no_figure():
    train, test = TRAIN.copy(), TEST.copy()
    train.loc[0, NOT_SCORED] = test.loc[1, NOT_SCORED] = "No brain was found in this scan."
    train.loc[0, feature_names(DIMENSIONS)] = test.loc[1, feature_names(DIMENSIONS)] = np.nan
    train.loc[2:3, "any"] = test.loc[4, "any"] = np.nan
    found = probe_features(train, test, label="any", fractions=(1.0,))
    same = probe_features(train.drop(index=[0, 2, 3]), test.drop(index=1), label="any", fractions=(1.0,))
    assert found.auroc == same.auroc
    assert (found.train.scans, found.train.patients, found.train.left_out) == (117, 59, 1)
    assert (found.test.scans, found.test.left_out) == (58, 1)
    assert found.collapse.scans == 119  # those without a label have features too
    table = found.predictions
    assert table.index[table["score_any"].isna()].tolist() == [1]
    assert table.loc[1, NOT_SCORED] == "No brain was found in this scan."
    assert "fitted on 117 scans (train) of 59 patients, 20 positive, 1 not scored" in format_probe(found)


def test_what_cannot_be_scored_says_why():
    few = probe_features(TRAIN, TEST, label="any", fractions=(0.01, 0.1), draws=3)
    share = few.shares[0]
    assert (share.scored, share.mean_auroc, share.spread) == (0, None, None)
    (reason,) = share.not_scored
    assert reason.startswith("1 % of 60 labelled training patients are fewer than two.")
    text = format_probe(few)
    assert f"! 1 % not scored. {reason}" in text
    assert "0/3" in text
    alike = TEST.assign(any=1.0)
    found = probe_features(TRAIN, alike, label="any", fractions=(0.1,), draws=1)
    assert found.auroc.value is found.auroc.interval is None
    said = "Of the labelled test scans 60 are positive and 0 negative."
    assert {draw.not_scored for draw in found.draws} == set(found.predictions[NOT_SCORED]) == {said}
    assert "not scored" in repr(found)
    assert json.loads(probe_files(found)["probe.json"])["auroc"] == {"value": None, "interval": None}
    without = probe_features(TRAIN.assign(any=np.nan), TEST, label="any")
    assert {draw.not_scored for draw in without.draws} == {"No training scan has the label."}


def test_the_files_and_the_text_say_the_same():
    found = probe_features(TRAIN, TEST, label="any", fractions=(0.1,), draws=2)
    files = probe_files(found)
    lines = files["probe.csv"].decode().splitlines()
    assert lines[0] == "fraction,number,patients,positive_patients,scans,auroc,penalty,not_scored"
    assert len(lines) == 4
    values = json.loads(files["probe.json"])
    assert [row["auroc"] for row in values["draws"]] == [float(line.split(",")[5]) for line in lines[1:]]
    assert values["shares"][-1]["mean_auroc"] == values["auroc"]["value"]
    text = format_probe(found)
    interval = found.auroc.interval
    assert f"{found.auroc.value:.3f} ({interval.low:.3f}-{interval.high:.3f})" in text
    assert f"effective rank {found.collapse.effective_rank:.1f} of 6" in text
    assert len(repr(found).splitlines()) == 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"method": "svm"}, "method: found 'svm'; take 'ridge' or 'knn'"),
        ({"fractions": (0.0, 0.5)}, "fractions: found .*; give shares above 0 and up to 1"),
        ({"fractions": (2,)}, "fractions: found .*; give shares above 0 and up to 1"),
        ({"fractions": "all"}, "fractions: found 'all'; take a tuple of a finite number"),
        ({"draws": 0}, "draws: found 0; take a whole number from 1"),
        ({"seed": -1}, "seed: found -1; take a whole number from 0"),
        ({"draws": 2.5}, "draws: found 2.5; take a whole number"),
    ],
)
def test_wrong_options_are_refused(given, said):
    with unchecked(), pytest.raises(InputError, match=said):
        probe_features(TRAIN, TEST, label="any", **given)


def test_a_table_of_features_is_the_same_after_writing_and_reading(tmp_path):
    table = TRAIN.assign(patient=["=cmd", *TRAIN["patient"][1:]])
    for name in ("f.parquet", "f.csv"):
        check_place(tmp_path / "new" / name)
        write_features(table, tmp_path / "new" / name)
    read = pd.read_parquet(tmp_path / "new" / "f.parquet")
    pd.testing.assert_frame_equal(read, table)
    read = pd.read_csv(tmp_path / "new" / "f.csv", keep_default_na=False)
    assert read["patient"][0] == "'=cmd"  # harmless in a spreadsheet
    np.testing.assert_array_equal(features_in(read).astype(np.float32), features_in(table).astype(np.float32))


def test_a_place_where_no_table_can_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "f.csv").mkdir()
    for path, said in (
        (tmp_path / "f.txt", r"is no name of a table; let it end in \.parquet or \.csv"),
        (tmp_path / "f.csv", "is a folder; name a file"),
        (tmp_path / "file" / "x.csv", "is there and is no folder"),
    ):
        with pytest.raises(InputError, match=said):
            check_place(path)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(InputError, match=r"pyarrow.* is missing; pip install 'ichformer\[parquet\]', or take CSV"):
        check_place(tmp_path / "f.parquet")
