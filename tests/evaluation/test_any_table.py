"""Tables as people have them: a DataFrame or a file with few columns, checked once whatever is done with it."""

import numpy as np
import pandas as pd
import pytest

from ichformer import LABELS
from ichformer.errors import InputError
from ichformer.evaluation.compare import compare
from ichformer.evaluation.tables import checked, checks
from ichformer.evaluation.tables.checked import check_table
from ichformer.evaluation.tables.files import read_predictions
from ichformer.evaluation.thresholds import THRESHOLDS_NAME, fix_thresholds
from ichformer.reporting.evaluation.folder import FILES
from ichformer.workflows.evaluate_table import evaluate
from tests.evaluation.tables import prediction_table, with_scan_rows, write_predictions, write_thresholds
from tests.typecheck import unchecked

TRUTH = np.tile([0.0, 1.0], 30)
SCORES = np.clip(0.4 * TRUTH + np.linspace(0, 0.6, 60), 0, 1)


@pytest.fixture
def plain() -> pd.DataFrame:
    """A patient, a label and a score: all that most people have."""
    return pd.DataFrame({"patient": np.arange(60), "bleed": TRUTH.astype(bool), "score_bleed": SCORES})


def area(source, **settings) -> float:
    return evaluate(source, replicates=2, **settings).levels[0].labels[0].auroc.value


def test_a_data_frame_of_a_patient_a_label_and_a_score_is_enough(plain, tmp_path):
    wins = np.subtract.outer(SCORES[TRUTH == 1], SCORES[TRUTH == 0])
    assert area(plain) == pytest.approx(np.mean((wins > 0) + (wins == 0) / 2))
    plain.assign(bleed=TRUTH).to_csv(tmp_path / "table.csv", index=False)
    assert area(plain, labels="bleed") == area(plain, labels=["bleed"]) == area(plain)
    assert area(tmp_path / "table.csv") == area(str(tmp_path / "table.csv")) == area(plain)
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_columns_are_filled_in_and_others_left_out(plain):
    table = check_table(plain.assign(remark="x", score_any=0.5, any=0), labels=("bleed",))
    assert list(table.rows) == [*("patient", "study", "series", "slice", "site", "split"), "bleed", "score_bleed"]
    assert table.rows["patient"].tolist()[:2] == ["0", "1"]
    assert set(table.rows["slice"]) == {""}
    assert table.labels == ("bleed",)
    assert check_table(table) is table


def test_labels_are_those_that_have_scores_in_the_order_of_the_six():
    table = prediction_table(n_patients=3)
    assert check_table(table[table.columns[::-1]]).labels == LABELS
    fewer = table.drop(columns=["score_any", "score_epidural"]).assign(mass=0.0, score_mass=0.5)
    assert check_table(fewer).labels == (*LABELS[1:5], "mass")


@pytest.mark.slow
def test_a_table_that_pandas_read_is_as_good_as_its_file(tmp_path):
    """Slices are floats there, as they are missing in the rows of scans; missing sites and groups are NaN too."""
    table = with_scan_rows(prediction_table(n_patients=40, n_slices=3)).assign(site="", group_sex="")
    table.loc[table["patient"] < "test2", "group_sex"] = "F"
    path = write_predictions(table, tmp_path / "predictions.csv")
    assert pd.read_csv(path)["slice"].dtype == np.float64
    pd.testing.assert_frame_equal(check_table(pd.read_csv(path)).rows, read_predictions(path).rows, check_dtype=False)
    assert evaluate(pd.read_csv(path), replicates=2) == evaluate(path, replicates=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.to_dict("list"), "predictions: is a dict; give a pandas DataFrame, or the path of a CSV"),
        (
            lambda t: t.drop(columns="patient"),
            "predictions: no column patient; add it: it names the patient of each row; found",
        ),
        (lambda t: t.drop(columns="bleed"), "predictions: no column bleed; add it"),
        (
            lambda t: t.drop(columns="score_bleed"),
            "has no column of scores; call the scores of a label X score_X; found",
        ),
        (lambda t: t.assign(patient=0), "59 such in all; keep one row .* or add the columns that tell them apart"),
        (lambda t: t.assign(patient=t["patient"] + 0.5), "column patient: has values that are no text"),
        (lambda t: t.assign(patient=t["patient"] + 2.0**60), "column patient: has values that are no text"),
        (lambda t: t.assign(patient=t["patient"].where(t["patient"] > 0)), "column patient: is empty or NA"),
        (lambda t: t.assign(bleed="maybe"), "column bleed: holds something else than numbers; give 0, 1, yes, no"),
        (lambda t: t.assign(score_bleed=t["score_bleed"].where(t["patient"] > 0)), "score nan for patient 0"),
    ],
)
def test_what_is_missing_is_said(plain, change, message):
    with unchecked(), pytest.raises(InputError, match=message):
        evaluate(change(plain), replicates=2)


