"""Sample weights: every figure as scikit-learn and statsmodels weigh it, and intervals that cover all the same."""

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import sklearn.metrics as sk
import statsmodels.api as sm
from hypothesis import given, settings
from scipy.special import logit

from ichformer.errors import InputError
from ichformer.evaluation.compare import compare
from ichformer.evaluation.summary import format_summary
from ichformer.evaluation.tables.checked import check_table
from ichformer.evaluation.tables.files import read_predictions
from ichformer.evaluation.tables.table import levels
from ichformer.evaluation.thresholds import RULES, choose_threshold, fix_thresholds
from ichformer.statistics import bootstrap as b
from ichformer.statistics.calibration import measure_calibration
from ichformer.statistics.curves import decision_curve, risk_coverage
from ichformer.statistics.delong import auroc_interval, delong
from ichformer.statistics.intervals import bca, effective_number, rate_interval
from ichformer.statistics.metrics import auroc
from ichformer.statistics.recalibration import fit_temperature
from ichformer.workflows.evaluate_table import evaluate
from tests.evaluation.tables import prediction_table, with_scan_rows, write_predictions
from tests.statistics.strategies import rows
from tests.statistics.test_coverage import TRIALS, Population, held_as_promised
from tests.typecheck import unchecked


def weighted(table, seed=0):
    """Patients of ten different weights."""
    number = table["patient"].str.replace(r"\D", "", regex=True).astype(int)
    return table.assign(weight=np.random.default_rng(seed).permutation(np.linspace(0.3, 4.7, 10))[number % 10])


@pytest.fixture(scope="module")
def table():
    return weighted(prediction_table(n_patients=80, n_slices=5, prevalence=0.15))


@pytest.fixture(scope="module")
def thresholds():
    table = prediction_table("val", n_patients=80, n_slices=5, prevalence=0.15, seed=1)
    return fix_thresholds(check_table(weighted(table)))


@pytest.fixture(scope="module")
def found(table, thresholds):
    return evaluate(table, thresholds=thresholds, prevalence=0.2, replicates=100)


def test_every_figure_is_scikit_learns_with_sample_weight(table, thresholds, found):
    for level, seen in zip(levels(check_table(table)), found.levels, strict=True):
        w = level.weights
        assert level.weighted
        for i, label in enumerate(seen.labels):
            y, s = level.labels[:, i], level.scores[:, i]
            expected = {
                "auroc": sk.roc_auc_score(y, s, sample_weight=w),
                "partial_auroc": sk.roc_auc_score(y, s, sample_weight=w, max_fpr=0.2),
                "average_precision": sk.average_precision_score(y, s, sample_weight=w),
                "log_loss": sk.log_loss(y, s, sample_weight=w),
                "brier": sk.brier_score_loss(y, s, sample_weight=w),
            }
            for name, value in expected.items():
                assert getattr(label, name).value == pytest.approx(value, abs=1e-9), name
            for point, threshold in zip(label.operating_points, thresholds.of(level.name, label.label), strict=True):
                called = s >= threshold.value
                expected = {
                    "sensitivity": sk.recall_score(y, called, sample_weight=w),
                    "specificity": sk.recall_score(y, called, sample_weight=w, pos_label=0),
                    "ppv": sk.precision_score(y, called, sample_weight=w),
                    "npv": sk.precision_score(y, called, sample_weight=w, pos_label=0),
                    "f1": sk.f1_score(y, called, sample_weight=w),
                    "mcc": sk.matthews_corrcoef(y, called, sample_weight=w),
                }
                if (called & (y == 0)).any() and (~called & (y == 0)).any():
                    positive, negative = sk.class_likelihood_ratios(y, called, sample_weight=w)
                    expected |= {"positive_likelihood_ratio": positive, "negative_likelihood_ratio": negative}
                for name, value in expected.items():
                    figure = getattr(point, name)
                    assert figure.value == pytest.approx(value, abs=1e-9), name
                    assert figure.interval.low <= figure.value <= figure.interval.high, name
        assert seen.n_effective == pytest.approx(w.sum() ** 2 / (w**2).sum())
        assert seen.n == len(level.labels)


