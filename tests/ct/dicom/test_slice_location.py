"""SliceLocation beside ImagePositionPatient: where they order the slices differently, one of them is wrong."""

import pytest

from ichformer.ct.io.scans import read_volume
from tests.ct.builders import even, write_stack


def codes(folder, locations, heights_mm=None):
    heights_mm = heights_mm or even(len(locations))
    tags = [{} if location is None else {"SliceLocation": location} for location in locations]
    write_stack(folder, heights_mm, each=lambda i: tags[i])
    return {note.code for note in read_volume(folder).audit.notes}


def test_positions_in_another_order_than_the_locations_are_noted(tmp_path):
    assert "order_doubtful" in codes(tmp_path, [0.0, 45.0, 5.0, 10.0, 15.0])


@pytest.mark.parametrize(
    "locations",
    [
        [100.0, 105.0, 110.0, 115.0, 120.0],
        [20.0, 15.0, 10.0, 5.0, 0.0],
        [7.0] * 5,
        [None, 45.0, 5.0, None, 1.0],
        [0.0, 5.01, 5.0, 10.0, 15.0],
    ],
    ids=["shifted", "falling", "one", "some", "rounded"],
)
def test_what_contradicts_nothing_is_not_noted(tmp_path, locations):
    assert "order_doubtful" not in codes(tmp_path, locations)


def test_locations_without_a_sign_are_not_noted(tmp_path):
    heights_mm = [-10.0, -5.0, 0.0, 5.0, 10.0]
    assert "order_doubtful" not in codes(tmp_path, [10.0, 5.0, 0.0, 5.0, 10.0], heights_mm)
