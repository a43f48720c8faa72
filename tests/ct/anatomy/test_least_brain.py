"""What is too small for a brain is none: heads whose distances are wrong, and slices of a neck."""

import numpy as np
import pytest

from ichformer.ct.anatomy.brain import brain_mask
from ichformer.ct.audit import Audit
from ichformer.ct.volume import Volume
from tests.ct.builders import head_hu


def head(pixel_mm, slice_mm=5.0):
    """A head whose brain is 41 pixels wide."""
    hu = head_hu(slices=12)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0, 0, pixel_mm], [0, pixel_mm, 0], [slice_mm, 0, 0]])
    return Volume(
        hu=hu,
        spacing_mm=(slice_mm, pixel_mm, pixel_mm),
        affine=affine,
        source=tuple(map(str, range(len(hu)))),
        audit=Audit(),
    )


@pytest.mark.parametrize(("pixel_mm", "is_brain"), [(4.0, True), (2.0, True), (0.9, False), (0.4, False)])
def test_the_largest_section_decides(pixel_mm, is_brain):
    assert brain_mask(head(pixel_mm)).any() == is_brain