def numbers(value):
    """Every figure of a summary, in order."""
    if isinstance(value, dict):
        return [n for part in value.values() for n in numbers(part)]
    if isinstance(value, list | tuple):
        return [n for part in value for n in numbers(part)]
    return [float(value)] if isinstance(value, int | float) else []


@pytest.mark.slow
def test_only_the_ratios_of_weights_matter(table, thresholds, found):
    doubled = evaluate(table.assign(weight=7 * table["weight"]), thresholds=thresholds, prevalence=0.2, replicates=100)
    np.testing.assert_allclose(numbers(asdict(doubled)), numbers(asdict(found)), rtol=1e-7, atol=1e-9)


def test_equal_weights_are_none(table):
    plain = table.drop(columns="weight")
    one, other = (evaluate(t, replicates=30) for t in (plain, plain.assign(weight=2.5)))
    np.testing.assert_allclose(numbers(asdict(one)), numbers(asdict(other)), rtol=1e-9, atol=1e-12)
    assert one.warnings == other.warnings


@pytest.mark.slow
def test_rows_without_weight_are_no_rows(table):
    nobody = table["patient"].isin(["test3", "test7", "test11"])
    silent = evaluate(table.assign(weight=table["weight"].where(~nobody, 0.0)), replicates=30)
    assert silent == evaluate(table[~nobody], replicates=30)
    assert silent.levels[0].n_patients == 77


def test_weights_are_said_and_counts_stay_counts(found):
    text = format_summary(found)
    assert "Slice level: rows have weights. The 400 rows say as much as" in text
    label = found.levels[0].labels[5]
    assert f"{label.n_positive}/400" in text


def test_weights_are_read_and_written(table, tmp_path):
    path = write_predictions(table, tmp_path / "predictions.csv")
    pd.testing.assert_frame_equal(read_predictions(path).rows, table)
    table.to_parquet(tmp_path / "predictions.parquet")
    pd.testing.assert_frame_equal(read_predictions(tmp_path / "predictions.parquet").rows, table)


FAULTS = {
    "weight -1 for patient test0, slice 0": lambda t: t.assign(weight=-1.0),
    "weight nan for": lambda t: t.assign(weight=t["weight"].where(t["slice"] != "2")),
    "weight inf for": lambda t: t.assign(weight=np.inf),
    "is 0 in every slice row": lambda t: t.assign(weight=0.0),
    "is 0 in every scan row": lambda t: with_weight_of_scans(t, 0.0),
    "column weight: holds something else than numbers": lambda t: t.assign(weight="much"),
    "two values for patient test0, slice 0, whose scan": lambda t: t.assign(weight=np.arange(1.0, len(t) + 1)),
}


def with_weight_of_scans(table, weight):
    both = with_scan_rows(table.drop(columns="weight"))
    return both.assign(weight=np.where(both["slice"] == "", weight, 1.0))


@pytest.mark.parametrize("message", FAULTS)
def test_weights_that_make_no_sense_are_refused(table, message):
    with pytest.raises(InputError, match=message):
        evaluate(FAULTS[message](table), replicates=2)


def test_a_label_cannot_be_named_weight(table):
    with pytest.raises(InputError, match="label weight"):
        evaluate(table, labels=("weight",))


def test_models_are_compared_with_the_same_weights_only(table):
    worse = table.assign(score_any=1 - table["score_any"])
    (found,) = compare(worse, table, replicates=20)
    any_slice, level = found.levels[0].labels[5], levels(check_table(table))[0]
    assert any_slice.candidate_auroc == pytest.approx(
        sk.roc_auc_score(level.labels[:, 5], level.scores[:, 5], sample_weight=level.weights), abs=1e-9
    )
    assert any_slice.auroc.value == pytest.approx(any_slice.candidate_auroc - any_slice.reference_auroc, abs=1e-9)
    with pytest.raises(InputError, match="model 2: weights differ from those in model 1"):
        compare(worse, table.assign(weight=1.0))