@pytest.mark.parametrize("kind", ["boolean", "Int64", "Float64", "object"])
def test_missing_labels_are_unknown_whatever_holds_them(plain, kind):
    labels = plain["bleed"].astype(kind if kind != "object" else float).astype(kind).mask(plain["patient"] < 10)
    assert evaluate(plain.assign(bleed=labels.convert_dtypes()), replicates=2).levels[0].labels[0].n == 50


@pytest.mark.slow
def test_with_a_folder_everything_is_written_and_thresholds_are_chosen_on_other_patients(plain, tmp_path):
    validation = plain.assign(patient=plain["patient"] + 100, split="val")
    summary = evaluate(plain, out=tmp_path / "out", calibrate_on=validation, replicates=2)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*FILES, THRESHOLDS_NAME}
    assert summary.thresholds_from == "val"
    frozen = fix_thresholds(check_table(validation))
    kept = write_thresholds(frozen, tmp_path / "kept.json")
    for given in (frozen, kept):
        found = evaluate(plain, thresholds=given, calibrate_on=validation, replicates=2)
        assert found.levels == summary.levels
    with pytest.raises(InputError, match="60 patients are in both tables"):
        evaluate(plain, calibrate_on=plain)


def test_a_split_is_chosen_of_a_data_frame_and_its_weights_are_checked(plain):
    both = pd.concat([plain.assign(split="test"), plain.assign(patient=plain["patient"] + 60, split="val")])
    assert area(both, split="test") == area(plain)
    with pytest.raises(InputError, match="no row of the split 'train'; it has: test, val"):
        evaluate(both, split="train")
    with pytest.raises(InputError, match="rows of the splits test, val"):
        evaluate(both)
    with pytest.raises(InputError, match="column weight: is 0 in every scan row"):
        evaluate(both.assign(weight=(both["split"] == "val").astype(float)), split="test")


def test_data_frames_are_compared_by_numbers_and_files_by_their_names(plain, tmp_path):
    worse = plain.assign(score_bleed=1 - plain["score_bleed"])
    (found,) = compare(worse, plain, replicates=2)
    assert (found.reference, found.candidate) == ("model 1", "model 2")
    label = found.levels[0].labels[0]
    assert label.auroc.value == pytest.approx(area(plain) - area(worse))
    plain.assign(bleed=TRUTH).to_csv(tmp_path / "new.csv", index=False)
    first, second = compare(worse, tmp_path / "new.csv", plain, names=("old", "new", "newer"), replicates=2)
    assert (first.candidate, second.candidate) == ("new", "newer")
    assert first.levels == second.levels
    (named,) = compare(worse, str(tmp_path / "new.csv"), replicates=2)
    assert (named.reference, named.candidate) == ("model 1", "new")
    with pytest.raises(InputError, match="names: 1 for 2 tables"):
        compare(worse, plain, names=("a",))


@pytest.fixture
def calls(monkeypatch) -> dict[str, int]:
    """How often tables are checked, and the spelling of their patients compared."""
    counts = {"check_predictions": 0, "one_spelling": 0}

    def count(module, name):
        original = getattr(module, name)

        def counted(*arguments, **settings):
            counts[name] += 1
            return original(*arguments, **settings)

        monkeypatch.setattr(module, name, counted)

    count(checked, "check_predictions")
    count(checks, "one_spelling")
    return counts


@pytest.mark.slow
def test_a_table_is_checked_once_a_command(calls, tmp_path):
    table = prediction_table(n_patients=30, n_slices=2)
    path = write_predictions(table, tmp_path / "test.csv")
    validation = write_predictions(prediction_table("val", n_patients=30, n_slices=2), tmp_path / "val.csv")
    for command, tables in (
        (lambda: evaluate(path, out=tmp_path / "out", calibrate_on=validation, replicates=2, labels=("any",)), 2),
        (lambda: evaluate(table, replicates=2, labels=("any",)), 1),
        (lambda: compare(path, table, table, replicates=2, labels=("any",)), 3),
    ):
        calls.update(dict.fromkeys(calls, 0))
        command()
        assert calls == dict.fromkeys(calls, tables)
