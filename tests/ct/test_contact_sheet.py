import numpy as np
import pytest

from ichformer.ct.contact_sheet import SUBTYPE_COLOURS, contact_sheet
from ichformer.ct.volume import Volume


@pytest.fixture
def volume() -> Volume:
    hu = np.full((6, 40, 50), -1024, np.int16)
    hu[:, 10:30, 15:35] = 40
    return Volume(
        hu=hu,
        spacing_mm=(5.0, 0.5, 0.5),
        affine=np.array([[0.0, 0, 0.5, -12], [0, 0.5, 0, -10], [5, 0, 0, 100], [0, 0, 0, 1]]),
        source=tuple("abcdef"),
    )


def test_every_slice_has_a_tile_of_the_right_shape_and_grey(volume):
    sheet = contact_sheet(volume, columns=3, tile_px=100)
    assert sheet.size == (3 * 102 - 2, 2 * 82 - 2)
    pixels = np.asarray(sheet)
    for row in range(2):
        for column in range(3):
            middle = pixels[row * 82 + 30, column * 102 + 50]
            np.testing.assert_allclose(middle, 128, atol=1)  # 40 HU, the middle of the brain window


def test_tiles_keep_the_proportions_of_the_patient(volume):
    tall = Volume(hu=volume.hu, spacing_mm=(5.0, 1.0, 0.5), affine=volume.affine * [1, 2, 1, 1], source=volume.source)
    assert contact_sheet(tall, columns=6, tile_px=100).size == (6 * 102 - 2, 160)


def test_there_are_never_more_columns_than_slices(volume):
    assert contact_sheet(volume, columns=40, tile_px=50).size[0] == 6 * 52 - 2


def test_masks_are_outlined_in_their_colour_and_named(volume):
    mask = np.zeros(volume.hu.shape, np.uint8)
    mask[2, 15:25, 20:30] = 5
    plain, marked = (np.asarray(contact_sheet(volume, mask=m, columns=3, tile_px=100)) for m in (None, mask))
    assert len(marked) > len(plain)  # a line with names below
    tile = marked[:80, 204:304]
    line = (tile == SUBTYPE_COLOURS["subdural"]).all(-1)
    rows, columns = np.nonzero(line)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (29, 50, 39, 60)
    assert not line[31:49, 41:59].any()  # what is inside stays to be seen
    others = marked[: len(plain)].copy()
    others[:80, 204:304] = plain[:80, 204:304]
    np.testing.assert_array_equal(others, plain)


def test_patient_right_is_marked_on_the_left(volume):
    volume.hu[:] = -1024
    pixels = np.asarray(contact_sheet(volume, columns=1, tile_px=200).convert("L"))[:160]
    left, right = pixels[70:90, :30] > 60, pixels[70:90, -30:] > 60
    # R has more ink than L, and a bow at its top right.
    assert left.sum() > right.sum() > 0
