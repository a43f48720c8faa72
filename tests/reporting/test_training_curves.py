"""The curves of a training: what is read of a folder, and a picture whatever was measured."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from ichformer.reporting.training_curves import CURVES_NAME, draw_curves, draw_range, read_metrics, write_curves

STEPS = [{"step": step, "loss": 1 / step, "learning_rate": 1e-3} for step in (1, 2, 3)]


def widths(png: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(png)).size


def test_a_folder_without_metrics_has_no_curves(tmp_path):
    assert not write_curves(tmp_path)
    (tmp_path / "metrics.jsonl").write_text("", encoding="utf-8")
    assert not write_curves(tmp_path)
    assert not (tmp_path / CURVES_NAME).exists()


def test_lines_that_are_broken_are_left_out_and_steps_are_in_their_order(tmp_path):
    lines = [json.dumps(STEPS[2]), "{broken", '"text"', '{"loss": 1.0}', '{"step": "x"}', json.dumps(STEPS[0])]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert read_metrics(tmp_path) == [STEPS[0], STEPS[2]]
    assert write_curves(tmp_path)
    assert widths((tmp_path / CURVES_NAME).read_bytes()) == widths(draw_curves(STEPS))


def test_a_probe_gets_a_panel_of_its_own():
    probed = [values | {"probe_ridge_any_auroc_100": 0.5 + values["step"] / 10} for values in STEPS]
    assert widths(draw_curves(probed))[0] == pytest.approx(1.5 * widths(draw_curves(STEPS))[0], rel=0.01)


def test_what_is_measured_changes_the_picture():
    validated = [values | {"val_loss": 0.5} for values in STEPS]
    assert draw_curves(validated) != draw_curves(STEPS)
    assert draw_curves(STEPS) == draw_curves(STEPS)


def test_a_range_is_drawn_with_and_without_a_suggestion():
    rates, losses = np.geomspace(1e-5, 1, 30), np.linspace(1, 0, 30)
    assert draw_range(rates, losses, losses, 1e-3) != draw_range(rates, losses, losses, None)
