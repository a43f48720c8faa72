import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from ichformer import LABELS
from ichformer.errors import InputError
from ichformer.evaluation.summary import format_summary, summarise
from ichformer.evaluation.tables.checked import check_table
from ichformer.evaluation.tables.table import levels
from ichformer.evaluation.thresholds import fix_thresholds
from ichformer.statistics import metrics
from ichformer.statistics.bootstrap import average_precision_statistic, bootstrap
from ichformer.statistics.delong import auroc_interval
from ichformer.statistics.intervals import bca
from ichformer.workflows.evaluate_table import evaluate
from tests.evaluation.tables import prediction_table, with_scan_rows


@pytest.fixture(scope="module")
def table():
    return prediction_table()


@pytest.fixture(scope="module")
def thresholds():
    return fix_thresholds(check_table(prediction_table("val", seed=1)))


TOO_GOOD = "the figures at the thresholds are too good."


def rsna_2019(labels, scores):
    """The score of the competition: the mean over labels of the mean log loss, in which "any" counts twice."""
    losses = [metrics.log_loss(labels[:, i], scores[:, i]) for i in range(6)]
    return float(np.average(losses, weights=[1, 1, 1, 1, 1, 2]))


@pytest.fixture(scope="module")
def summary(table, thresholds):
    return evaluate(table, thresholds=thresholds, replicates=300, seed=4)


def test_every_figure_is_that_of_the_metrics(table, thresholds, summary):
    assert [level.level for level in summary.levels] == ["slice", "scan"]
    for level, found in zip(levels(check_table(table)), summary.levels, strict=True):
        assert found.weighted_log_loss.value == pytest.approx(rsna_2019(level.labels, level.scores))
        assert found.macro_auroc.value == pytest.approx(np.mean([label.auroc.value for label in found.labels]))
        for i, label in enumerate(found.labels):
            truth, scores = level.labels[:, i], level.scores[:, i]
            assert label.label == LABELS[i]
            assert label.n_positive == truth.sum()
            assert label.auroc.value == metrics.auroc(truth, scores)
            assert label.auroc.interval == auroc_interval(truth, scores, level.patients)
            assert label.average_precision.value == pytest.approx(average_precision_score(truth, scores), abs=1e-12)
            assert label.log_loss.value == pytest.approx(metrics.log_loss(truth, scores), abs=1e-12)
            for point, threshold in zip(label.operating_points, thresholds.of(level.name, label.label), strict=True):
                seen = metrics.confusion(truth, scores, threshold=threshold.value)
                assert (point.rule, point.threshold) == (threshold.rule, threshold.value)
                assert (point.sensitivity.value, point.specificity.value) == (seen.sensitivity, seen.specificity)
                assert point.sensitivity.interval.low <= seen.sensitivity <= point.sensitivity.interval.high


def test_intervals_are_those_of_resampled_patients(table, summary):
    slices = levels(check_table(table))[0]
    statistic = average_precision_statistic(slices.labels[:, 5], slices.scores[:, 5], slices.patients)
    found = bootstrap([statistic], n_patients=60, replicates=300, seed=4, jackknife=True)
    expected = bca(float(found.values[0]), found.replicates[:, 0], found.jackknife[:, 0], n_patients=60)
    assert summary.levels[0].labels[5].average_precision.interval == expected
    assert summary.levels[0].n_patients == 60


def test_scan_rows_that_equal_the_maximum_change_nothing_but_the_note(table, summary):
    explicit = evaluate(with_scan_rows(table), replicates=300, seed=4)
    assert summary.levels[1].derived
    assert not explicit.levels[1].derived
    assert explicit.levels[1].macro_auroc == summary.levels[1].macro_auroc
    assert not any("maximum over" in warning for warning in explicit.warnings)


def test_written_as_strict_json(summary):
    found = json.loads(json.dumps(summary.to_json(), allow_nan=False))
    assert found["thresholds_from"] == "val"
    assert found["levels"][1]["labels"][5]["auroc"]["value"] == summary.levels[1].labels[5].auroc.value


def test_printed_table_is_aligned_and_shows_positives_beside_every_figure(summary):
    text = format_summary(summary)
    assert max(map(len, text.splitlines())) <= 120
    for level in summary.levels:
        block = next(b for b in text.split("\n\n") if b.startswith(f"{level.level} level"))
        lines = block.splitlines()
        assert "sensitivity>=0.90" in lines[0]
        starts = {line.index("AUROC") for line in lines[1:2]}
        for label in level.labels:
            (line,) = (line for line in lines if line.strip().startswith(label.label))
            assert f" {label.n_positive}/{label.n} " in line
            assert line[min(starts) :].startswith(f"{label.auroc.value:.3f} ({label.auroc.interval.low:.3f}-")
    assert "Thresholds were chosen on split val" in text


