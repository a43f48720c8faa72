"""Tables that are broken or made to harm: the right figure, or one line."""

import contextlib

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ichformer.cohorts import csv_text
from ichformer.errors import InputError
from ichformer.evaluation.tables.files import read_predictions
from ichformer.evaluation.tables.table import levels
from ichformer.workflows.evaluate_table import evaluate
from tests.evaluation.tables import prediction_table, write_predictions

ANY = ("any",)


def written(tmp_path, text, name="t.csv"):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path / name


def of_weights(weights):
    table = prediction_table(n_patients=40, n_slices=2)
    number = table["patient"].str.replace(r"\D", "", regex=True).astype(int).to_numpy()
    return table.assign(weight=np.asarray(weights, np.float64)[number % len(weights)])


def figures(weights):
    return evaluate(of_weights(weights), labels=ANY, replicates=20).to_json()["levels"]


@pytest.fixture(scope="module")
def of_1_3_7():
    return figures([1.0, 3.0, 7.0])


@pytest.mark.parametrize("scale", [2.0**1020, 2.0**-1060, 2.0])
def test_only_ratios_of_weights_matter_to_the_bit(scale, of_1_3_7):
    assert figures([scale, 3 * scale, 7 * scale]) == of_1_3_7


@pytest.mark.parametrize("scale", [1e307, 1e-318])
def test_weights_at_the_ends_of_floats(scale, of_1_3_7):
    for level, other in zip(figures([scale, 3 * scale, 7 * scale]), of_1_3_7, strict=True):
        for name in ("auroc", "average_precision", "log_loss"):
            one, two = (found["labels"][0][name] for found in (level, other))
            assert one["value"] == pytest.approx(two["value"], rel=1e-3)  # 1e-318 is a number of five digits
            assert one["interval"]["low"] == pytest.approx(two["interval"]["low"], rel=1e-2)


@pytest.mark.parametrize("weights", [[1e308, 1e-308], [1.0, 1e-320], [1e10, 1.0]])
def test_weights_of_which_the_small_ones_would_be_lost_are_refused(weights):
    with pytest.raises(InputError, match=r"column weight: has slice rows of weights from .* differ by a factor"):
        evaluate(of_weights(weights), labels=ANY)


@pytest.mark.parametrize("text", ["1_000", "0x10", "\uff11", "\u0661", "inf", "Infinity", "nan(1)", "1e", "1 0", "1d3"])
@pytest.mark.parametrize("column", ["any", "score_any", "weight"])
def test_only_plain_decimal_numbers_are_numbers(tmp_path, text, column):
    values = {"any": "1", "score_any": "0.5", "weight": "1"} | {column: text}
    path = written(tmp_path, f"patient,any,score_any,weight\np,{','.join(values.values())}\n")
    with pytest.raises(InputError, match=rf"line 2, column {column}: .* is no number"):
        read_predictions(path, labels=ANY)


def test_numbers_beyond_floats(tmp_path):
    for text, words in [("1e400", "too large for a number"), ("1e-400", "too small for a number")]:
        path = written(tmp_path, f"patient,any,score_any,weight\np,1,0.5,{text}\n")
        with pytest.raises(InputError, match=f"line 2, column weight: '{text}' is {words}"):
            read_predictions(path, labels=ANY)
    path = written(tmp_path, f"patient,any,score_any\np,-0.0,1e-320\nq,1,-0\nr,0,1e-400\ns,1,0.{'9' * 1000}\n")
    table = read_predictions(path, labels=ANY).rows
    assert table["score_any"].tolist() == [1e-320, 0, 0, 1]
    assert table["any"].tolist() == [0, 1, 0, 1]
    assert not np.signbit(table[["any", "score_any"]].to_numpy()).any()


HOSTILE = ["=cmd|'/c calc'!A1", "'=x", "+1 2", "@y", "\uff1dz", "a\x1b[2Jb", "\u202ec", "<U+001B>", "1;=x", "-1"]


def test_hostile_names_go_through_our_files_and_join_with_the_users_own(tmp_path):
    rows = [(f"{name}{i}", i % 2) for i, name in enumerate(HOSTILE)]
    table = pd.DataFrame({"patient": [n for n, _ in rows], "series": [n for n, _ in rows], "any": [a for _, a in rows]})
    table = table.assign(study="", slice="", site=table["patient"], split="", score_any=0.5, group_x=table["patient"])
    path = write_predictions(table, tmp_path / "p.csv", labels=ANY)
    read = read_predictions(path, labels=ANY).rows
    assert read["patient"].tolist() == read["site"].tolist() == read["group_x"].tolist() == table["patient"].tolist()
    # The user's table names them as they are.
    users = written(tmp_path, "patient,any,score_any\n=cmd|'/c calc'!A10,0,0.5\n", name="u.csv")
    assert read_predictions(users, labels=ANY).rows["patient"][0] == read["patient"][0]
    table.to_parquet(tmp_path / "p.parquet")
    assert read_predictions(tmp_path / "p.parquet", labels=ANY).rows["patient"].tolist() == table["patient"].tolist()


