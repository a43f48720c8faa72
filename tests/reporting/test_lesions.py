"""Lesions in the report of a scan: the table, the numbers and the map that is shown."""

import json
from dataclasses import replace

import numpy as np

from ichformer import LABELS
from ichformer.lesions.frozen import FrozenLabel
from ichformer.lesions.grid import Grid
from ichformer.lesions.measures import measure_lesions
from ichformer.lesions.midline import MidlineShift
from ichformer.lesions.midplane import Midplane
from ichformer.lesions.volumes import VolumeClass
from ichformer.reporting.scan.lesions import LesionReport, lesion_card, lesion_values
from ichformer.reporting.scan.page import LABEL_NAMES, render_page
from ichformer.reporting.scan.reading import Reading
from tests.lesions.heads import volume
from tests.reporting.pages import shown_maps

SCAN = volume((6, 32, 32), (5.0, 1.0, 1.0))
MIDDLE = Midplane(point_mm=np.array([15.5, 15.5, 12.5]), normal=np.array([1.0, 0, 0]), misfit_mm=0.5)
CLASSES = (VolumeClass(up_to_ml=None, n=30, low_factor=0.5, high_factor=2.0),)


def report() -> LesionReport:
    """A subdural lesion of 0.64 ml on the left, and one of 0.32 ml on the right; no other label has one."""
    probabilities = np.zeros((6, 32, 32, 6), np.float32)
    subdural = LABELS.index("subdural")
    probabilities[1:3, 4:12, 24:32, subdural] = 0.9
    probabilities[4, 4:12, 0:8, subdural] = 0.7
    frozen = {
        label: FrozenLabel(label=label, threshold=0.5, dice=0.8, n=40, n_positive=20, volume_classes=CLASSES)
        for label in ("subdural", "any")
    }
    measures = measure_lesions(probabilities, LABELS, Grid.of(SCAN), frozen, MIDDLE)
    return LesionReport(
        labels=measures,
        shift=MidlineShift(shift_mm=-3.25),
        maps={"subdural": probabilities[..., subdural]},
        probabilities=probabilities,
        grid=Grid.of(SCAN),
    )


def test_the_numbers_are_those_of_the_map():
    values = lesion_values(report())
    assert values["ml"] == {"subdural": 0.96, "any": 0.0}
    assert values["lesions"]["midline_shift_mm"] == -3.25
    subdural = values["lesions"]["labels"]["subdural"]
    assert (subdural["low_ml"], subdural["high_ml"], subdural["side"]) == (0.43, 2.02, "both")
    first, second = subdural["lesions"]
    assert (first["ml"], first["side"], first["slices"], first["peak"]) == (0.64, "left", [2, 3], 0.9)
    assert (second["side"], second["slices"]) == ("right", [5, 5])
    json.dumps(values, allow_nan=False)
    assert lesion_values(None) == {}


def test_the_page_shows_the_table_and_the_lesion_map():
    none, subdural = lesion_card(report(), LABEL_NAMES)["labels"]
    assert (none["name"], none["ml"], none["rows"]) == ("Any haemorrhage", "0.0 ml (0.0 to 0.1)", [])
    assert (subdural["name"], subdural["ml"], subdural["side"]) == ("Subdural", "1.0 ml (0.4 to 2.0)", "both")
    assert [row[:3] for row in subdural["rows"]] == [["0.6", "left", "2 to 3"], ["0.3", "right", "5"]]
    reading = Reading(
        volume=SCAN,
        scan_scores=np.full(6, 0.5),
        slice_scores=np.full((6, 6), 0.5),
        slice_targets=np.zeros((6, 0)),
        heat_maps={"any": np.ones((6, 4, 4), np.float32), "subdural": np.ones((6, 4, 4), np.float32)},
        lesions=report(),
    )
    assert [shown.values.shape for shown in reading.maps["subdural"]] == [(6, 32, 32), (6, 4, 4)]
    page = render_page(reading)
    assert "Shift of the midline: 3.2 mm to the right." in page
    assert shown_maps(page) == [("any", False), ("subdural", True), ("subdural", False)]
    assert "<h2>Lesions</h2>" not in render_page(replace(reading, lesions=None))
