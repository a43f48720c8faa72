"""Bleeds of two scans that lie over each other, on masks alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from ichformer.ct.geometry.rigid import Motion
from ichformer.lesions.follow_up.bleeds import bleeds_of
from ichformer.lesions.follow_up.followed import follow_bleeds
from ichformer.lesions.follow_up.matching import match_bleeds
from ichformer.lesions.frozen import FrozenLabel
from ichformer.lesions.grid import Grid
from ichformer.lesions.volumes import VolumeClass
from tests.lesions.heads import ellipsoid, volume

SCAN = volume((12, 40, 40), (5.0, 1.0, 1.0))
LABELS = ("intraparenchymal", "subdural", "any")
CLASSES = (VolumeClass(up_to_ml=None, n=30, low_factor=0.9, high_factor=1.1),)
STAYS = Motion(matrix=np.eye(4))
KINDS = {"same": "same", "new": "gone", "gone": "new", "merged": "split", "split": "merged", "rearranged": "rearranged"}

PLACE = st.tuples(*[st.integers(0, 60)] * 3).map(lambda at: np.array(at, np.float64))
CLOUD = st.tuples(PLACE, st.integers(1, 4)).map(lambda one: one[0] + np.indices([one[1]] * 3).reshape(3, -1).T * 2.0)
CLOUDS = st.lists(CLOUD, max_size=5)


def ball(center_mm, radius_mm: float) -> np.ndarray:
    return ellipsoid(SCAN, (radius_mm,) * 3, center_mm=center_mm)


def found(*masks: np.ndarray, label: str = "subdural", scan=SCAN):
    """The bleeds of a map that shows these masks as one subtype."""
    probabilities = np.zeros((*scan.hu.shape, len(LABELS)), np.float32)
    for mask in masks:
        probabilities[mask, LABELS.index(label)] = probabilities[mask, -1] = 0.9
    frozen = {
        name: FrozenLabel(label=name, threshold=0.5, dice=0.8, n=40, n_positive=20, volume_classes=CLASSES)
        for name in LABELS
    }
    return bleeds_of(probabilities, LABELS, frozen, scan, None)


def moved(scan, motion: Motion):
    return volume_of(scan, motion.matrix @ scan.affine)


def volume_of(scan, affine: np.ndarray):
    return type(scan)(hu=scan.hu, spacing_mm=scan.spacing_mm, affine=affine, source=scan.source)


@given(CLOUDS, CLOUDS)
def test_with_the_scans_exchanged_new_is_gone_and_merged_is_split(earlier, later):
    there, back = match_bleeds(earlier, later), match_bleeds(later, earlier)
    assert {(one.earlier, one.later, one.kind) for one in there} == {
        (one.later, one.earlier, KINDS[one.kind]) for one in back
    }
    assert sorted(place for one in there for place in one.earlier) == list(range(len(earlier)))
    assert sorted(place for one in there for place in one.later) == list(range(len(later)))


def test_bleeds_that_grow_appear_vanish_and_change_their_subtype():
    grows, gone, new = (10.0, 10.0, 25.0), (30.0, 30.0, 10.0), (30.0, 8.0, 40.0)
    earlier = found(ball(grows, 6.0), ball(gone, 4.0))
    later = found(ball(grows, 9.0), ball(new, 5.0), label="intraparenchymal")
    followed = follow_bleeds(earlier, later, STAYS)
    assert [(one.number, one.fate) for one in followed] == [(1, "same"), (2, "new"), (3, "gone")]
    grid = Grid.of(SCAN)
    grown = followed[0]
    assert grown.growth.ml == pytest.approx(grid.ml(ball(grows, 9.0)) - grid.ml(ball(grows, 6.0)))
    assert (grown.growth.change, grown.growth.exceeds_definition) == ("grown", True)
    assert (grown.earlier[0].subtypes, grown.later[0].subtypes) == (("subdural",), ("intraparenchymal",))
    assert [one.peak_elsewhere for one in followed] == [None, 0.0, 0.0]
    back = follow_bleeds(later, earlier, STAYS)
    assert [(one.fate, one.growth.ml) for one in back] == [
        (KINDS[one.fate], pytest.approx(-one.growth.ml)) for one in followed
    ]


def test_a_bleed_is_found_again_in_a_head_that_moved():
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("xyz", (20, -10, 15), degrees=True).as_matrix()
    turn[:3, 3] = 30, -200, 700
    motion = Motion(matrix=turn)
    mask = ball((10.0, 10.0, 25.0), 6.0)
    earlier, later = found(mask), found(mask, scan=moved(SCAN, motion))
    (one,) = follow_bleeds(earlier, later, motion)
    assert (one.fate, one.growth.change) == ("same", "within_interval")
    assert one.growth.ml == pytest.approx(0.0, abs=1e-9)
    assert [each.fate for each in follow_bleeds(earlier, later, STAYS)] == ["not_shown", "not_shown"]


def test_merged_and_split_bleeds_keep_their_volume():
    ends = [ball((20.0, 12.0, 25.0), 5.0), ball((20.0, 28.0, 25.0), 5.0)]
    bridge = ellipsoid(SCAN, (3.0, 14.0, 3.0), center_mm=(20.0, 20.0, 25.0))
    (merged,) = follow_bleeds(found(*ends), found(*ends, bridge), STAYS)
    assert (merged.fate, len(merged.earlier), len(merged.later)) == ("merged", 2, 1)
    assert merged.earlier_ml == pytest.approx(Grid.of(SCAN).ml(ends[0] | ends[1]))
    (split,) = follow_bleeds(found(*ends, bridge), found(*ends), STAYS)
    assert split.fate == "split"


def test_large_bleeds_side_by_side_are_two():
    """They touch along an edge; a small bleed beside the place of a large one is the same."""
    wide, narrow = ellipsoid(SCAN, (12.0, 6.0, 15.0), center_mm=(20, 11, 25)), ball((20.0, 20.0, 25.0), 4.0)
    beside = ellipsoid(SCAN, (12.0, 6.0, 15.0), center_mm=(20, 24, 25))
    assert [one.fate for one in follow_bleeds(found(wide), found(beside), STAYS)] == ["gone", "new"]
    assert [one.fate for one in follow_bleeds(found(wide), found(narrow), STAYS)] == ["same"]


def test_a_place_that_the_other_scan_does_not_show_is_neither_new_nor_gone():
    lower = volume((6, 40, 40), (5.0, 1.0, 1.0))
    high = ball((20.0, 20.0, 50.0), 6.0)
    (one,) = follow_bleeds(found(high), found(scan=lower), STAYS)
    assert (one.fate, one.peak_elsewhere) == ("not_shown", None)


def test_a_bleed_below_the_threshold_is_gone_with_its_probability():
    place = ball((10.0, 10.0, 25.0), 6.0)
    later = found()
    later.probability[place] = 0.4
    (one,) = follow_bleeds(found(place), later, STAYS)
    assert (one.fate, one.peak_elsewhere) == ("gone", pytest.approx(0.4))
