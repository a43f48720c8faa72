"""Sites, subgroups, micro and macro figures of a summary."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as sk
from scipy.special import expit, logit
from scipy.stats import norm, t

from ichformer.errors import InputError
from ichformer.evaluation.subgroups import pool_sites
from ichformer.evaluation.tables.checked import check_table
from ichformer.evaluation.tables.table import levels
from ichformer.evaluation.thresholds import fix_thresholds
from ichformer.statistics.delong import auroc_interval, delong
from ichformer.statistics.metrics import auroc
from ichformer.statistics.pooling import pool
from ichformer.workflows.evaluate_table import evaluate
from tests.evaluation.tables import prediction_table


def spread_out(table, *, sites=4):
    """Patients of several sites, with groups that are known for most; one site has no positive epidural."""
    number = table["patient"].str.removeprefix("test").astype(int)
    site = number.mod(sites).map(lambda k: f"site {k}")
    return table.assign(
        site=site,
        group_sex=np.where(number % 7 == 0, "", np.where(number % 2 == 0, "F", "M")),
        epidural=np.where(site == "site 0", 0.0, table["epidural"]),
    )


@pytest.fixture(scope="module")
def table():
    return spread_out(prediction_table(n_patients=120, n_slices=5))


@pytest.fixture(scope="module")
def thresholds():
    return fix_thresholds(check_table(prediction_table("val", n_patients=120, n_slices=5, seed=1)))


@pytest.fixture(scope="module")
def found(table, thresholds):
    return evaluate(table, thresholds=thresholds, prevalence=0.1, replicates=50)


@pytest.mark.slow
def test_each_site_and_group_is_evaluated_as_if_it_were_alone(table, thresholds, found):
    for name, parts in (("site", found.levels[0].sites), ("group_sex", found.levels[0].subgroups["sex"])):
        named = sorted(set(table[name]) - {""})
        assert [part.name for part in parts] == [*named, *[""] * (name == "group_sex")]
        for part in parts:
            alone = evaluate(table[table[name] == part.name], thresholds=thresholds, replicates=5)
            assert (part.n, part.n_patients) == (alone.levels[0].n, alone.levels[0].n_patients)
            for ours, theirs in zip(part.labels, alone.levels[0].labels, strict=True):
                assert (ours.n, ours.n_positive) == (theirs.n, theirs.n_positive)
                assert ours.n_positive_patients == theirs.n_positive_patients
                assert ours.auroc.value == theirs.auroc.value
                # Sums over patients run in another order, so the last bit may differ.
                ends = [i and (i.low, i.high) for i in (ours.auroc.interval, theirs.auroc.interval)]
                assert ends[0] == (ends[1] and pytest.approx(ends[1], abs=1e-12))
                assert ours.sensitivity == theirs.operating_points[0].sensitivity
                assert ours.specificity == theirs.operating_points[0].specificity


def test_sites_are_pooled_as_log_odds(table, found):
    slices = levels(check_table(table))[0]
    values, variances = [], []
    for site in sorted(set(table["site"])):
        rows = slices.sites == site
        one = delong(slices.labels[rows, 5], slices.scores[rows, 5][None], slices.patients[rows])
        area = one.aurocs[0]
        values.append(logit(area))
        # DeLong's variance of the log odds, larger as Student's quantile is.
        wider = t.ppf(0.975, min(one.positive_patients, one.negative_patients) - 1) / norm.ppf(0.975)
        variances.append(wider**2 * one.covariance[0, 0] / (area * (1 - area)) ** 2)
    expected = pool(np.array(values), np.array(variances))
    pooled = found.levels[0].pooled_sites[5]
    assert (pooled.sites, pooled.left_out) == (4, ())
    assert pooled.value == pytest.approx(expit(expected.value), abs=1e-12)
    assert pooled.interval.low == pytest.approx(expit(expected.interval.low), abs=1e-12)
    assert pooled.prediction.high == pytest.approx(expit(expected.prediction.high), abs=1e-12)
    assert pooled.i2 == pytest.approx(expected.i2, abs=1e-12)
    assert list(pooled.weights) == [f"site {k}" for k in range(4)]


def test_a_site_that_cannot_be_pooled_is_left_out_by_name_and_warned_of(found):
    pooled = found.levels[0].pooled_sites[0]
    assert (pooled.sites, pooled.left_out) == (3, ("site 0",))
    assert found.levels[0].sites[0].labels[0].auroc.value is None
    assert any(
        w.startswith("Slice level: pooled AUROCs leave out sites") and "epidural: without site 0" in w
        for w in found.warnings
    )
    assert any(w.startswith("Slice level") and "fewer than 10" in w and "by site " in w for w in found.warnings)


def test_a_site_of_three_positives_that_score_high_by_chance_does_not_weigh_most():
    rng = np.random.default_rng(0)
    truth = np.concatenate([rng.random(200) < 0.3, np.arange(100) < 3, rng.random(200) < 0.3]).astype(np.float64)
    scores = expit(1.5 * truth + rng.normal(size=500))
    # All three just below the highest negative of their site.
    scores[200:203], scores[203:300], scores[203] = [0.97, 0.975, 0.98], 0.9 * scores[203:300], 0.99
    ids, sites = np.arange(500).astype(str), np.repeat([*"abc"], [200, 100, 200])
    table = pd.DataFrame({"patient": ids, "any": truth, "score_any": scores, "site": sites})
    table = table.assign(**dict.fromkeys(("study", "series", "slice", "split"), ""))
    (level,) = levels(check_table(table, labels=("any",)))
    rows = level.sites == "b"
    assert delong(level.labels[rows, 0], level.scores[rows, 0][None]).covariance[0, 0] < 1e-3
    (pooled,) = pool_sites(level, ("any",))
    assert pooled.weights["b"] < 0.15
    assert pooled.value == pytest.approx(auroc(truth[~rows], scores[~rows]), abs=0.03)


@pytest.mark.slow
def test_a_perfect_or_single_site_is_not_pooled(table):
    perfect = table.assign(score_any=np.where(table["site"] == "site 1", table["any"], table["score_any"]))
    pooled = evaluate(perfect, replicates=5).levels[0].pooled_sites[5]
    assert pooled.left_out == ("site 1",)
    one = evaluate(table[table["site"] == "site 1"], replicates=5).levels[0]
    assert one.pooled_sites == ()
    assert len(one.sites) == 1
    nameless = evaluate(table.assign(site=""), replicates=5).levels[0]
    assert (nameless.sites, nameless.pooled_sites) == ((), ())


def test_micro_figures_take_every_pair_of_row_and_label_as_a_row(table, thresholds, found):
    for level, seen in zip(levels(check_table(table)), found.levels, strict=True):
        truth, scores = level.labels.ravel(), level.scores.ravel()
        micro = seen.micro
        assert micro.auroc.value == pytest.approx(
            sk.roc_auc_score(level.labels, level.scores, average="micro"), abs=1e-9
        )
        assert micro.auroc.interval == auroc_interval(truth, scores, np.repeat(level.patients, 6))
        expected = sk.average_precision_score(level.labels, level.scores, average="micro")
        assert micro.average_precision.value == pytest.approx(expected, abs=1e-9)
        assert micro.brier.value == pytest.approx(np.mean((scores - truth) ** 2), abs=1e-12)
        called = np.column_stack(
            [
                level.scores[:, i] >= thresholds.of(level.name, label.label)[0].value
                for i, label in enumerate(seen.labels)
            ]
        )
        for name, average in (("micro", micro.operating_points[0]), ("macro", seen.macro_points[0])):
            estimable = level.labels.any(axis=0)
            if name == "macro":
                assert all(estimable)
            f1 = sk.f1_score(level.labels, called, average=name)
            assert average.f1.value == pytest.approx(f1, abs=1e-9)
        assert micro.operating_points[0].ppv.value == pytest.approx(
            sk.precision_score(level.labels, called, average="micro"), abs=1e-9
        )
        sensitivity = micro.operating_points[0].sensitivity
        assert sensitivity.interval.low < sensitivity.value < sensitivity.interval.high


def test_points_have_every_rate_and_are_restated_at_the_prevalence(found):
    for label in found.levels[1].labels:
        point = label.operating_points[0]
        odds = 0.1 / 0.9 * point.positive_likelihood_ratio.value
        assert point.ppv_at_prevalence.value == pytest.approx(odds / (1 + odds), abs=1e-9)
        odds = 0.1 / 0.9 * point.negative_likelihood_ratio.value
        assert point.npv_at_prevalence.value == pytest.approx(1 / (1 + odds), abs=1e-9)
        for name in ("ppv", "f1", "mcc", "positive_likelihood_ratio", "negative_likelihood_ratio"):
            figure = getattr(point, name)
            assert figure.interval.low <= figure.value <= figure.interval.high
        # Bayes' rule keeps the order, so the ends are those of the ratios.
        odds = 0.1 / 0.9 * point.positive_likelihood_ratio.interval.low
        assert point.ppv_at_prevalence.interval.low == pytest.approx(odds / (1 + odds), abs=1e-9)
        odds = 0.1 / 0.9 * point.negative_likelihood_ratio.interval.low
        assert point.npv_at_prevalence.interval.high == pytest.approx(1 / (1 + odds), abs=1e-9)
    assert found.prevalence == 0.1


def test_a_prevalence_is_a_share(table):
    for wrong in (0.0, 1.0, 10.0, float("nan")):
        with pytest.raises(InputError, match="prevalence"):
            evaluate(table, prevalence=wrong, replicates=5)


@pytest.mark.parametrize(
    ("message", "change"),
    [
        ("column site: two values", {"site": lambda t: t["slice"]}),
        ("column group_age: has 40 values", {"group_age": lambda t: t["patient"]}),
        ("column group_sex: two values", {"group_sex": lambda t: t["slice"]}),
        ("column group_sex: has values that are no text", {"group_sex": lambda t: 1.0}),
    ],
)
def test_sites_and_groups_that_make_no_sense_are_refused(message, change):
    with pytest.raises(InputError, match=message):
        evaluate(prediction_table(n_patients=40, n_slices=2).assign(**change), replicates=2)


def test_rules_have_to_be_the_same_for_every_label(table, thresholds):
    lacking = replace(thresholds, thresholds=thresholds.thresholds[1:])
    with pytest.raises(InputError, match="by the same rules"):
        evaluate(table, thresholds=lacking, replicates=2)


@pytest.mark.parametrize("names", [["", "", "a", "b", "b", "a"], [""] * 6])
def test_no_row_is_lost_between_the_groups(names):
    table = prediction_table(n_patients=6, n_slices=2)
    of = dict(zip([f"test{k}" for k in range(6)], names, strict=True))
    found = evaluate(table.assign(group_x=table["patient"].map(of)), replicates=2).levels[0]
    assert sum(part.n for part in found.subgroups.get("x", ())) == (12 if any(names) else 0)
