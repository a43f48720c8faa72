"""Blocks of one series that differ in size, orientation or pixel spacing: each says that there is another."""

import pytest

from ichformer.ct.io.dicom.reader import read_series
from ichformer.ct.io.dicom.series import find_series
from tests.ct.builders import even, tilted, write_stack


@pytest.mark.parametrize(
    ("below", "above", "words"),
    [
        ({"orientation": tilted(15)}, {}, "orientation"),
        ({"PixelSpacing": [0.4, 0.4]}, {"PixelSpacing": [0.5, 0.5]}, "pixel spacing"),
        (
            {"orientation": tilted(15), "PixelSpacing": [0.4, 0.4]},
            {"PixelSpacing": [0.5, 0.5]},
            "orientation and pixel spacing",
        ),
    ],
)
def test_a_head_in_two_blocks(tmp_path, below, above, words):
    write_stack(tmp_path / "below", even(10), **below)
    write_stack(tmp_path / "above", even(20, first_mm=50.0), seed=1, **above)
    parts = find_series(tmp_path).series
    # By path, so that the upper block is the first.
    assert [len(part.headers) for part in parts] == [20, 10]
    assert [part.told_apart for part in parts] == [f"part 1 of 2, by {words}", f"part 2 of 2, by {words}"]
    assert "series_divided" in {note.code for note in read_series(parts[0]).audit.notes}


def test_two_blocks_of_which_one_holds_two_stacks(tmp_path):
    write_stack(tmp_path / "a", even(10), orientation=tilted(15))
    write_stack(tmp_path / "b", even(20, first_mm=50.0), seed=1, KVP=80)
    write_stack(tmp_path / "c", even(20, first_mm=50.0), seed=2, KVP=140)
    assert [part.told_apart for part in find_series(tmp_path).series] == [
        "part 1 of 2, by orientation",
        "part 2 of 2, by orientation; part 1 of 2, by KVP 80.0",
        "part 2 of 2, by orientation; part 2 of 2, by KVP 140.0",
    ]


def test_one_block_says_nothing(tmp_path):
    write_stack(tmp_path, even(10))
    (series,) = find_series(tmp_path).series
    assert series.told_apart == ""
