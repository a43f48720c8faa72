import pathlib
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, t

from ichformer.statistics.delong import auroc_interval, delong, delong_test, separated_interval
from ichformer.statistics.metrics import auroc
from tests.statistics.strategies import rows

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
CQ500 = pathlib.Path("model_predictions") / "CQ500_combined_predictions.csv"


def ours(table):
    """What ``tests/golden/proc_delong.R`` prints, from our functions."""
    labels = table["label"].to_numpy(np.float64)
    names = list(table)[list(table).index("label") + 1 :]
    found = []
    for name in names:
        scores = table[name].to_numpy(np.float64)
        covariance, interval = delong(labels, scores[None]), auroc_interval(labels, scores, scale="plain")
        found.append(
            [name, "", covariance.aurocs[0], covariance.covariance[0, 0], interval.low, interval.high, None, None]
        )
    for first in names:
        for second in names:
            if first < second:
                test = delong_test(labels, *(table[name].to_numpy(np.float64) for name in (first, second)))
                found.append([first, second, None, None, test.interval.low, test.interval.high, test.z, test.p_value])
    return pd.DataFrame(found, columns=["first", "second", "auc", "variance", "low", "high", "z", "p"])


def assert_same(found, reference):
    both = found.merge(reference, on=["first", "second"], validate="one_to_one", suffixes=("", "_r"))
    assert len(both) == len(found) == len(reference)
    for name in ("auc", "variance", "low", "high", "z", "p"):
        np.testing.assert_allclose(
            both[name].astype(float),
            both[f"{name}_r"].astype(float),
            rtol=0,
            atol=1e-6 if name != "variance" else 1e-10,
        )


def reference(path):
    return pd.read_csv(
        path, keep_default_na=False, na_values={n: [""] for n in ("auc", "variance", "low", "high", "z", "p")}
    )


@pytest.mark.parametrize("name", ["ties", "tiny"])
def test_agrees_with_the_kept_values_of_proc_on_ties_and_tiny_tables(name):
    assert_same(ours(pd.read_csv(GOLDEN / f"delong_{name}.csv")), reference(GOLDEN / f"proc_{name}.csv"))


def test_agrees_with_the_kept_values_of_proc_on_real_predictions(real_data):
    assert_same(ours(pd.read_csv(real_data / CQ500)), reference(GOLDEN / "proc_cq500.csv"))


def test_agrees_with_proc_itself(real_data, tmp_path):
    rscript = shutil.which("Rscript")
    if rscript is None or subprocess.run([rscript, "-e", "library(pROC)"], capture_output=True).returncode:
        pytest.skip("R with pROC is not installed (Debian: r-cran-proc)")
    result = tmp_path / "proc.csv"
    for source in (real_data / CQ500, GOLDEN / "delong_ties.csv"):
        printed = subprocess.run(
            [rscript, GOLDEN / "proc_delong.R", source], capture_output=True, text=True, check=True
        )
        result.write_text(printed.stdout)
        assert_same(ours(pd.read_csv(source)), reference(result))


def obuchowski(labels, scores, patients):
    """Her formulas (1997) over all pairs, written out."""
    x, y = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    wins = (scores[x][:, None] > scores[y]) + (scores[x][:, None] == scores[y]) / 2
    area, total10, total01, total11 = wins.mean(), 0.0, 0.0, 0.0
    for patient in np.unique(patients):
        of_x, of_y = patients[x] == patient, patients[y] == patient
        v10 = np.sum(wins.mean(axis=1)[of_x] - area)
        v01 = np.sum(wins.mean(axis=0)[of_y] - area)
        total10, total01, total11 = total10 + v10**2, total01 + v01**2, total11 + v10 * v01
    i10, i01, i = (np.unique(patients[r]).size for r in (x, y, np.concatenate([x, y])))
    m, n = x.size, y.size
    return i10 / (i10 - 1) * total10 / m**2 + i01 / (i01 - 1) * total01 / n**2 + 2 * i / (i - 1) * total11 / (m * n)


@given(rows())
def test_clustered_variance_is_obuchowskis(drawn):
    labels, scores, _, patients = drawn
    found = delong(labels, scores[None], patients)
    if min(np.unique(patients[labels == label]).size for label in (0, 1)) < 2:
        assert found is None
        assert auroc_interval(labels, scores, patients) is None
        return
    assert found.aurocs[0] == pytest.approx(auroc(labels, scores), abs=1e-12)
    assert found.covariance[0, 0] == pytest.approx(obuchowski(labels, scores, patients), abs=1e-12)


