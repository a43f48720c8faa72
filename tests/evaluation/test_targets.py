"""Figures of regression targets in a table of predictions."""

import numpy as np
import pandas as pd
import pytest

from ichformer.errors import InputError
from ichformer.evaluation.summary import format_summary, summarise
from ichformer.evaluation.tables.checked import check_table
from ichformer.evaluation.tables.files import read_predictions
from ichformer.evaluation.targets import format_targets, summarise_targets
from tests.evaluation.tables import write_predictions

LABELS = ("bleed",)


def table(n: int = 30, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    volume = rng.gamma(2.0, 15.0, n)
    bleed = (volume > 20).astype(float)
    return pd.DataFrame(
        {
            "patient": [f"p{i:02d}" for i in range(n)],
            **dict.fromkeys(("study", "series", "slice", "site", "split"), ""),
            "bleed": bleed,
            "score_bleed": np.clip(0.3 + 0.4 * bleed + rng.normal(0, 0.1, n), 0, 1),
            "volume_ml": volume,
            "pred_volume_ml": volume + rng.normal(2, 5, n),
        }
    )


def test_a_table_of_targets_is_written_and_read_back(tmp_path):
    rows = table()
    rows.loc[3, "volume_ml"] = np.nan
    found = read_predictions(write_predictions(rows, tmp_path / "a.csv", labels=LABELS), labels=LABELS)
    pd.testing.assert_frame_equal(found.rows, rows)
    rows["pred_volume_ml"] = rows["pred_volume_ml"].mask(rows.index == 2, np.inf)
    with pytest.raises(InputError, match="column pred_volume_ml: holds something else than finite numbers"):
        check_table(rows, labels=LABELS)


def test_figures_and_their_intervals():
    rows = table()
    (found,) = summarise_targets(check_table(rows, labels=LABELS), replicates=200, seed=0)
    errors = rows["pred_volume_ml"] - rows["volume_ml"]
    assert (found.level, found.target, found.n, found.n_patients) == ("scan", "volume_ml", 30, 30)
    assert found.mean_absolute_error.value == pytest.approx(errors.abs().mean())
    assert found.bias.value == pytest.approx(errors.mean())
    assert found.upper_limit.value == pytest.approx(errors.mean() + 1.96 * errors.std())
    interval = found.concordance.interval
    assert 0.8 < interval.low < found.concordance.value < interval.high < 1


def test_a_summary_shows_targets_beside_labels():
    summary = summarise(check_table(table(), labels=LABELS), replicates=50)
    said = format_summary(summary)
    assert "scan level: targets, absolute errors in the unit of each" in said
    assert "volume_ml" in said
    assert summary.to_json()["targets"][0]["bias"]["value"] == summary.targets[0].bias.value
    without = summarise(check_table(table().drop(columns="pred_volume_ml"), labels=LABELS), replicates=50)
    assert without.targets == ()
    assert format_targets(without.targets) == ""
    assert "targets" not in format_summary(without)


def test_targets_alone_are_enough():
    rows = table().drop(columns=["bleed", "score_bleed"])
    summary = summarise(check_table(rows, labels=()), replicates=50)
    assert summary.levels == ()
    assert summary.targets[0].n == 30
    assert "volume_ml" in format_summary(summary)
    with pytest.raises(InputError, match="name one or more"):
        check_table(rows.drop(columns="pred_volume_ml"), labels=())


def test_a_reason_stands_where_a_prediction_is_missing():
    rows = table().assign(not_scored="")
    rows.loc[0, "not_scored"], rows.loc[0, "pred_volume_ml"] = "No volume.", np.nan
    assert summarise(check_table(rows, labels=LABELS), replicates=50).targets[0].n == 29
