"""Rows without a score: refused without a reason; with one, counted, said and in no figure."""

import numpy as np
import pytest

from ichformer import LABELS
from ichformer.errors import InputError
from ichformer.evaluation.compare import compare
from ichformer.evaluation.comparison.text import format_comparison
from ichformer.evaluation.summary import format_summary
from ichformer.evaluation.tables.checked import check_table
from ichformer.evaluation.tables.files import read_predictions
from ichformer.evaluation.tables.not_scored import not_scored
from ichformer.evaluation.tables.table import NOT_SCORED, levels, score_columns
from ichformer.evaluation.thresholds import fix_thresholds
from ichformer.workflows.evaluate_table import evaluate
from tests.evaluation.tables import prediction_table, with_scan_rows, write_predictions

WHY = "No brain was found in this scan."


def without_scores(table, rows, *, labels=LABELS, why=WHY):
    """The table with the scores of some rows taken away, and the reason."""
    table = table.assign(**{NOT_SCORED: ""}) if NOT_SCORED not in table else table.copy()
    table.loc[rows, score_columns(labels)] = np.nan
    table.loc[rows, NOT_SCORED] = why
    return table


@pytest.fixture
def table():
    return with_scan_rows(prediction_table(n_patients=30, n_slices=4))


def test_a_missing_score_needs_a_reason_and_a_reason_a_missing_score(table):
    rows = table["patient"] == "test0"
    check_table(without_scores(table, rows))
    with pytest.raises(InputError, match="say in a column not_scored why"):
        check_table(without_scores(table, rows, why=""))
    with pytest.raises(InputError, match="it has every score"):
        check_table(table.assign(**{NOT_SCORED: WHY}))
    with pytest.raises(InputError, match="no text"):
        check_table(table.assign(**{NOT_SCORED: 1.0}))


@pytest.mark.slow
def test_rows_without_scores_are_in_no_figure_and_are_counted(table):
    rows = table["patient"].isin(["test0", "test1", "test2"])
    marked = without_scores(table, rows)
    found = evaluate(marked, replicates=20)
    wanted = evaluate(table[~rows].reset_index(drop=True), replicates=20)
    assert found.levels == wanted.levels
    positive = int((table.loc[rows & (table["slice"] == ""), list(LABELS)] == 1).any(axis=1).sum())
    scans = [one for one in found.not_scored if one.level == "scan"]
    assert [(one.label, one.n, one.n_positive, one.n_level) for one in scans] == [("", 3, positive, 30)]
    said = f"Scan level: 3 of 30 scans were not scored and are in no figure. {positive} of them are positive. {WHY}"
    assert said in found.warnings
    assert said in format_summary(found)
    assert found.to_json()["not_scored"][1]["reason"] == WHY
    thresholds = fix_thresholds(check_table(marked))
    assert thresholds.thresholds == fix_thresholds(check_table(table[~rows])).thresholds


def test_a_label_without_scores_is_not_estimable_and_the_others_stay(table):
    marked = without_scores(table, table["patient"] != "", labels=("epidural",), why="Never trained for epidural.")
    found = evaluate(marked, replicates=20)
    wanted = evaluate(table, replicates=20)
    for level, full in zip(found.levels, wanted.levels, strict=True):
        assert level.labels[0].n == 0
        assert level.labels[0].auroc.value is None
        assert [label.auroc for label in level.labels[1:]] == [label.auroc for label in full.labels[1:]]
    assert "Scan level, epidural: not scored. Never trained for epidural." in found.warnings
    assert not [warning for warning in found.warnings if "no row has a known label" in warning]


def test_what_is_the_same_for_several_labels_is_said_once(table):
    marked = without_scores(table, table["patient"] != "", labels=("epidural", "subdural"), why="Never trained.")
    found = evaluate(marked, replicates=20)
    assert [warning for warning in found.warnings if "not scored" in warning] == [
        f"{level} level, epidural, subdural: not scored. Never trained." for level in ("Slice", "Scan")
    ]


@pytest.mark.slow
def test_a_level_without_scores_is_left_out_and_said(table, tmp_path):
    marked = without_scores(table, table["slice"] != "", why="The slice scores were never trained.")
    summary = evaluate(marked, out=tmp_path, replicates=20)
    assert [level.level for level in summary.levels] == ["scan"]
    said = "Slice level: not scored. The slice scores were never trained."
    assert said in summary.warnings
    assert said in (tmp_path / "evaluation.html").read_text()
    assert "Slice level: not scored" in (tmp_path / "model_card.md").read_text()
    assert [threshold.level for threshold in fix_thresholds(check_table(marked)).thresholds] == ["scan"] * 30


def test_a_table_without_any_score_is_refused(table):
    with pytest.raises(InputError, match=r"not one row was scored \(No brain was found in this scan.\)"):
        evaluate(without_scores(table, table["patient"] != ""), replicates=20)


def test_a_scan_made_of_slices_is_not_scored_where_one_of_them_is_not():
    slices = prediction_table(n_patients=5, n_slices=3)
    marked = without_scores(slices, [1])
    by_slice, by_scan = levels(check_table(marked))
    assert len(by_slice.scores) == 14
    assert len(by_scan.scores) == 4
    assert [(one.level, one.n) for one in not_scored(check_table(marked))] == [("slice", 1), ("scan", 1)]


def test_files_keep_the_reasons(table, tmp_path):
    marked = without_scores(table, table["patient"] == "test0")
    written = write_predictions(marked, tmp_path / "predictions.csv")
    read = read_predictions(written)
    again = read.rows
    assert again[NOT_SCORED].tolist() == marked[NOT_SCORED].tolist()
    assert again[score_columns()].isna().all(axis=1).tolist() == (marked[NOT_SCORED] != "").tolist()
    lines = written.read_text().splitlines()
    assert lines[0].endswith(",not_scored")
    assert lines[1].endswith(f",,,,,,,{WHY}")
    assert not_scored(read) == not_scored(check_table(marked))


@pytest.mark.slow
def test_comparison_is_over_what_every_model_scored(table):
    first = without_scores(table, table["patient"].isin(["test0", "test1"]))
    second = without_scores(table, table["patient"].isin(["test1", "test2"]), why="Not read.")
    paired = table[~table["patient"].isin(["test0", "test1", "test2"])].reset_index(drop=True)
    (found,) = compare(first, second, replicates=50)
    (wanted,) = compare(paired, paired, replicates=50)
    assert found.levels == wanted.levels
    reasons = {one.reason: one.n for one in found.not_scored if one.level == "scan"}
    assert reasons == {WHY: 1, "Not read.": 1, f"{WHY} / Not read.": 1}
    assert "1 of 30 scans were not scored and are in no figure" in format_comparison(found)
    rest = without_scores(table, ~table["patient"].isin(["test0", "test1"]))
    with pytest.raises(InputError, match="not one row was scored"):
        compare(first, rest, replicates=50)