@pytest.mark.slow
def test_what_cannot_be_computed_is_not_estimable(table, thresholds, tmp_path):
    hard = table.assign(epidural=0.0, subdural=np.nan, score_any=table["any"])
    found = evaluate(hard, thresholds=thresholds, replicates=100)
    for level in found.levels:
        by_name = {label.label: label for label in level.labels}
        assert by_name["epidural"].auroc.value is None
        assert by_name["epidural"].average_precision.value is None
        assert by_name["epidural"].operating_points[0].sensitivity.value is None
        assert by_name["epidural"].operating_points[0].specificity.value is not None
        assert by_name["subdural"].log_loss.value is None
        assert level.weighted_log_loss.value is None
        assert level.macro_auroc.value is None
        # A perfect score: no interval of width 0.
        assert by_name["any"].auroc.value == 1
        assert by_name["any"].auroc.interval.low < 1
        assert by_name["any"].average_precision.interval is None
    json.dumps(found.to_json(), allow_nan=False)
    assert "not estimable" in format_summary(found)
    assert any("Slice level, epidural: all rows are of one class" in warning for warning in found.warnings)
    assert any("Scan level, subdural: no row has a known label" in warning for warning in found.warnings)


@pytest.mark.slow
def test_few_positives_and_thresholds_of_the_same_split_are_warned_of(table):
    rare = table.assign(epidural=np.where(table["patient"].isin(["test1", "test2"]), 1.0, 0.0))
    rare["any"] = rare[list(LABELS)].max(axis=1)
    found = evaluate(rare, thresholds=fix_thresholds(check_table(table)), replicates=50)
    assert any(w.startswith("Slice level") and "fewer than 10" in w and "epidural (2)" in w for w in found.warnings)
    assert any("a split of the same name (test). If it had the same patients" in warning for warning in found.warnings)


@pytest.mark.slow
def test_thresholds_that_are_missing_or_weak_are_warned_of(table, thresholds):
    val = prediction_table("val", n_patients=30, n_slices=4, seed=3)
    three = val["patient"].isin(["val1", "val2", "val3"])
    val = val.assign(any=1.0, epidural=1.0, subdural=np.where(three & (val["slice"] == "0"), 1.0, 0.0))
    frozen = fix_thresholds(check_table(val))
    said = "\n".join(evaluate(table, thresholds=frozen, replicates=2).warnings)
    assert "Scan level, epidural, any: no threshold, as no scan on split val is negative. Put more" in said
    assert (
        "Slice level: the thresholds of subdural are unreliable, as they rest on fewer than 10 positive slices on split"
        in said
    )
    slices = replace(thresholds, thresholds=tuple(t for t in thresholds.thresholds if t.level == "slice"))
    said = evaluate(table, thresholds=slices, replicates=2).warnings
    assert "Scan level: no threshold was chosen for it on split val, so there is no sensitivity." in said


@pytest.mark.slow
def test_thresholds_of_evaluated_patients_are_warned_of_whatever_their_split_is_called(table, thresholds):
    def flattering(**known):
        found = summarise(check_table(table, labels=("any",)), replicates=2, **known)
        return [warning for warning in found.warnings if "too good" in warning]

    here, there = set(table["patient"]), {"val1", "val2"}
    for frozen in (thresholds, fix_thresholds(check_table(table))):
        assert flattering(thresholds=frozen, fixed_on=there) == []
        assert flattering(thresholds=frozen, fixed_on={"test1", *there}) == [
            f"The thresholds were chosen on 1 of the {len(here)} evaluated patients, so {TOO_GOOD}"
        ]
    assert flattering(thresholds=thresholds) == []


def test_one_patient_or_one_scan_gives_no_interval_that_means_nothing():
    found = evaluate(prediction_table(n_patients=1, prevalence=0.4), replicates=50)
    slices, scans = found.levels
    for label in (*slices.labels, *scans.labels):
        assert label.auroc.interval is None
        assert label.average_precision.interval is None
        assert label.log_loss.interval is None
    format_summary(found)


def test_without_thresholds_no_sensitivity_is_reported(table):
    found = evaluate(table, replicates=50)
    assert found.thresholds_from is None
    assert found.levels[0].labels[0].operating_points == ()
    assert "sensitivity" not in format_summary(found)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_summary(table):
    first, again, other = (evaluate(table, replicates=50, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.levels != other.levels


def test_hostile_names_are_printed_on_one_line(table):
    name = "any\x1b[31m\nforged"
    hostile = table.rename(columns={"any": name, "score_any": f"score_{name}"})
    text = format_summary(evaluate(hostile, replicates=20, labels=(name,)))
    assert "\x1b" not in text
    assert not any(line.startswith("forged") for line in text.splitlines())


def test_rows_of_two_splits_are_refused(table):
    mixed = table.assign(split=np.where(table["patient"] == "test0", "val", "test"))
    with pytest.raises(InputError, match="rows of the splits test, val"):
        evaluate(mixed)
