import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichformer.errors import InputError
from ichformer.evaluation.tables.checked import check_table
from ichformer.evaluation.thresholds import RULES, Rule, choose_threshold, fix_thresholds, read_thresholds
from ichformer.statistics.metrics import confusion
from tests.evaluation.tables import prediction_table, write_thresholds
from tests.statistics.strategies import rows

rules = st.sampled_from([*RULES, Rule(kind="sensitivity", at_least=0.5), Rule(kind="specificity", at_least=1.0)])


@given(rows(), rules)
def test_the_chosen_threshold_is_the_best_of_all_scores_that_obey_the_rule(drawn, rule):
    labels, scores, _, _ = drawn
    known = ~np.isnan(labels)
    found = choose_threshold(labels, scores, rule)
    seen = {t: confusion(labels, scores, threshold=t) for t in np.unique(scores[known])}
    if len(set(labels[known])) < 2:
        assert found is None
    elif rule.kind == "youden":
        best = max(c.sensitivity + c.specificity for c in seen.values())
        equal = [t for t, c in seen.items() if c.sensitivity + c.specificity == pytest.approx(best, abs=1e-12)]
        assert found == min(equal)
    else:
        obeying = [t for t, c in seen.items() if getattr(c, rule.kind) >= rule.at_least - 1e-12]
        assert found == ((max if rule.kind == "sensitivity" else min)(obeying) if obeying else None)


def test_nine_of_ten_is_a_sensitivity_of_090():
    labels, scores = np.repeat([1.0, 0.0], [10, 10]), np.concatenate([np.arange(1, 11), np.arange(1, 11)]) / 20
    assert choose_threshold(labels, scores, Rule(kind="sensitivity", at_least=0.9)) == 2 / 20
    assert choose_threshold(labels, scores, Rule(kind="specificity", at_least=0.9)) == 10 / 20


def test_thresholds_are_fixed_on_one_split_written_and_read_back(tmp_path):
    found = fix_thresholds(check_table(prediction_table("val")))
    assert (found.split, found.n_patients) == ("val", 60)
    assert [t.rule for t in found.of("scan", "any")] == [
        "sensitivity>=0.90",
        "sensitivity>=0.95",
        "specificity>=0.90",
        "specificity>=0.95",
        "youden",
    ]
    assert len(found.thresholds) == 2 * 6 * 5
    path = write_thresholds(found, tmp_path / "thresholds.json")
    assert read_thresholds(path) == found
    assert "frozen" in json.loads(path.read_text())["how"]
    assert json.loads(path.read_text())["split"] == "val"


def test_a_label_without_positives_has_no_threshold():
    table = prediction_table("val").assign(epidural=0.0)
    assert {t.value for t in fix_thresholds(check_table(table)).of("slice", "epidural")} == {None}


def test_rows_of_two_splits_are_refused():
    table = prediction_table("val")
    table.loc[table["patient"] == "val0", "split"] = "test"
    with pytest.raises(InputError, match="rows of the splits test, val"):
        fix_thresholds(check_table(table))


@pytest.mark.parametrize("value", ["0.5", float("nan"), float("inf"), -0.1, 1.5, True, [0.5]])
def test_a_value_that_is_no_probability_is_refused(tmp_path, value):
    path = write_thresholds(
        fix_thresholds(check_table(prediction_table("val", n_patients=20))), tmp_path / "thresholds.json"
    )
    written = json.loads(path.read_text())
    written["thresholds"][3]["value"] = value
    path.write_text(json.dumps(written))
    with pytest.raises(InputError, match=r"thresholds\[3\].value: |holds NaN|holds Infinity"):
        read_thresholds(path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": "other"}', '{"format": "ichformer thresholds 1"}'])
def test_a_file_that_holds_no_thresholds_is_refused(tmp_path, content):
    path = tmp_path / "thresholds.json"
    path.write_text(content)
    with pytest.raises(InputError, match="holds no thresholds"):
        read_thresholds(path)