@pytest.mark.slow
@settings(max_examples=20)
@given(rows(max_size=25))
def test_weighted_replicates_are_scikit_learns(drawn):
    labels, scores, weights, patients = drawn
    keep = ~np.isnan(labels) & (weights > 0)
    labels, scores, weights, patients = labels[keep], scores[keep], weights[keep], patients[keep]
    called = scores >= 0.5
    statistics = [
        b.auroc_statistic(labels, scores, patients, weights),
        b.average_precision_statistic(labels, scores, patients, weights),
        b.partial_auroc_statistic(labels, scores, patients, weights, max_false_positive_rate=0.3),
        b.mean_statistic((scores - labels) ** 2, patients, weights, n_patients=10),
        b.rates_statistic(labels, called, patients, weights, n_patients=10),
    ]
    found = b.bootstrap(statistics, n_patients=10, replicates=5, seed=1)
    for counts, values in zip(
        np.concatenate(list(b.resample(10, replicates=5, seed=1))), found.replicates, strict=True
    ):
        w = weights * counts[patients]
        y, s, c, w = labels[w > 0], scores[w > 0], called[w > 0], w[w > 0]
        both = len(set(y)) == 2
        expected = [
            sk.roc_auc_score(y, s, sample_weight=w) if both else np.nan,
            sk.average_precision_score(y, s, sample_weight=w) if both else np.nan,
            sk.roc_auc_score(y, s, sample_weight=w, max_fpr=0.3) if both else np.nan,
            sk.brier_score_loss(y, s, sample_weight=w, pos_label=1) if y.size else np.nan,
            sk.recall_score(y, c, sample_weight=w) if (y == 1).any() else np.nan,
            sk.recall_score(y, c, sample_weight=w, pos_label=0) if (y == 0).any() else np.nan,
            sk.precision_score(y, c, sample_weight=w) if c.any() else np.nan,
            sk.precision_score(y, c, sample_weight=w, pos_label=0) if (~c).any() else np.nan,
            sk.f1_score(y, c, sample_weight=w) if (y == 1).any() or c.any() else np.nan,
            sk.matthews_corrcoef(y, c, sample_weight=w) if both and len(set(c)) == 2 else np.nan,
        ]
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-9)


def test_the_weighted_variance_of_the_auroc_is_the_infinitesimal_jackknife_over_patients():
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(150), 4)
    weights = rng.uniform(0.2, 5, 150)[patients]
    shift = rng.normal(size=150)[patients]
    labels = (shift + rng.normal(size=600) > 0.5).astype(np.float64)
    scores = labels + shift + rng.normal(size=600)
    found = delong(labels, scores[None], patients, weights)
    assert found.aurocs[0] == pytest.approx(sk.roc_auc_score(labels, scores, sample_weight=weights), abs=1e-12)
    influence, step = np.zeros(150), 1e-5
    for k in range(150):
        up, down = (auroc(labels, scores, weights * (1 + sign * step * (patients == k))) for sign in (1, -1))
        influence[k] = (up - down) / (2 * step)
    assert found.covariance[0, 0] == pytest.approx(np.sum(influence**2), rel=0.02)


# statsmodels' covariances of clusters leave the weights out of some figures, not of these.
@pytest.mark.filterwarnings("ignore:cov_type not fully supported")
@pytest.mark.parametrize("seed", range(3))
def test_slope_and_intercept_and_their_errors_are_those_of_statsmodels(seed):
    rng = np.random.default_rng(seed)
    patients = np.repeat(np.arange(200), 4)
    weights = rng.integers(1, 9, 800).astype(np.float64)
    x = rng.normal(size=800) - 1 + rng.normal(size=200)[patients]
    labels = (rng.random(800) < scipy.special.expit(0.3 + 0.7 * x)).astype(np.float64)
    scores = scipy.special.expit(x)
    x, n = logit(scores), 200
    found = measure_calibration(labels, scores, patients, weights)
    options = {"family": sm.families.Binomial(), "var_weights": weights}
    cluster = {"cov_type": "cluster", "cov_kwds": {"groups": patients, "use_correction": False}}
    quantile = scipy.stats.t.ppf(0.975, n - 1) * np.sqrt(n / (n - 1))
    joint = sm.GLM(labels, sm.add_constant(x), **options).fit(tol=1e-14, **cluster)
    large = sm.GLM(labels, np.ones(800), offset=x, **options).fit(tol=1e-14, **cluster)
    for value, interval, theirs, column in (
        (found.slope, found.slope_interval, joint, 1),
        (found.intercept, found.intercept_interval, large, 0),
    ):
        assert value == pytest.approx(theirs.params[column], abs=1e-9)
        assert interval.high - value == pytest.approx(quantile * theirs.bse[column], abs=1e-9)
        assert value - interval.low == pytest.approx(quantile * theirs.bse[column], abs=1e-9)


