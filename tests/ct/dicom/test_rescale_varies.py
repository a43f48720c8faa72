"""A slice whose intercept is another one may be brighter than its neighbours, as blood is."""

import pytest

from ichformer.ct.io.dicom.reader import read_series
from ichformer.ct.io.dicom.series import find_series
from tests.ct.builders import even, write_stack


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
