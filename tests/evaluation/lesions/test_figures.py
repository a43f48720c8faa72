"""From masks and maps to the table of lesions, and from that table alone to every figure."""

import io

import numpy as np
import pandas as pd
import pytest

from ichformer.evaluation.lesions.fixing import fix_label, see_label
from ichformer.evaluation.lesions.rows import COLUMNS, lesion_rows, row_without_figures
from ichformer.evaluation.lesions.summary import RATES, summarise_lesions
from ichformer.evaluation.lesions.text import format_lesions, lesion_warnings
from ichformer.files.csv_fields import csv_bytes
from ichformer.lesions.frozen import FrozenLabel
from ichformer.lesions.grid import Grid
from ichformer.reporting.evaluation.lesion_plots import lesion_plots
from ichformer.reporting.evaluation.page_tables import lesion_tables
from tests.lesions.heads import volume

SCAN = volume((6, 32, 32), (5.0, 1.0, 1.0))
GRID = Grid.of(SCAN)
FROZEN = FrozenLabel(label="any", threshold=0.5, dice=0.8, n=40, n_positive=20)


def box(z, y, x, *, slices=2, side=8):
    """A lesion of 2 x 8 x 8 voxels, 0.64 ml."""
    mask = np.zeros(SCAN.hu.shape, bool)
    mask[z : z + slices, y : y + side, x : x + side] = True
    return mask


def patient(number: int):
    """The mask and the map of a scan: found, missed and doubled lesions, a false alarm, and nothing at all."""
    found, missed = box(1, 4, 4), box(3, 20, 20, side=4)
    truth, probability = np.zeros(SCAN.hu.shape, bool), np.full(SCAN.hu.shape, 0.05, np.float32)
    if number % 4 < 2:
        truth |= found
        probability[box(1, 4, 6)] = 0.9  # 6 of 8 columns are right
    if number % 4 == 1:
        truth |= missed
    if number % 4 == 2:
        probability[box(2, 20, 4)] = 0.6 + 0.01 * number
    return truth, probability


def table(patients: int = 24) -> pd.DataFrame:
    rows = []
    for number in range(patients):
        ids = {"patient": f"p{number}", "study": "", "series": f"s{number}", "site": "", "split": "test"}
        rows += lesion_rows(ids, *patient(number), GRID, FROZEN)
    rows.append(row_without_figures({**ids, "patient": "q", "series": "q"}, "any", "the scan has no mask"))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def test_every_figure_is_what_the_masks_say():
    (found,) = summarise_lesions(table(), replicates=200)
    assert (found.n, found.n_with_lesion, found.n_missed, found.n_false_alarms, found.n_lesions) == (24, 12, 0, 6, 18)
    # Alone 0.75; beside a missed lesion of 0.16 ml, 2 x 0.48 / (0.8 + 0.64).
    assert found.dice.value == pytest.approx((0.75 + 2 * 0.48 / 1.44) / 2)
    assert found.lesion_dice.value == pytest.approx((12 * 0.75 + 6 * 0) / 18)
    assert (found.n_volumes, found.bias_ml.value) == (18, pytest.approx((0 * 6 - 0.16 * 6 + 0.64 * 6) / 18))
    assert found.sensitivity.value == pytest.approx(12 / 18)
    assert [(one.n, one.n_found) for one in found.by_volume] == [(6, 0), (12, 12), (0, 0), (0, 0)]
    assert found.by_volume[2].sensitivity.value is None
    assert found.false_positives.value == pytest.approx(6 / 24)
    assert [one.value for one in found.froc] == pytest.approx([12 / 18] * len(RATES))
    # The highest probability begins two columns to the right, inside the true lesion.
    assert (found.pointed_scans.value, found.pointed_slices.value) == (1, 1)
    interval = found.dice.interval
    assert interval is not None
    assert interval.low < found.dice.value < interval.high


def test_the_table_as_it_is_written_gives_the_same_figures():
    rows = table()
    written = csv_bytes({name: rows[name].tolist() for name in COLUMNS})
    again = pd.read_csv(io.BytesIO(written)).fillna({"not_scored": ""})
    assert summarise_lesions(again, replicates=50) == summarise_lesions(rows, replicates=50)
    assert list(lesion_warnings(again)) == ["Lesion map, any: 1 scans have no figures: the scan has no mask."]


def test_figures_are_shown_in_text_tables_and_plots():
    rows = table()
    found = summarise_lesions(rows, replicates=50)
    text = format_lesions(found)
    assert "0.4 to 1 ml" in text
    assert "12/12" in text
    assert [one.caption for one in lesion_tables(found)][-1] == "Sensitivity by false positives"
    assert [plot.title for plot in lesion_plots(rows, found)] == ["Volumes (Bland-Altman)", "FROC"]
    assert format_lesions(()) == ""
    assert lesion_tables(()) == []


def test_the_threshold_has_the_best_dice_and_false_alarms_count():
    scans = [(f"p{i}", *patient(i)) for i in range(24)]
    seen = [see_label(name, truth, probability, GRID) for name, truth, probability in scans]
    frozen = fix_label("any", seen)
    assert frozen is not None
    # Above 0.85 all false alarms are gone, and the lesions are still there.
    assert (frozen.threshold, frozen.n, frozen.n_positive) == (0.85, 24, 12)
    assert frozen.dice == pytest.approx((12 + 6 * 0.75 + 6 * 2 * 0.48 / 1.44) / 24)
    assert fix_label("any", seen[2:4]) is None
