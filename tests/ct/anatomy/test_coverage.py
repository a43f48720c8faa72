"""Heads that a scan shows in part, and heads of a size that no head has, are noted; whole heads are not."""

from dataclasses import replace

import numpy as np
import pytest

from ichformer.ct.anatomy.coverage import note_head
from ichformer.ct.io.pictures import PictureStack, order_pictures, read_pictures
from ichformer.ct.io.scans import find_scans, read_volume
from ichformer.ct.phantom.acquisition.sites import SITES
from ichformer.ct.phantom.make import make_phantom


@pytest.fixture(scope="module")
def head():
    return make_phantom(3, site=SITES["birch"], subtypes=("subdural",)).volume


def some(volume, slices):
    return replace(volume, hu=volume.hu[slices], source=volume.source[slices])


def noted(volume):
    return {note.code: note.text for note in note_head(volume).audit.notes if note.code.startswith("head_")}


def test_a_whole_head_gets_no_note(head):
    assert noted(head) == {}


@pytest.mark.parametrize("site", [name for name in SITES if name != "birch"][:5])
@pytest.mark.slow
def test_whole_heads_of_other_scanners_get_no_note(site):
    assert noted(make_phantom(5, site=SITES[site]).volume) == {}


def test_a_half_head_is_noted(head):
    half = len(head.hu) // 2
    assert "the lowest slice still shows" in noted(some(head, slice(half, None)))["head_cut_off"]
    assert "the highest slice still shows" in noted(some(head, slice(0, half)))["head_cut_off"]
    both = noted(some(head, slice(half - 3, half + 3)))
    assert "the lowest slice still shows" in both["head_cut_off"]
    assert "the highest slice still shows" in both["head_cut_off"]
    assert "head_size_doubtful" not in both  # how high a part is says nothing


def test_slices_out_of_order_are_noted(head):
    half = len(head.hu) // 2
    order = np.roll(np.arange(len(head.hu)), half)
    assert "slices are out of order" in noted(replace(head, hu=head.hu[order]))["head_cut_off"]


@pytest.mark.parametrize(
    ("times", "text"),
    [
        ((1, 0.4, 0.4), "mm, and the brain is"),
        ((1, 3, 3), "which no head does"),
        ((1, 1, 2.2), "which no head does"),
        ((3, 1, 1), "mm high"),
    ],
)
def test_a_head_of_an_impossible_size_is_noted(head, times, text):
    spacing_mm = tuple(mm * by for mm, by in zip(head.spacing_mm, times, strict=True))
    assert text in noted(replace(head, spacing_mm=spacing_mm))["head_size_doubtful"]


def test_what_shows_no_brain_gets_no_note(head):
    empty = replace(head, hu=np.full_like(head.hu, -1024))
    assert note_head(empty) is empty


@pytest.mark.slow
def test_real_heads(real_data):
    assert noted(read_volume(real_data / "dcm_qa_ct" / "GE")) == {}
    for series in find_scans(real_data / "dcm_qa_ct" / "Philips").series:
        assert noted(read_volume(series)) == {}  # of plastic, without a brain


@pytest.mark.slow
def test_real_pictures(real_data):
    """The numbers of patient 053 start with the vertex, so that the stack ends in the middle of the brain."""
    for patient, is_odd in (("059", False), ("061", False), ("053", True)):
        files = order_pictures(list((real_data / "ctich_dev" / "images").glob(f"{patient}_*.jpg")))
        volume = read_pictures(PictureStack(files=files), window_hu=(-20, 100))
        assert ("head_cut_off" in noted(volume)) == is_odd
        assert "head_size_doubtful" not in noted(volume)
