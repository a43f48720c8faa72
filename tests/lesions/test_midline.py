"""The plane between the hemispheres and the shift of the midline, in heads of which both are known."""

import numpy as np
import pytest

from ichformer.lesions.grid import Grid
from ichformer.lesions.midline import find_midline
from ichformer.lesions.sides import side_of
from tests.lesions.heads import ellipsoid, volume

SHAPE, SPACING_MM = (20, 80, 62), (8.0, 2.6, 2.6)


def head(shift_mm: float, turn_deg: float = 0.0):
    """A skull with two frontal horns and a third ventricle, shifted towards the left; its volume and its inside."""
    scan = volume(SHAPE, SPACING_MM)
    inside = ellipsoid(scan, (74, 86, 66), turn_deg=turn_deg)
    middle = (np.array(SHAPE[::-1]) - 1) / 2 * np.array(SPACING_MM[::-1])
    c, s = np.cos(np.deg2rad(turn_deg)), np.sin(np.deg2rad(turn_deg))

    def fluid(left, back, up, radii_mm):
        left += shift_mm
        center = middle + np.array([c * left + s * back, c * back - s * left, up])
        return ellipsoid(scan, radii_mm, turn_deg=turn_deg, center_mm=tuple(center))

    rng = np.random.default_rng(0)
    hu = np.where(inside, 32, 900) + rng.normal(0, 3, SHAPE)
    for side in (-1, 1):
        hu[fluid(side * 9, -18, 6, (14, 16, 5))] = 6
    hu[fluid(0, 2, -4, (12, 11, 2.5))] = 6
    object.__setattr__(scan, "hu", np.rint(hu).astype(np.int16))
    return scan, inside


@pytest.mark.parametrize(("shift_mm", "turn_deg"), [(0.0, 0.0), (7.0, 9.0), (-13.0, -6.0)])
def test_the_shift_is_found_in_a_turned_head(shift_mm, turn_deg):
    found = find_midline(*head(shift_mm, turn_deg))
    assert found.plane is not None
    turned = np.rad2deg(np.arctan2(-found.plane.normal[1], found.plane.normal[0]))
    assert turned == pytest.approx(turn_deg, abs=1.0)
    assert found.shift.shift_mm == pytest.approx(shift_mm, abs=0.7)


def test_blood_changes_nothing_and_a_side_is_of_the_patient():
    scan, inside = head(4.0)
    blood = ellipsoid(scan, (18, 20, 14), center_mm=(54, 90, 76))
    scan.hu[blood] = 70
    found = find_midline(scan, inside)
    assert found.shift.shift_mm == pytest.approx(4.0, abs=0.7)
    assert str(found.shift).endswith("to the left")
    assert found.plane is not None
    grid = Grid.of(scan)
    flipped = np.flip(blood, 2)
    sides = [side_of(mask, grid, found.plane) for mask in (blood, flipped, blood | flipped)]
    assert sides == ["right", "left", "both"]
    assert side_of(ellipsoid(scan, (9, 9, 9)), grid, found.plane) == "midline"


def test_what_cannot_be_seen_is_not_measured():
    scan, inside = head(0.0)
    nothing = find_midline(scan, np.zeros_like(inside))
    assert (nothing.plane, nothing.shift.shift_mm) == (None, None)
    assert str(nothing.shift) == "not measured: too little of the skull is shown"
    plain = volume(SHAPE, SPACING_MM)
    plain.hu[:] = np.random.default_rng(1).normal(32, 4, SHAPE)
    found = find_midline(plain, inside)
    assert found.plane is not None
    assert "symmetric" in found.shift.reason
