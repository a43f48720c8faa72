"""Enhanced CT: one file of many frames."""

import numpy as np
import pydicom
import pytest

from ichformer.ct.inspect import inspect_found
from ichformer.ct.io.dicom.series import find_series
from ichformer.ct.io.scans import find_scans, read_volume
from ichformer.ct.selection import choices
from ichformer.errors import InputError
from tests.ct.builders import ramp
from tests.ct.enhanced import ENHANCED, LEGACY, PLANE, at, write_enhanced


@pytest.mark.parametrize("sop", [ENHANCED, LEGACY])
@pytest.mark.parametrize("is_shared", [True, False])
def test_frames_are_slices_wherever_their_geometry_stands(tmp_path, sop, is_shared):
    stored = ramp(5)
    order = [3, 0, 4, 2, 1]
    own = [at(5.0 * i) | ({} if is_shared else PLANE) for i in order]
    write_enhanced(tmp_path / "e.dcm", stored[order], own, PLANE if is_shared else None, sop)
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.hu, stored - 1024)
    assert volume.spacing_mm == (5, 0.5, 0.4)
    assert (volume.audit.thickness_mm, volume.audit.kernel) == (5, "H31s")
    assert [note.code for note in volume.audit.notes] == ["pixels_not_square"]
    assert volume.source == ("1.2.3.1#2", "1.2.3.1#5", "1.2.3.1#4", "1.2.3.1#1", "1.2.3.1#3")
    assert inspect_found(find_scans(tmp_path))["series"][0]["n_slices"] == 5


def test_a_frame_has_its_own_rescaling(tmp_path):
    macros = [
        at(5.0 * i, PixelValueTransformationSequence={"RescaleSlope": 1 + i, "RescaleIntercept": -i}) for i in range(4)
    ]
    stored = np.arange(4 * 4 * 4, dtype=np.int16).reshape(4, 4, 4)
    write_enhanced(tmp_path / "e.dcm", stored, macros, PLANE)
    np.testing.assert_array_equal(read_volume(tmp_path).hu, [(1 + i) * stored[i] - i for i in range(4)])


@pytest.mark.parametrize("syntax", [pydicom.uid.RLELossless, pydicom.uid.JPEG2000Lossless])
def test_compressed_frames(tmp_path, syntax):
    stored = ramp(3, 32, 32)
    made = write_enhanced(tmp_path / "e.dcm", stored, [at(5.0 * i) for i in range(3)], PLANE)
    made.compress(syntax, generate_instance_uid=False)
    pydicom.dcmwrite(tmp_path / "e.dcm", made)
    np.testing.assert_array_equal(read_volume(tmp_path).hu, stored - 1024)


def test_frames_of_eight_bits_big_endian_and_deflated(tmp_path):
    small = np.arange(3 * 4 * 4, dtype=np.uint8).reshape(3, 4, 4)
    own = [at(5.0 * i) for i in range(3)]
    write_enhanced(tmp_path / "8" / "e.dcm", small, own, PLANE, BitsAllocated=8, BitsStored=8, HighBit=7)
    np.testing.assert_array_equal(read_volume(tmp_path / "8").hu, small.astype(int) - 1024)
    stored = ramp(3)
    made = write_enhanced(tmp_path / "deflated" / "e.dcm", stored, own, PLANE)
    made.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    pydicom.dcmwrite(tmp_path / "deflated" / "e.dcm", made, enforce_file_format=True)
    np.testing.assert_array_equal(read_volume(tmp_path / "deflated").hu, stored - 1024)


def test_times_in_frames_make_a_dynamic_series(tmp_path):
    stored = ramp(30, 4, 4)
    own = [at(5.0 * (i % 10), FrameContentSequence={"TemporalPositionIndex": i // 10 + 1}) for i in range(30)]
    write_enhanced(tmp_path / "e.dcm", stored, own, PLANE)
    found = find_series(tmp_path)
    assert [series.time_points for series in found.series] == [3, 3, 3]
    assert {said.split(":")[0] for said in choices(found).values()} == {"dynamic"}
    for t, series in enumerate(found.series):
        np.testing.assert_array_equal(read_volume(series).hu, stored[10 * t : 10 * t + 10] - 1024)


@pytest.mark.parametrize(
    ("macros", "code"),
    [
        (
            {"PixelValueTransformationSequence": {"RescaleSlope": 1, "RescaleIntercept": 0, "RescaleType": "Z_EFF"}},
            "not_hu",
        ),
        ({"CTImageFrameTypeSequence": {"FrameType": ["DERIVED", "PRIMARY", "PERFUSION", "CBF"]}}, "not_hu"),
        ({"CTImageFrameTypeSequence": {"FrameType": ["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]}}, "localizer"),
    ],
)
def test_frames_that_are_no_head_ct_are_set_aside(tmp_path, macros, code):
    stored = ramp(4)
    write_enhanced(tmp_path / "e.dcm", stored, [at(5.0 * i) for i in range(4)], PLANE | macros)
    found = find_series(tmp_path)
    assert not found.series
    assert [(aside.code, aside.text[:8]) for aside in found.set_aside] == [(code, "4 frames")]


def test_one_frame_that_is_a_localizer_is_left_out(tmp_path):
    own = [at(5.0 * i) for i in range(5)]
    own[4]["CTImageFrameTypeSequence"] = {"FrameType": ["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]}
    write_enhanced(tmp_path / "e.dcm", ramp(5), own, PLANE)
    found = find_series(tmp_path)
    np.testing.assert_array_equal(read_volume(found).hu, ramp(5)[:4] - 1024)
    assert found.set_aside[0].text.startswith("1 frames: ImageType")


def test_what_is_broken_is_named(tmp_path):
    write_enhanced(tmp_path / "count" / "e.dcm", ramp(4), [at(5.0 * i) for i in range(3)], PLANE)
    (aside,) = find_series(tmp_path / "count").set_aside
    assert aside.code == "unreadable"
    assert "NumberOfFrames is 4, but PerFrameFunctionalGroupsSequence has 3 items" in aside.text
    write_enhanced(tmp_path / "nowhere" / "e.dcm", ramp(4), [{}] * 4, PLANE)
    with pytest.raises(InputError, match="4 of 4 slices lack a valid ImagePositionPatient"):
        read_volume(tmp_path / "nowhere")
    made = write_enhanced(tmp_path / "short" / "e.dcm", ramp(4), [at(5.0 * i) for i in range(4)], PLANE)
    made.PixelData = made.PixelData[:-200]
    pydicom.dcmwrite(tmp_path / "short" / "e.dcm", made)
    with pytest.raises(InputError, match="PixelData"):
        read_volume(tmp_path / "short")


def test_two_objects_of_one_series_are_one_stack(tmp_path):
    stored = ramp(8)
    for part in (0, 4):
        own = [at(5.0 * (part + i)) for i in range(4)]
        write_enhanced(tmp_path / f"{part}.dcm", stored[part : part + 4], own, PLANE, sop_uid=f"1.2.3.{part}")
    np.testing.assert_array_equal(read_volume(tmp_path).hu, stored - 1024)


def test_maps_of_a_real_enhanced_object_stay_refused(real_data):
    found = find_series(real_data / "decoders" / "eCT_Supplemental.dcm")
    assert not found.series
    assert [aside.code for aside in found.set_aside] == ["not_hu"]
