"""The low-label curve: what it prints of predictions, what it does not train again, and its smallest form."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments import low_labels
from ichformer.statistics.metrics import auroc

ARMS = ["nothing", "pretrained", "cnn2d_nano"]


@pytest.fixture
def words(tiny_store: Path, tmp_path: Path, monkeypatch) -> list[str]:
    """The smallest curve: one share, one draw, two steps."""
    monkeypatch.setattr(low_labels, "own_process", lambda: None)
    words = [str(tiny_store), "--model", "slice_vit_nano", "--baseline", "cnn2d_nano", "--fractions", "0.5"]
    words += ["--draws", "1", "--steps", "2", "--pretrain-steps", "2", "--batch-size", "8", "--num-slices", "2"]
    return [*words, "--replicates", "50", "--work", str(tmp_path / "work"), "--out", str(tmp_path / "table.csv")]


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


def test_a_curve_that_was_stopped_goes_on(words, tmp_path, monkeypatch, capsys):
    """With predictions made up in place of trainings: the pretrained arm is right, the others know nothing."""
    trained = []

    def made_up(plan, options):
        trained.append(plan.arm)
        if trained == ARMS[:2]:
            raise KeyboardInterrupt
        number = np.arange(40)
        positive = (number % 2).astype(float)
        scores = positive if plan.arm == "pretrained" else number / 40
        table = pd.DataFrame({"patient": number, "series": number, "slice": "", "any": positive, "score_any": scores})
        file = low_labels.predictions(plan, options.work)
        file.parent.mkdir(parents=True, exist_ok=True)
        pd.concat([table, table.assign(slice="0")]).to_csv(file, index=False)
        return {"patients": 4, "scans": 4, "slice": 0.5, "scan": 0.5}

    monkeypatch.setattr(low_labels, "evaluated", made_up)
    with pytest.raises(KeyboardInterrupt):
        low_labels.main(words)
    low_labels.main(words)
    assert trained == ["nothing", "pretrained", "pretrained", "cnn2d_nano"]
    assert list(pd.read_csv(tmp_path / "table.csv")["arm"]) == ARMS
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:5]]
    assert [row[2] for row in rows] == ARMS
    assert rows[1][3:] == ["1.000", "1.000"]
    low, high = float(rows[0][5].strip("(")), float(rows[0][7].strip(")"))
    assert 0 < low < float(rows[0][4]) < high


@pytest.mark.full
def test_the_smallest_curve(words, tmp_path, capsys):
    low_labels.main(words)
    table = pd.read_csv(tmp_path / "table.csv")
    assert list(table["arm"]) == ARMS
    assert table["patients"].nunique() == 1
    assert table[["slice", "scan"]].notna().all(axis=None)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:5]]
    for row, slices in zip(rows, table["slice"], strict=True):
        assert float(row[3]) == pytest.approx(slices, abs=5e-4)
