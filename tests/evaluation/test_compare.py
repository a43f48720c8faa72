import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2

from ichformer.errors import InputError
from ichformer.evaluation.compare import compare as compare_tables
from ichformer.evaluation.comparison.text import format_comparison
from ichformer.evaluation.tables.checked import check_table
from ichformer.evaluation.tables.table import levels
from ichformer.evaluation.thresholds import fix_thresholds
from ichformer.statistics.delong import delong_test
from ichformer.statistics.paired_tests import holm, mcnemar, mcnemar_clustered
from tests.evaluation.tables import prediction_table

SUBTYPE = "subarachnoid"


def compare(tables, *, thresholds=None, **settings):
    """By the names of the models."""
    frozen = () if thresholds is None else [thresholds[name] for name in tables if name in thresholds]
    return compare_tables(*tables.values(), names=tuple(tables), thresholds=frozen, **settings)


def with_noise(table, sd, seed=0):
    """The same rows of a model whose scores are noisier."""
    rng = np.random.default_rng(seed)
    worse = table.copy()
    for name in [c for c in table if c.startswith("score_")]:
        odds = np.log(table[name] / (1 - table[name])) + sd * rng.normal(size=len(table))
        worse[name] = 1 / (1 + np.exp(-odds))
    return worse


@pytest.fixture(scope="module")
def tables():
    good = prediction_table(n_patients=80, n_slices=4)
    return {"old": with_noise(good, 2.0), "new": good, "other": with_noise(good, 0.3, seed=1)}


@pytest.fixture(scope="module")
def thresholds():
    val = prediction_table("val", n_patients=80, n_slices=4, seed=1)
    return {
        "old": fix_thresholds(check_table(with_noise(val, 2.0))),
        "new": fix_thresholds(check_table(val)),
        "other": fix_thresholds(check_table(val)),
    }


@pytest.fixture(scope="module")
def found(tables, thresholds):
    return compare(tables, thresholds=thresholds, margin=0.05, replicates=200, seed=1)


def test_differences_are_those_of_the_parts(tables, found):
    assert [(c.reference, c.candidate) for c in found] == [("old", "new"), ("old", "other")]
    # Tables are sorted by their rows' names before they are laid side by side.
    old, new = (
        levels(check_table(tables[n].sort_values(["patient", "study", "series", "slice"]))) for n in ("old", "new")
    )
    for level, reference, candidate in zip(found[0].levels, old, new, strict=True):
        for i, label in enumerate(level.labels):
            truth = candidate.labels[:, i]
            both = (candidate.scores[:, i], reference.scores[:, i])
            expected = delong_test(truth, *both, candidate.patients, tails="student")
            assert label.auroc == expected
            assert label.auroc.value == pytest.approx(label.candidate_auroc - label.reference_auroc, abs=1e-9)
            assert label.non_inferior == (expected.interval.low > -0.05)
        expected = np.mean([label.auroc.value for label in level.labels])
        assert level.macro_auroc.value == pytest.approx(expected, abs=1e-9)
        assert level.macro_auroc.interval.low < expected < level.macro_auroc.interval.high
    assert found[0].levels[0].labels[5].auroc.value > 0.03
    assert found[0].levels[0].labels[5].log_loss.value < 0
    assert found[0].levels[0].labels[5].average_precision.value > 0


def test_p_values_are_corrected_over_labels_and_models(found):
    for k in range(2):
        labels = [label for comparison in found for label in comparison.levels[k].labels]
        expected = holm(np.array([label.auroc.p_value for label in labels]))
        assert [label.auroc_p_holm for label in labels] == pytest.approx(expected.tolist())
        rates = [label.rates[0] for label in labels]
        assert {(r.rule, r.rate) for r in rates} == {("sensitivity>=0.90", "sensitivity")}
        expected = holm(np.array([rate.test.p_value for rate in rates]))
        assert [rate.p_holm for rate in rates] == pytest.approx(expected.tolist())


def test_rates_are_those_at_each_models_own_frozen_threshold(tables, thresholds, found):
    (rate,) = (
        r for r in found[0].levels[0].labels[5].rates if (r.rule, r.rate) == ("specificity>=0.90", "specificity")
    )
    right = {}
    for name in ("old", "new"):
        (frozen,) = (t for t in thresholds[name].of("slice", "any") if t.rule == rate.rule)
        negative = tables[name]["any"] == 0
        right[name] = (tables[name].loc[negative, "score_any"] < frozen.value).to_numpy()
    assert (rate.reference, rate.candidate) == pytest.approx((right["old"].mean(), right["new"].mean()))
    patients = np.unique(tables["old"].loc[negative, "patient"], return_inverse=True)[1]
    assert rate.test == mcnemar_clustered(right["new"], right["old"], patients)
    assert rate.test.method == "clustered"
    assert rate.difference.value == pytest.approx(rate.candidate - rate.reference)
    assert found[0].levels[1].labels[5].rates[0].test.method == "exact"


def test_clustered_mcnemar_of_single_rows_is_mcnemars_and_knows_what_clusters_are():
    rng = np.random.default_rng(0)
    first, second = rng.random(200) < 0.8, rng.random(200) < 0.7
    found = mcnemar_clustered(first, second, np.arange(200))
    b, c = found.only_first, found.only_second
    assert found.p_value == pytest.approx(chi2.sf((b - c) ** 2 / (b + c), 1), rel=1e-9)
    assert mcnemar(first, second).only_first == b
    # Rows that only repeat a patient say nothing new.
    again = mcnemar_clustered(np.repeat(first, 5), np.repeat(second, 5), np.repeat(np.arange(200), 5))
    assert again.p_value == pytest.approx(found.p_value, rel=1e-9)
    assert mcnemar_clustered(first, first, np.arange(200)).p_value == 1


