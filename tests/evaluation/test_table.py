import sys
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichformer import LABELS
from ichformer.errors import InputError
from ichformer.evaluation.tables.checked import check_table
from ichformer.evaluation.tables.files import read_predictions
from ichformer.evaluation.tables.table import CheckedTable, columns, levels
from tests.evaluation.tables import prediction_table, with_scan_rows, write_predictions


def test_reading_gives_back_what_was_written_to_the_bit(tmp_path):
    table = with_scan_rows(prediction_table(n_patients=5))
    table.loc[3, "epidural"] = np.nan
    table["patient"] = "NA" + table["patient"]
    table.loc[0, "score_any"] = 0.1 + 0.2
    path = write_predictions(table, tmp_path / "predictions.csv")
    pd.testing.assert_frame_equal(read_predictions(path).rows, table)


def test_other_peoples_tables_need_a_patient_labels_and_scores_only(tmp_path):
    path = tmp_path / "other.csv"
    path.write_bytes("\ufeffpatient, any,score_any,age\nNora ,1,0.5,70\n007,,1e-3,80\n".encode())
    table = read_predictions(path, labels=("any",)).rows
    assert list(table) == columns(("any",))
    assert list(table["patient"]) == ["Nora", "007"]
    np.testing.assert_array_equal(table["any"], [1, np.nan])
    (scan,) = levels(check_table(table, labels=("any",)))
    assert (scan.name, scan.derived, scan.labels.shape) == ("scan", False, (2, 1))


def test_parquet_says_the_same_as_csv(tmp_path):
    table = with_scan_rows(prediction_table(n_patients=4)).assign(group_sex="F")
    table.loc[3, "epidural"] = np.nan
    table.to_parquet(tmp_path / "predictions.parquet")
    pd.testing.assert_frame_equal(
        read_predictions(tmp_path / "predictions.parquet").rows,
        read_predictions(write_predictions(table, tmp_path / "predictions.csv")).rows,
    )
    # Whole numbers for patients, truth values for labels, and no file of that kind.
    pd.DataFrame({"patient": [7, 8], "any": [True, None], "score_any": [0.1 + 0.2, 0.5]}).to_parquet(
        tmp_path / "a.parquet"
    )
    found = read_predictions(tmp_path / "a.parquet", labels=("any",)).rows
    assert (list(found["patient"]), found["score_any"][0]) == (["7", "8"], 0.1 + 0.2)
    np.testing.assert_array_equal(found["any"], [1, np.nan])
    # Decimals of a database, and a scan's row whose number of the slice is NaN.
    other = pd.DataFrame({"patient": ["a", "a"], "any": [1, 1], "score_any": [Decimal("0.5"), Decimal("0.25")]})
    numbers = pyarrow.array([0.0, float("nan")], from_pandas=False)
    pyarrow.parquet.write_table(
        pyarrow.Table.from_pandas(other).append_column("slice", numbers), tmp_path / "other.parquet"
    )
    found = read_predictions(tmp_path / "other.parquet", labels=("any",)).rows
    assert (list(found["slice"]), list(found["score_any"])) == (["0.0", ""], [0.5, 0.25])
    (tmp_path / "no.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        read_predictions(tmp_path / "no.parquet")


def test_what_r_does_not_know_is_unknown_in_names_too(tmp_path):
    """R writes NA: a scan's row is no slice of the name NA, and rows without a patient are not one patient."""
    path = tmp_path / "r.csv"
    path.write_text('"patient","slice","site","any","score_any"\n"a",1,NA,1,0.5\n"a",2,NA,NA,0.2\n"a",NA,NA,1,0.9\n')
    table = read_predictions(path, labels=("any",)).rows
    assert list(table["slice"]) == ["1", "2", ""]
    assert set(table["site"]) == {""}
    slices, scans = levels(check_table(table, labels=("any",)))
    assert (slices.patients.size, scans.patients.size, scans.derived) == (2, 1, False)
    path.write_text("patient,any,score_any\na,1,0.5\nNA,1,0.5\n")
    with pytest.raises(InputError, match="column patient: is empty or NA"):
        read_predictions(path, labels=("any",))


def test_parquet_without_its_reader_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"ichformer\[parquet\]"):
        read_predictions(tmp_path / "predictions.parquet")


