"""Tags that should be the same in all slices of a scan, and a slope that turns HU upside down."""

import numpy as np
import pytest

from ichformer.ct.io.dicom.reader import read_series
from ichformer.ct.io.dicom.series import find_series
from ichformer.ct.io.scans import read_volume
from ichformer.errors import InputError
from tests.ct.builders import even, head_hu, write_series, write_stack


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        ({}, None),
        (
            {"RescaleIntercept": -1000},
            "RescaleSlope and RescaleIntercept change within the stack: 1 and -1024, 1 and -1000",
        ),
        ({"RescaleSlope": 2}, "RescaleSlope and RescaleIntercept change within the stack: 1 and -1024, 2 and -1024"),
    ],
)
def test_one_slice_in_another_scale_is_noted(tmp_path, odd, said):
    hu = write_stack(tmp_path, even(10), each=lambda i: odd if i == 4 else {})
    volume = read_series(find_series(tmp_path).series[0])
    assert {note.code: note.text for note in volume.audit.notes}.get("rescale_varies") == said
    assert (volume.hu[3] == hu[3]).all()


@pytest.mark.parametrize(("odd_from", "is_noted"), [(10, False), (5, True)])
def test_a_frame_of_reference_that_changes_is_noted(tmp_path, odd_from, is_noted):
    write_stack(tmp_path, even(10), each=lambda i: {"FrameOfReferenceUID": "1.5" if i < odd_from else "1.6"})
    volume = read_volume(tmp_path)
    assert len(volume.hu) == 10
    assert ("frame_of_reference_varies" in {note.code for note in volume.audit.notes}) == is_noted


@pytest.mark.parametrize("intercept", [-1024, 0, 1024])
def test_a_negative_slope_is_refused_where_the_values_are_no_hu(tmp_path, intercept):
    write_series(tmp_path, head_hu().astype(np.int16) + 1024, RescaleSlope=-1, RescaleIntercept=intercept)
    with pytest.raises(InputError, match=r"RescaleSlope \(0028,1053\) is -1, which turns the values upside down"):
        read_volume(tmp_path)


def test_a_negative_slope_of_values_that_were_stored_upside_down_is_believed(tmp_path):
    hu = head_hu().astype(np.int16)
    write_series(tmp_path, -hu, RescaleSlope=-1, RescaleIntercept=0)
    np.testing.assert_array_equal(read_volume(tmp_path).hu, hu)
