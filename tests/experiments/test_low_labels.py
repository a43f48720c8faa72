"""The low-label curve in its smallest form, and the paired differences that it prints."""

import numpy as np
import pandas as pd
import pytest

from experiments import low_labels
from ichformer.statistics.metrics import auroc


def draw_of(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    return labels, scores, np.arange(len(labels)) // 2, auroc(labels, scores)


def test_a_difference_is_the_mean_over_draws_and_its_interval_is_over_patients():
    rng = np.random.default_rng(0)
    labels = np.repeat([0.0, 1.0], 60)
    good = [draw_of(labels + rng.normal(0, 0.7, labels.size), labels) for _ in range(2)]
    poor = [draw_of(labels + rng.normal(0, 3.0, labels.size), labels) for _ in range(2)]
    value, interval = low_labels.difference(list(zip(good, poor, strict=True)), 500)
    assert value == pytest.approx(np.mean([a[-1] - b[-1] for a, b in zip(good, poor, strict=True)]))
    assert 0 < interval.low < value < interval.high
    value, interval = low_labels.difference(list(zip(good, good, strict=True)), 500)
    assert (value, interval) == (0.0, None)


@pytest.mark.slow
def test_the_smallest_curve_is_printed_and_not_trained_again(tiny_store, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(low_labels, "own_process", lambda: None)
    words = [str(tiny_store), "--model", "slice_vit_nano", "--baseline", "cnn2d_nano", "--fractions", "0.5"]
    words += ["--draws", "1", "--steps", "2", "--pretrain-steps", "2", "--batch-size", "8", "--num-slices", "2"]
    words += ["--replicates", "50", "--work", str(tmp_path / "work"), "--out", str(tmp_path / "table.csv")]
    low_labels.main(words)
    first, table = capsys.readouterr().out, pd.read_csv(tmp_path / "table.csv")
    assert list(table["arm"]) == ["nothing", "pretrained", "cnn2d_nano"]
    assert table["patients"].nunique() == 1
    assert table[["slice", "scan"]].notna().all(axis=None)
    assert first.splitlines()[-1].startswith("ImageNet: none")
    rows = [line.split() for line in first.splitlines()[2:5]]
    assert [row[2] for row in rows] == list(table["arm"])
    for row, slices in zip(rows, table["slice"], strict=True):
        assert float(row[3]) == pytest.approx(slices, abs=5e-4)
    before = (tmp_path / "table.csv").read_bytes()
    monkeypatch.setattr(low_labels, "run_training", None)
    low_labels.main(words)
    assert (tmp_path / "table.csv").read_bytes() == before
    assert capsys.readouterr().out == first