def test_groups_are_read_and_written(tmp_path):
    table = prediction_table(n_patients=3).assign(group_sex="F")
    found = read_predictions(write_predictions(table, tmp_path / "predictions.csv")).rows
    pd.testing.assert_frame_equal(found, table)
    assert [list(set(level.groups["sex"])) for level in levels(check_table(found))] == [["F"], ["F"]]


FAULTS = {
    "no column epidural": lambda t: t.drop(columns="epidural"),
    "no rows": lambda t: t.iloc[:0],
    "score 1.5 for patient test0, slice 0": lambda t: t.assign(score_any=1.5),
    "score -1 ": lambda t: t.assign(score_any=-1.0),
    "score nan": lambda t: t.assign(score_any=t["score_any"].where(t["slice"] != "3")),
    "score inf": lambda t: t.assign(score_any=np.inf),
    "label 2 for": lambda t: t.assign(subdural=2.0),
    "label 0.5 for": lambda t: t.assign(subdural=0.5),
    "something else than numbers": lambda t: t.assign(any="maybe"),
    "two rows for patient test0, slice 0": lambda t: pd.concat([t, t.iloc[:1]]),
    "patient test0 is in the splits test and val, 1 such": lambda t: t.assign(
        split=["val" if p == "test0" and s == "0" else "test" for p, s in zip(t["patient"], t["slice"], strict=True)]
    ),
    "column patient: is empty": lambda t: t.assign(patient=""),
    "column slice: has values that are no text": lambda t: t.assign(slice=np.arange(len(t)) + 0.5),
    "patient test1, slice 0 has no row for its scan": lambda t: with_scan_rows(t).drop(index=len(t) + 1),
}


@pytest.mark.parametrize("message", FAULTS)
def test_a_table_that_would_lead_to_a_wrong_figure_is_refused(message, tmp_path):
    good = prediction_table(n_patients=3)
    check_table(good)
    faulty = FAULTS[message](good)
    with pytest.raises(InputError, match=message):
        check_table(faulty)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no CSV table: it is empty"),
        (b"\xff\xfe\x00\x01", "no column patient, any, score_any"),
        (b"patient,any,score_any\nK\xf6ln,1,0.5\n", "line 2: is no CSV table in UTF-8"),
        (b"patient,any,score_any\na,1,0.5,7\n", "line 2: has not 3 fields, as the header, but 4"),
        (b"patient,score_any,any\na,0.5,1\nb,0.5\n", "line 3: has not 3 fields, as the header, but 2"),
        (b"patient,any,any,score_any\n", "names a column twice: 'any'"),
        (b"patient,any, any,score_any\n", "names a column twice"),
        (b"patient,any,score_any\na,maybe,0.5\n", "column any: 'maybe' is no number; give numbers, and 0, 1, yes, no"),
        (b"patient,any,score_any\na,1,%b\n" % (b"z" * 5000), r"'z+\.\.\.' is no number; give numbers"),
        (b"patient,any,score_any\na,1,\n", "score nan"),
        (b"patient,any\na,1\n", "no column score_any; .* found patient, any$"),
        (b"patient,any,score_any\n", "no rows"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path, content, message):
    path = tmp_path / "predictions.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_predictions(path, labels=("any",))


SUBTYPES_AND_ANY = ("subdural", "any")


