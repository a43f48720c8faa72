"""Volumes, diameters and ABC/2 of ellipsoids, of which they are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ichformer.lesions.components import LEAST_ML, connected, without_specks
from ichformer.lesions.grid import Grid
from ichformer.lesions.shape import abc2_ml, axial_diameter_mm
from tests.lesions.heads import ellipsoid, volume


@settings(deadline=None)
@given(
    spacing_mm=st.tuples(st.floats(1, 1.5), st.floats(0.9, 1.3), st.floats(0.9, 1.3)),
    radii_mm=st.tuples(st.floats(16, 20), st.floats(10, 20), st.floats(10, 20)),
    turn_deg=st.floats(0, 180),
    flip=st.sampled_from([(), (1,), (2,), (1, 2), (0,)]),
)
def test_an_ellipsoid_has_its_volume_and_diameter_however_it_lies(spacing_mm, radii_mm, turn_deg, flip):
    shape = (int(44 / spacing_mm[0]) + 1, int(48 / spacing_mm[1]) + 1, int(48 / spacing_mm[2]) + 1)
    scan = volume(shape, spacing_mm)
    grid, mask = Grid.of(scan), ellipsoid(scan, radii_mm, turn_deg=turn_deg)
    mask = np.flip(mask, flip) if flip else mask
    true_ml = 4 / 3 * np.pi * np.prod(radii_mm) / 1000
    assert grid.ml(mask) == pytest.approx(true_ml, rel=0.06)
    assert axial_diameter_mm(mask, grid) == pytest.approx(2 * max(radii_mm[1:]), abs=1.5 * max(spacing_mm[1:]))
    # Of thin slices of a ball with the radius r, those up to r/2 from its middle count whole and those up to 0.866 r
    # half. So C is 1.366 r, where the height is 2 r and the volume would ask for 4/3 r x pi / 2. Whole slices and
    # pixels count: a slice more or less is up to 7 % of this C, half a pixel on either side up to 6 % of A and of B.
    assert abc2_ml(mask, grid) == pytest.approx(1.366 * 3 / (2 * np.pi) * true_ml, rel=0.2)


def test_slices_count_whole_half_or_not_in_abc2():
    """Kothari's rule on squares of 100, 75, 25 and 24 % of the largest area."""
    scan = volume((5, 12, 12), (5.0, 1.0, 1.0))
    mask = np.zeros(scan.hu.shape, bool)
    for picture, pixels in zip(mask, (24, 25, 75, 76, 100), strict=True):
        picture[1:11, 1:11] = np.arange(100).reshape(10, 10) < pixels
    diagonal = np.hypot(9, 10)  # from edge to edge
    assert abc2_ml(mask, Grid.of(scan)) == pytest.approx(diagonal**2 * (2 + 0.5 * 2) * 5 / 2 / 1000, rel=0.08)


def test_uneven_slices_hold_what_lies_nearest_to_them():
    scan = volume((4, 10, 10), (5.0, 1.0, 1.0), steps_mm=(2.0, 2.0, 6.0))
    grid = Grid.of(scan)
    np.testing.assert_allclose(grid.heights_mm, [2, 2, 4, 6])
    one = np.zeros(scan.hu.shape, bool)
    one[2] = True
    assert grid.ml(one) == pytest.approx(0.4)
    np.testing.assert_allclose(grid.points_mm(np.array([[3, 1, 2]])), [[2, 1, 10]])


def test_a_coarse_map_covers_the_picture_of_its_scan():
    scan = volume((3, 40, 60), (5.0, 0.5, 0.5))
    fine, coarse = Grid.of(scan), Grid.of(scan, (10, 15))
    assert coarse.ml(np.ones((3, 10, 15), bool)) == pytest.approx(fine.ml(np.ones((3, 40, 60), bool)))
    np.testing.assert_allclose(coarse.points_mm(np.array([[0, 0, 0]])), [[0.75, 0.75, 0]])


def test_corners_join_a_lesion_and_specks_are_left_out():
    scan = volume((4, 20, 20), (5.0, 1.0, 1.0))
    mask = np.zeros(scan.hu.shape, bool)
    mask[1, 2:8, 2:8] = True
    mask[2, 8:14, 8:14] = True
    mask[0, 18, 18] = True  # 0.005 ml
    assert connected(mask)[1] == 2
    kept = without_specks(mask, Grid.of(scan))
    assert connected(kept)[1] == 1
    assert not kept[0].any()
    assert Grid.of(scan).ml(kept) > LEAST_ML


@pytest.mark.full
def test_the_diameter_is_that_of_scikit_image():
    measure = pytest.importorskip("skimage.measure")
    scan = volume((1, 60, 60), (5.0, 0.9, 0.9))
    for turn_deg in (0, 20, 65):
        mask = ellipsoid(scan, (9, 22, 11), turn_deg=turn_deg)
        (found,) = measure.regionprops(mask[0].astype(np.uint8))
        # It measures the convex hull drawn as pixels, which is up to a pixel longer.
        assert axial_diameter_mm(mask, Grid.of(scan)) == pytest.approx(found.feret_diameter_max * 0.9, abs=0.9)
