"""Values that are no HU: refused where they contradict the scale grossly, noted where they are unusual."""

import nibabel as nib
import numpy as np
import pytest

from ichformer.ct.io.scans import read_volume
from ichformer.ct.plausibility import check_values
from ichformer.errors import InputError
from tests.ct.builders import head_hu, ramp, write_series


def checked(hu, n_below=0) -> dict[str, str]:
    return {
        note.code: note.text for note in check_values(hu.astype(np.int16), n_below=n_below, where="scan", fix="fix")
    }


def grey(low_hu, high_hu, white=255):
    return np.rint((head_hu().clip(low_hu, high_hu) - low_hu) * (white / (high_hu - low_hu)))


def test_a_head_in_hu_has_no_notes():
    assert checked(head_hu()) == {}


@pytest.mark.parametrize(
    ("blank", "value", "numbers"),
    [((2, 3), -1024, "3, 4"), ((1, 2, 4), 0, "2, 3, 5"), ((0, 3), -1024, "4"), ((0, 1, 5), -1024, None), ((), 0, None)],
)
def test_slices_of_one_value_between_others_are_noted(blank, value, numbers):
    hu = head_hu()
    hu[list(blank)] = value
    said = checked(hu).get("blank_slices")
    assert said == (
        numbers and f"slices {numbers} of 6, counted from the feet, hold one value only: nothing is seen there"
    )


@pytest.mark.parametrize("real", ["GE", "Philips/S21570/S2010", "Philips/S21610/S3010"])
def test_real_heads_and_a_plastic_one_have_no_notes_about_values(real_data, real):
    codes = {note.code for note in read_volume(real_data / "dcm_qa_ct" / real).audit.notes}
    assert not codes & {"range_suspicious", "steps_coarse", "sign_repaired", "high_bit_unusual"}


@pytest.mark.parametrize(
    ("hu", "words"),
    [
        (grey(0, 80), "from 0 to 255 with many at both ends"),
        (grey(-100, 300), "from 0 to 255 with many at both ends"),
        (grey(0, 80, white=1023), "from 0 to 1023 with many at both ends"),
        (head_hu().astype(int) + 1024, r"air lies at \d+ and its soft tissue near 10\d\d"),
        (head_hu().clip(-1000).astype(int) + 1000, r"air lies at \d+ and its soft tissue near 10\d\d"),
        (head_hu().astype(int) + 2048, r"air lies at 10\d\d and its soft tissue near 20\d\d"),
        (np.where(head_hu() > -500, head_hu(), 30000), "lie above 3000 HU, denser than any bone"),
        (head_hu().astype(int) & 0xFFF, "lie above 3000 HU, denser than any bone"),
        (3071 - (head_hu().astype(int) + 1024), "lie above 3000 HU, denser than any bone"),
        ((head_hu().astype(np.int16) + 1024).byteswap().clip(0).astype(int) - 1024, "lie above 3000 HU"),
    ],
)
def test_gross_contradictions_are_refused(hu, words):
    with pytest.raises(InputError, match=words):
        checked(hu)


@pytest.mark.parametrize(
    ("hu", "words"),
    [
        (np.where((head_hu() > -10) & (head_hu() < 90), head_hu(), 0), "no air and no bone"),  # a stripped brain
        (head_hu()[:, 16:48, 16:48], "no air"),  # a narrow field of view
        (head_hu().clip(0, 80), "no air and no bone"),  # HU cut to a window
        (head_hu().clip(-1024, 200), "no bone"),
        (grey(0, 80) - 1024, "no bone"),  # grey values with the intercept of HU
        (head_hu() // 2 - 512, "no bone"),  # a slope of a half
        (head_hu().astype(int) + 300, "commonest tissue lies near 3"),
        (np.full((3, 64, 64), 40), "no air and no bone"),
        (np.where(head_hu() > 600, 800, -1000), "no soft tissue|commonest tissue"),
    ],
)
def test_what_is_unusual_is_noted(hu, words):
    noted = checked(hu)
    assert np.any([word in noted["range_suspicious"] for word in words.split("|")])


def test_slices_that_lost_their_intercept_among_others_that_did_not():
    hu = head_hu().astype(int)
    hu[1::2] += 1024
    with pytest.raises(InputError, match="soft tissue near 10"):
        checked(hu)
    hu = head_hu()
    hu[2] = 40
    assert "1 of 6 slices hold no air" in checked(hu)["range_suspicious"]


def test_air_that_lies_below_air_is_noted(tmp_path):
    """An intercept that was applied twice: air at -2000 is set to -1024 and no longer seen."""
    assert "60% of its voxels were below" in checked(head_hu(), n_below=int(0.6 * head_hu().size))["range_suspicious"]
    write_series(tmp_path, head_hu(), RescaleIntercept=-1024)
    assert "range_suspicious" in {note.code for note in read_volume(tmp_path).audit.notes}


def test_coarse_steps_are_seen_in_the_values():
    assert "steps of 8" in checked(head_hu() // 8 * 8)["steps_coarse"]
    assert "steps_coarse" not in checked(np.where(head_hu() > 0, 40, -1000))  # two values say nothing of steps


def test_metal_is_no_contradiction():
    hu = head_hu()
    hu[2:4, 30:36, 30:36] = 30000
    assert checked(hu) == {}


def test_small_pictures_are_not_judged_by_parts():
    assert checked(ramp() - 1024) == {}
    assert checked(np.where(head_hu(1, 16) > -500, head_hu(1, 16), 30000)).keys() == {"range_suspicious"}


@pytest.mark.parametrize("kind", ["dicom", "nifti"])
def test_one_check_for_every_format(tmp_path, kind):
    def write(name, hu):
        if kind == "dicom":
            write_series(tmp_path / name, hu.astype(np.int16), RescaleIntercept=0)
        else:
            (tmp_path / name).mkdir()
            nib.save(nib.Nifti1Image(hu.astype(np.int16).T, np.diag([0.5, 0.5, 5, 1])), tmp_path / name / "a.nii")
        return tmp_path / name

    with pytest.raises(InputError, match="soft tissue near 10"):
        read_volume(write("lifted", head_hu().astype(int) + 1024))
    with pytest.raises(InputError, match="a picture of a window"):
        read_volume(write("window", grey(0, 80)))
    codes = {note.code for note in read_volume(write("stripped", head_hu().clip(0, 80))).audit.notes}
    assert "range_suspicious" in codes
    assert "range_suspicious" not in {note.code for note in read_volume(write("head", head_hu())).audit.notes}


def test_eight_bits_of_a_burnt_in_window_are_refused(tmp_path):
    tags = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0, "RescaleIntercept": 0}
    write_series(tmp_path, grey(0, 80).astype(np.uint8), **tags)
    with pytest.raises(InputError, match="a picture of a window, not HU"):
        read_volume(tmp_path)