@given(rows(min_size=4, unknown=False), st.integers(2, 4))
def test_repeating_the_rows_of_every_patient_adds_no_precision(drawn, times):
    labels, scores, _, _ = drawn
    patients = np.arange(labels.size)
    once = auroc_interval(labels, scores)
    repeated = auroc_interval(np.repeat(labels, times), np.repeat(scores, times), np.repeat(patients, times))
    if once is None:
        assert repeated is None
    else:
        assert (once.low, once.high) == pytest.approx((repeated.low, repeated.high), abs=1e-9)


@given(rows(min_size=4))
def test_intervals_hold_the_auroc_and_stay_inside_0_to_1(drawn):
    labels, scores, _, patients = drawn
    for scale in ("logit", "plain"):
        found = auroc_interval(labels, scores, patients, scale=scale)
        if found is not None:
            assert 0 <= found.low <= auroc(labels, scores) + 1e-12
            assert auroc(labels, scores) - 1e-12 <= found.high <= 1


def test_complete_separation_gives_an_interval_with_a_width():
    labels, scores = np.repeat([0.0, 1.0], [20, 10]), np.linspace(0, 1, 30)
    for scale in ("logit", "plain"):
        found = auroc_interval(labels, scores, scale=scale)
        assert found.high == 1
        # At the lower end the AUROC seen is exactly 1.96 standard errors away.
        area, size = found.low, 15
        spread = area * (1 - area) * (1 + (size - 1) * ((1 - area) / (2 - area) + area / (1 + area))) / (10 * 20)
        assert (1 - area) / np.sqrt(spread) == pytest.approx(1.959964, abs=1e-5)
    turned = auroc_interval(1 - labels, scores)
    assert (turned.low, turned.high) == pytest.approx((0, 1 - found.low))


@pytest.mark.parametrize("n_positive", [2, 3, 1000])
def test_separated_interval_narrows_with_the_number_of_patients(n_positive):
    assert separated_interval(1.0, n_positive, 50).low < separated_interval(1.0, n_positive + 1, 50).low


def test_one_class_is_not_estimable():
    scores = np.linspace(0, 1, 5)
    for labels in (np.zeros(5), np.ones(5), np.full(5, np.nan), np.array([0, 0, 0, 0, 1.0])):
        assert auroc_interval(labels, scores) is None
        assert delong_test(labels, scores, scores) is None


def test_scores_that_rank_alike_do_not_differ():
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, 40).astype(np.float64), rng.random(40)
    found = delong_test(labels, scores, scores**2)
    assert (found.value, found.z, found.p_value) == (0.0, None, 1.0)


def test_a_variance_of_0_gives_no_interval_of_width_0():
    labels = np.array([0, 1, 0, 1, 0, 1.0])
    assert auroc_interval(labels, np.full(6, 0.5)) is None
    # Each patient has the same rows, so that their deviations cancel.
    scores, patients = np.array([0.1, 0.2, 0.3, 0.4, 0.25, 0.2] * 2), np.repeat([0, 1], 6)
    assert auroc_interval(np.tile(labels, 2), scores, patients) is None
    # Both models separate the classes, and rank the rows within a class otherwise.
    found = delong_test(labels, labels + np.arange(6) / 10, labels - np.arange(6) / 10)
    assert (found.value, found.interval, found.p_value) == (0.0, None, 1.0)


def test_students_interval_of_a_difference_is_wider_by_the_ratio_of_the_quantiles():
    rng = np.random.default_rng(0)
    labels, patients = np.repeat([0.0, 1.0], [30, 6]), np.arange(36)
    scores = rng.normal(size=(2, 36)) + labels
    normal, student = (delong_test(labels, *scores, patients, tails=tails) for tails in ("normal", "student"))
    assert (student.z, student.p_value) == (normal.z, normal.p_value)
    widths = [found.interval.high - found.interval.low for found in (normal, student)]
    assert widths[1] / widths[0] == pytest.approx(t.ppf(0.975, 5) / norm.ppf(0.975), abs=1e-12)


def test_a_difference_without_variance_is_not_estimable():
    labels = np.repeat([0.0, 1.0], 5)
    assert delong_test(labels, labels, 1 - labels) is None
