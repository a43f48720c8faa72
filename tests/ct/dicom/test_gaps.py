"""Missing slices, evaluated by what lies beside them."""

import numpy as np
import pytest

from ichformer.ct.io.dicom.slices import are_interleaved, describe_steps, is_one_protocol, stack_slices
from ichformer.ct.io.scans import read_volume
from ichformer.errors import InputError
from tests.ct.builders import even, write_stack

GE = [*even(14, 4.002), *even(14, 6.999, first_mm=13 * 4.002 + 1.081)]
GE_THICKNESS = [4.0] * 14 + [7.0] * 14


def missing_in(heights_mm, thickness_mm=None) -> list[int]:
    positions = np.zeros((len(heights_mm), 3))
    positions[:, 2] = heights_mm
    thickness = np.broadcast_to(np.nan if thickness_mm is None else np.array(thickness_mm, float), len(heights_mm))
    stack = stack_slices(positions, np.array([0.0, 0.0, 1.0]), thickness)
    assert stack is not None
    return list(stack.missing_in)


def without(values, *gone):
    return [value for i, value in enumerate(values) if i not in gone]


@pytest.mark.parametrize("gone", [(), (5,), (5, 9), (2,), (11, 12), (20,), (20, 21), (5, 20)])
def test_slices_that_are_missing_in_either_part_of_a_protocol_are_counted(gone):
    assert sum(missing_in(without(GE, *gone))) == len(gone)
    assert sum(missing_in(without(GE, *gone), without(GE_THICKNESS, *gone))) == len(gone)


@pytest.mark.parametrize(
    ("steps_mm", "thickness_mm", "expected"),
    [
        ([5, 5, 10], 5, [0, 0, 1]),
        ([5, 15, 5, 5], 5, [0, 2, 0, 0]),
        ([5, 5, 5, 5, 10, 10, 10, 10], 5, [0] * 8),  # a protocol: 10 mm through the cerebrum
        ([5, 5, 5, 5, 15, 10, 10, 10], 5, [0, 0, 0, 0, 2, 0, 0, 0]),
        ([5, 5, 5, 10, 10, 10, 5, 5, 5], 5, [0, 0, 0, 1, 1, 1, 0, 0, 0]),  # every second one is lost in the middle
        ([2.5, 2.5, 2.5, 5, 2.5, 2.5, 2.5], 5, [0, 0, 0, 1, 0, 0, 0]),  # overlapping slices
        ([4, 4, 4, 10, 7, 7, 7], [4, 4, 4, 4, 7, 7, 7, 7], [0, 0, 0, 1, 0, 0, 0]),  # bare between two parts
        ([4, 4, 4, 5.5, 7, 7, 7], [4, 4, 4, 4, 7, 7, 7, 7], [0] * 7),
        ([5, 5, 10], [5, 5, 10, 10], [0, 0, 0]),  # a thicker slice fills its gap
        ([5] * 8, [5, 5, 5, 0.5, 5, 5, 5, 5, 5], [0] * 8),  # one wrong thickness
        ([5, 5, 5, 10, 5, 5, 5], [5, 5, 5, 5, np.nan, 5, 5, 5], [0, 0, 0, 1, 0, 0, 0]),
        ([0.6, 0.6, 0.7, 0.6, 0.7, 0.6, 0.6], None, [0] * 7),  # 0.625 mm, rounded
    ],
)
def test_gaps_are_judged_by_the_steps_beside_them(steps_mm, thickness_mm, expected):
    assert missing_in(np.cumsum([0, *steps_mm]), thickness_mm) == expected


def test_a_gap_in_the_thin_part_is_refused_or_filled_where_it_is(tmp_path):
    heights = np.array(without(GE, 5, 9))
    thickness = without(GE_THICKNESS, 5, 9)
    hu = write_stack(tmp_path, list(heights), each=lambda i: {"SliceThickness": thickness[i]})
    volume = read_volume(tmp_path)
    assert (volume.hu.shape[0], volume.audit.missing_slices) == (26, 2)
    with pytest.raises(InputError, match="2 slices are missing"):
        read_volume(tmp_path, missing="refuse")
    filled = read_volume(tmp_path, missing="interpolate")
    assert filled.hu.shape[0] == 28
    np.testing.assert_allclose(np.cumsum([0, *filled.audit.steps_mm]), GE, atol=1e-3)
    np.testing.assert_allclose(filled.hu[5], (hu[4].astype(float) + hu[5]) / 2, atol=0.5)
    assert filled.source[5].startswith("interpolated:1/1:")
    # The spacing and the affine are those of the filled stack.
    assert filled.spacing_mm[0] == pytest.approx(4.002)
    np.testing.assert_allclose(filled.affine[:3, 0], [0, 0, 4.002], atol=1e-6)


def test_slices_that_are_thinner_than_their_distance_are_noted(tmp_path):
    write_stack(tmp_path, even(12, 10.0), SliceThickness=5)
    notes = {note.code: note.text for note in read_volume(tmp_path).audit.notes}
    assert notes["slices_sparse"] == "slices of 5 mm stand 10.000 mm apart"


def test_the_longest_step_is_always_named():
    steps = tuple(float(step) for step in [5, 6, 7, 8, 5, 6, 7, 8, 5, 35])
    assert describe_steps(steps).endswith("..., the longest 35.000 mm")


def test_two_stacks_in_each_other_are_seen():
    both = np.array([1.7, 3.3] * 8)
    assert are_interleaved(both, 5.0)
    assert are_interleaved(both, float("nan"))
    assert not are_interleaved(both, 2.5)  # neither of both would be whole: pairs of detector rows
    assert not are_interleaved(np.full(16, 2.5), 5.0)
    assert are_interleaved(np.array([0.1, 0.1, 0.1, 4.7] * 8), float("nan"))
    assert not is_one_protocol(both)
    assert is_one_protocol(np.array([4.0] * 13 + [1.081] + [7.0] * 13))