def test_clustered_mcnemar_holds_its_level_where_the_exact_one_does_not():
    rng, rejected = np.random.default_rng(1), np.zeros(2)
    patients = np.repeat(np.arange(60), 10)
    for _ in range(400):
        shift = np.repeat(rng.normal(size=60), 10)
        first, second = shift + rng.normal(size=600) > 0, -shift + rng.normal(size=600) > 0
        tests = (mcnemar(first, second), mcnemar_clustered(first, second, patients))
        rejected += [test.p_value < 0.05 for test in tests]
    exact, clustered = rejected / 400
    assert exact > 0.2
    assert 0.02 < clustered < 0.08


def test_a_model_is_not_inferior_to_itself_and_differs_by_nothing(tables):
    (found,) = compare(
        {"a": tables["new"], "b": tables["new"].sample(frac=1, random_state=0)}, margin=0.01, replicates=20
    )
    for level in found.levels:
        for label in level.labels:
            assert (label.auroc.value, label.auroc.p_value, label.non_inferior) == (0, 1, True)
            assert label.log_loss.value == 0


def test_two_models_without_error_on_a_few_scans_are_not_shown_to_be_equal():
    truth = np.repeat([0.0, 1.0], 2)
    table = prediction_table(n_patients=4, n_slices=1).assign(any=truth, score_any=0.1 + 0.8 * truth)
    other = table.assign(score_any=[0.1, 0.3, 0.6, 0.9])
    (found,) = compare({"a": table, "b": other}, labels=("any",), margin=0.05, replicates=20)
    label = found.levels[0].labels[0]
    assert (label.reference_auroc, label.candidate_auroc, label.auroc.value) == (1, 1, 0)
    assert (label.auroc.interval, label.non_inferior) == (None, None)
    assert "+0.000 (no interval) †" in format_comparison(found)
    assert "† marks figures that are unreliable, as fewer than 10 patients are positive" in format_comparison(found)


def test_written_as_strict_json_and_printed_in_one_table_a_level(found):
    text = json.dumps(found[0].to_json(), allow_nan=False)
    assert json.loads(text)["levels"][1]["labels"][5]["auroc"]["value"] == found[0].levels[1].labels[5].auroc.value
    said = format_comparison(found[0])
    assert said.startswith("new minus old")
    assert f"{found[0].levels[0].labels[5].auroc.value:+.3f}" in said


def test_what_is_not_estimable_is_said(tables):
    one_class = {name: table.assign(epidural=0.0) for name, table in tables.items()}
    (found, _) = compare(one_class, replicates=20, margin=0.1)
    label = found.levels[0].labels[0]
    assert (label.auroc, label.auroc_p_holm, label.non_inferior, label.average_precision.value) == (
        None,
        None,
        None,
        None,
    )
    assert found.levels[0].macro_auroc.value is None
    assert "not estimable" in format_comparison(found)


def other_rules(thresholds):
    fewer = tuple(one for one in thresholds["new"].thresholds if one.rule != "youden")
    return {**thresholds, "new": replace(thresholds["new"], thresholds=fewer)}


def test_rules_may_stand_in_another_order(tables, thresholds):
    turned = replace(thresholds["new"], thresholds=thresholds["new"].thresholds[::-1])
    found, again = (
        compare(tables, thresholds={**thresholds, "new": new}, replicates=2) for new in (thresholds["new"], turned)
    )
    assert found == again


FAULTS = {
    "needs two models": lambda t, f: compare({"old": t["old"]}),
    "new: its rows are not those in old: 4 rows are only there, 0 only here": lambda t, f: compare(
        {**t, "new": t["new"][t["new"]["patient"] != "test3"]}
    ),
    "labels of 1 rows differ from those in old": lambda t, f: compare(
        {**t, "new": t["new"].assign(any=np.where(t["new"].index == 7, 1 - t["new"]["any"], t["new"]["any"]))}
    ),
    "no column score_any": lambda t, f: compare(
        {**t, "new": t["new"].drop(columns="score_any")}, labels=("subdural", "any")
    ),
    "new: has scores for epidural, .* and those in old are for epidural": lambda t, f: compare(
        {**t, "new": t["new"].drop(columns="score_any")}
    ),
    "replicates: found 0": lambda t, f: compare(t, replicates=0),
    "seed: found -1": lambda t, f: compare(t, seed=-1),
    "margin: found 0": lambda t, f: compare(t, margin=0.0),
    "1 for 3 tables": lambda t, f: compare(t, thresholds={"old": f["old"]}),
    "by the same rules": lambda t, f: compare(t, thresholds=other_rules(f), replicates=2),
    "rows of the splits": lambda t, f: compare(
        {n: x.assign(split=np.where(x["patient"] == "test0", "val", "test")) for n, x in t.items()}
    ),
}


@pytest.mark.parametrize("message", FAULTS)
def test_what_cannot_be_compared_is_refused(tables, thresholds, message):
    with pytest.raises(InputError, match=message):
        FAULTS[message](tables, thresholds)
