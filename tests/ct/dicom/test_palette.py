"""Pictures whose values are numbers of colours, as perfusion maps and fused pictures have them."""

import pytest

from ichformer.ct.io.dicom.series import find_series
from tests.ct.builders import even, write_stack


@pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1", None, "PALETTE COLOR"])
def test_numbers_of_colours_are_no_hu(tmp_path, photometric):
    write_stack(tmp_path, even(3), PhotometricInterpretation=photometric)
    found = find_series(tmp_path)
    is_colour = photometric == "PALETTE COLOR"
    assert len(found.series) == (0 if is_colour else 1)
    assert [aside.code for aside in found.set_aside] == ["colour"] * (3 if is_colour else 0)