def test_a_text_of_a_million_characters_is_refused(tmp_path):
    table = prediction_table(n_patients=3).assign(site="x" * 5000)
    with pytest.raises(InputError, match="column site: has a text of 5,000 characters; give texts of at most 4,096"):
        evaluate(table)
    path = written(tmp_path, f"patient,site,any,score_any\np,{'x' * 10**6},1,0.5\n")
    with pytest.raises(InputError, match=r"line 2: .*field larger than field limit"):
        read_predictions(path, labels=ANY)
    pd.DataFrame({"patient": ["p"], "site": ["x" * 10**6], "any": [1], "score_any": [0.5]}).to_parquet(
        tmp_path / "p.parquet"
    )
    with pytest.raises(InputError, match="column site: has a field of more than 131,072 characters"):
        read_predictions(tmp_path / "p.parquet", labels=ANY)


def test_tables_beyond_all_sizes_are_refused_in_one_line(tmp_path, monkeypatch):
    wide = written(tmp_path, ",".join(map(str, range(4097))) + "\n")
    with pytest.raises(InputError, match="line 1: has 4,097 columns, more than 4,096"):
        read_predictions(wide, labels=ANY)
    commas = written(tmp_path, "patient,any,score_any\n" + "," * (2**24 + 1) + "\n")
    with pytest.raises(InputError, match=r"line 2: is no CSV table \(a row of more than 16,777,216 characters\)"):
        read_predictions(commas, labels=ANY)
    monkeypatch.setattr(csv_text, "MAX_FIELDS", 9)
    path = written(tmp_path, "patient,any,score_any\n" + "p,1,0.5\n" * 4)
    with pytest.raises(InputError, match="line 5: has more than 9 fields"):
        read_predictions(path, labels=ANY)
    monkeypatch.setattr(csv_text, "MAX_BYTES", 2**20)
    path = written(tmp_path, "patient,any,score_any\n" + "p,1,0.5\n" * 2**18)
    with pytest.raises(InputError, match="holds more than 1 MiB"):
        read_predictions(path, labels=ANY)


# Parquet.


GOOD = {"patient": ["p", "q"], "any": [1.0, 0.0], "score_any": [0.5, 0.25]}


def parquet(tmp_path, columns, **settings):
    pq.write_table(pa.table(columns), tmp_path / "p.parquet", **settings)
    return tmp_path / "p.parquet"


def test_columns_that_nobody_asked_for_are_not_read_whatever_they_hold(tmp_path):
    path = parquet(tmp_path, {**GOOD, "other": [[1], [2, 3]], "when": pa.array([0, 1], pa.timestamp("ns", "Mars/X"))})
    assert read_predictions(path, labels=ANY).rows["score_any"].tolist() == [0.5, 0.25]


@pytest.mark.parametrize(
    ("column", "values", "words"),
    [
        ("patient", [["a"], ["b"]], "column patient: holds values of the type list<"),
        ("score_any", [{"x": 0.5}, {"x": 0.25}], "column score_any: holds values of the type struct<"),
        ("score_any", pa.array([0, 1], pa.timestamp("ns")), "column score_any: .* is no number"),
        ("score_any", ["0x1", "0.5"], "column score_any: '0x1' is no number"),
        ("patient", pa.array([b"\xff", b"b"]), "cannot be read as Parquet"),
        ("patient", pa.nulls(2), "column patient: is empty or NA in some rows"),
    ],
)
def test_columns_that_are_no_texts_and_no_numbers(tmp_path, column, values, words):
    path = parquet(tmp_path, GOOD | {column: values})
    with pytest.raises(InputError, match=words):
        read_predictions(path, labels=ANY)


def test_text_that_its_writer_did_not_call_so_and_timestamps_as_names(tmp_path):
    path = parquet(tmp_path, GOOD | {"patient": pa.array([b"p", b"q"]), "site": pa.array([0, 1], pa.timestamp("s"))})
    table = read_predictions(path, labels=ANY).rows
    assert table["patient"].tolist() == ["p", "q"]
    assert table["site"].tolist() == ["1970-01-01 00:00:00", "1970-01-01 00:00:01"]


@pytest.mark.slow
def test_bombs_are_refused(tmp_path, monkeypatch):
    """A dictionary of one long text for many rows, a page that unpacks to much, and rows without end."""
    n = 200_000
    columns = {"patient": pa.array([f"p{i}" for i in range(n)]), "any": pa.array(np.arange(n) % 2)}
    columns |= {"score_any": pa.array(np.zeros(n))}
    long = pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array(["x" * 100_000]))
    path = parquet(tmp_path, {**columns, "site": long})
    assert path.stat().st_size < 2**21
    with pytest.raises(InputError, match="unpacks to more than 512 MiB"):  # 20 GB
        read_predictions(path, labels=ANY)
    monkeypatch.setattr("ichformer.evaluation.tables.parquet.MAX_BYTES", 2**20)
    with pytest.raises(InputError, match="unpacks to more than 1 MiB"):
        read_predictions(parquet(tmp_path, columns), labels=ANY)
    monkeypatch.setattr(csv_text, "MAX_FIELDS", 10**5)
    with pytest.raises(InputError, match="has more than 100,000 fields"):
        read_predictions(path, labels=ANY)


@pytest.mark.parametrize("seed", range(10))
def test_damaged_files_are_read_or_refused_in_one_line(tmp_path, seed):
    path = parquet(
        tmp_path, {name: values * 50 for name, values in GOOD.items()} | {"slice": list(map(str, range(100)))}
    )
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(seed)
    for at in rng.integers(0, len(data), 8):
        data[at] = rng.integers(0, 256)
    path.write_bytes(bytes(data[: rng.integers(1, len(data))] if seed % 2 else data))
    with contextlib.suppress(InputError):
        levels(read_predictions(path, labels=ANY))