@settings(max_examples=60)
@given(rows())
def test_whole_weights_are_repeated_rows(drawn):
    """For figures, not for intervals."""
    labels, scores, weights, _ = drawn
    times = (2 * weights).astype(int)
    again = [np.repeat(column, times) for column in (labels, scores)]
    for rule in RULES:
        assert choose_threshold(labels, scores, rule, weights) == choose_threshold(*again, rule)
    ours, theirs = decision_curve(labels, scores, AT, weights), decision_curve(*again, AT)
    assert (ours is None) == (theirs is None)
    if ours is not None:
        np.testing.assert_allclose(ours.model, theirs.model, atol=1e-12)
        np.testing.assert_allclose(ours.treat_all, theirs.treat_all, atol=1e-12)
        risks = (risk_coverage(labels, scores, weights), risk_coverage(*again))
        assert risks[0].risk[-1] == pytest.approx(risks[1].risk[-1], abs=1e-12)
        # Equally sure rows have the same part of the curve.
        for share, risk in zip(risks[0].coverage, risks[0].risk, strict=True):
            assert risk == pytest.approx(risks[1].risk[np.argmin(np.abs(risks[1].coverage - share))], abs=1e-9)
    ours, theirs = fit_temperature(labels, scores, weights), fit_temperature(*again)
    assert (ours is None) == (theirs is None)
    if ours is not None:
        assert ours.slope == pytest.approx(theirs.slope, rel=1e-6)


AT = np.array([0.15, 0.5])


@pytest.mark.parametrize("trials", TRIALS)
@pytest.mark.parametrize("n", [200, 1000])
def test_weighted_intervals_cover_a_population_that_was_sampled_unevenly(n, trials):
    """Patients with low scores are sampled four times as rarely; weights make up for it."""

    def made(seed):
        labels, scores, _ = Population(n=4 * n).draw(seed)
        chance = np.where(scores > 0.5, 0.4, 0.1)
        taken = np.random.default_rng(seed).random(labels.size) < chance
        labels, scores, weights = labels[taken], scores[taken], 1 / chance[taken]
        patients = np.arange(labels.size)
        called, positive = scores >= 0.5, labels == 1
        statistic = b.average_precision_statistic(labels, scores, patients, weights)
        drawn = b.bootstrap([statistic], n_patients=patients.size, replicates=2000, seed=0, jackknife=True)
        return {
            "auroc": auroc_interval(labels, scores, patients, weights),
            "sensitivity": rate_interval(called[positive], patients[positive], weights[positive]),
            "specificity": rate_interval(~called[~positive], patients[~positive], weights[~positive]),
            "average precision": bca(
                float(drawn.values[0]), drawn.replicates[:, 0], drawn.jackknife[:, 0], n_patients=patients.size
            ),
        }

    truth, held = Population(n=n).truth(), {}
    made(0)
    with unchecked():
        for seed in range(trials):
            for name, interval in made(seed).items():
                held.setdefault(name, []).append(interval.low <= truth[name] <= interval.high)
    found = {name: float(np.mean(each)) for name, each in held.items()}
    print(n, found)
    for name, share in found.items():
        assert held_as_promised(share, trials), name


def test_effective_number():
    assert effective_number(np.full(7, 3.0)) == pytest.approx(7)
    assert effective_number(np.array([1.0, 0.0, 0.0])) == 1