@pytest.mark.parametrize(
    "text",
    [
        "patient;subdural;any;score_subdural;score_any\na;0;1;0,25;0,5\nb;0;0;1;2,5e-1\n",
        "patient\tsubdural\tany\tscore_subdural\tscore_any\na\t0\t1\t0,25\t0.5\nb\t0\t0\t1\t0.25\n",
        "\ufeffpatient,subdural,any,score_subdural,score_any\r\na,0,1,0.25,0.5\r\n\r\nb,0,0,1,.25\r\n",
    ],
)
def test_separators_and_decimal_commas(tmp_path, text):
    path = tmp_path / "predictions.csv"
    path.write_text(text)
    table = read_predictions(path, labels=SUBTYPES_AND_ANY).rows
    assert table["score_subdural"].tolist() == [0.25, 1]
    assert table["score_any"].tolist() == [0.5, 0.25]
    assert table["any"].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("a,0,0,0.5,0.5\n\nb,1,0,0.5,0.5\nc,1,0,0.5,0.5\n", "line 4: any is 0 but subdural is 1 for patient b, 2 such"),
        ('"a\nb",0,0,0.5,0.5\n\nb,0,0,0.5,x\n', "line 5, column score_any: 'x' is no number"),
        ("a,0,0,0.5,1.234,5\n", "line 2: has not 5 fields"),
    ],
)
def test_faults_with_their_lines(tmp_path, rows, words):
    path = tmp_path / "predictions.csv"
    path.write_text("patient,subdural,any,score_subdural,score_any\n" + rows)
    with pytest.raises(InputError, match=words):
        read_predictions(path, labels=SUBTYPES_AND_ANY)


def test_any_may_be_positive_alone_or_unknown_and_counts_only_where_it_is_evaluated(tmp_path):
    path = tmp_path / "predictions.csv"
    path.write_text("patient,subdural,any,score_subdural,score_any\na,0,1,0.5,0.5\nb,1,,0.5,0.5\nc,,0,0.5,0.5\n")
    assert len(read_predictions(path, labels=SUBTYPES_AND_ANY).rows) == 3
    path.write_text("patient,subdural,any,score_subdural\na,1,0,0.5\n")
    assert len(read_predictions(path, labels=("subdural",)).rows) == 1
    table = prediction_table(n_patients=3, n_slices=2).assign(any=0.0, subdural=1.0)
    with pytest.raises(InputError, match="any is 0 but subdural is 1 for patient test0, slice 0, 6 such in all"):
        check_table(table, labels=SUBTYPES_AND_ANY)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.csv: does not exist"):
        read_predictions(tmp_path / "nowhere.csv")


@given(st.lists(st.sampled_from([0.0, 1.0, np.nan]), min_size=1, max_size=4), st.integers(0, 5))
def test_a_scan_is_the_maximum_over_its_slices_and_unknown_where_that_could_change_it(truth, column):
    slices = prediction_table(n_patients=2, n_slices=len(truth))
    slices[LABELS[column]] = np.tile(np.array(truth), 2)
    _, scan = levels(CheckedTable(rows=slices, labels=LABELS))  # "any" need not go with the subtypes here
    expected = 1.0 if 1.0 in truth else np.nan if np.isnan(truth).any() else 0.0
    np.testing.assert_array_equal(scan.labels[:, column], [expected] * 2)
    scores = slices["score_any"].to_numpy().reshape(2, -1)
    np.testing.assert_array_equal(scan.scores[:, 5], scores.max(axis=1))
    assert scan.derived


def test_scan_rows_that_are_there_are_used_and_patients_are_numbered():
    table = with_scan_rows(prediction_table(n_patients=12, n_slices=2))
    shuffled = table.sample(frac=1, random_state=0)
    slices, scans = levels(check_table(shuffled))
    assert (slices.name, scans.name, scans.derived) == ("slice", "scan", False)
    assert (len(slices.labels), len(scans.labels)) == (24, 12)
    for level, rows in ((slices, shuffled[shuffled["slice"] != ""]), (scans, shuffled[shuffled["slice"] == ""])):
        assert len({*zip(level.patients.tolist(), rows["patient"], strict=True)}) == 12
        assert sorted(set(level.patients.tolist())) == list(range(12))


def test_a_patient_of_several_studies_is_one_patient():
    table = prediction_table(n_patients=4, n_slices=1).assign(study=["a", "b", "a", "b"], patient=["p", "p", "q", "q"])
    _, scan = levels(check_table(table))
    np.testing.assert_array_equal(scan.patients, [0, 0, 1, 1])
