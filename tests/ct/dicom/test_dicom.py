import random

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ichformer.ct.inspect import inspect_found
from ichformer.ct.io.dicom.dicom_file import quiet_pydicom
from ichformer.ct.io.dicom.series import find_series
from ichformer.ct.io.scans import find_scans, read_volume
from ichformer.errors import InputError
from tests.ct.builders import dataset, ramp, tilted, write_series


def noted(volume) -> dict[str, str]:
    return {note.code: note.text for note in volume.audit.notes}


def test_slices_are_sorted_by_position_whatever_the_names_and_numbers_say(tmp_path):
    stored = ramp(5)
    for i, place in enumerate([3, 0, 4, 2, 1]):
        tags = {"InstanceNumber": 9 - i, "PixelSpacing": [0.5, 0.4]}
        made = dataset(stored[place], position_mm=(1, 2, 5.0 * place), sop_uid=f"1.2.{place}", **tags)
        pydicom.dcmwrite(tmp_path / f"{i}", made)
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.hu, stored - 1024)
    assert volume.source == ("1.2.0", "1.2.1", "1.2.2", "1.2.3", "1.2.4")
    assert volume.spacing_mm == (5, 0.5, 0.4)
    np.testing.assert_allclose(volume.affine @ [2, 3, 4, 1], [1 + 4 * 0.4, 2 + 3 * 0.5, 10, 1])
    assert noted(volume).keys() == {"pixels_not_square"}
    assert volume.audit.thickness_mm == 5


@pytest.mark.parametrize(
    ("age", "sex", "years", "known"),
    [
        ("045Y", "F", 45, "F"),
        ("097Y", "m", 90, "M"),
        ("006M", "O", 0.5, "O"),
        ("", "", None, ""),
        ("45", "X", None, ""),
        (None, None, None, ""),
    ],
)
def test_age_and_sex_are_known_where_they_are_written_rightly(tmp_path, age, sex, years, known):
    with quiet_pydicom():
        write_series(tmp_path, ramp(), PatientAge=age, PatientSex=sex)
    audit = read_volume(tmp_path).audit
    assert (audit.age_years, audit.sex) == (years, known)


@pytest.mark.parametrize("order", ["found", "series", "folder", "text"])
def test_a_series_can_be_named_in_every_way(tmp_path, order):
    write_series(tmp_path, ramp())
    found = find_series(tmp_path)
    ways = {"found": found, "series": found.series[0], "folder": tmp_path, "text": str(tmp_path)}
    np.testing.assert_array_equal(read_volume(ways[order]).hu, ramp() - 1024)


def test_two_series_are_never_chosen_between_in_silence(tmp_path):
    write_series(tmp_path / "a", ramp())
    write_series(tmp_path / "b", ramp(), series_uid="1.2.4")
    with pytest.raises(InputError, match="holds 2 series"):
        read_volume(tmp_path)


# Rows and columns may run along any in-plane axis in either direction: the eight ways to lay an axial slice.
AXES = [(np.eye(3)[i] * a, np.eye(3)[1 - i] * b) for i in (0, 1) for a in (1, -1) for b in (1, -1)]


@pytest.mark.parametrize(("column_axis", "row_axis"), AXES)
def test_every_axial_layout_is_turned_to_the_same_volume(tmp_path, column_axis, row_axis):
    patient = ramp(3, 6, 8)  # s along +z, h along +y in steps of 0.5 mm, w along +x in steps of 0.4 mm
    transposed = bool(column_axis[1])
    for s, picture in enumerate(patient):
        laid = picture.T if transposed else picture
        laid = laid[:, ::-1] if column_axis.sum() < 0 else laid
        laid = laid[::-1] if row_axis.sum() < 0 else laid
        size_mm = np.array([7 * 0.4, 5 * 0.5, 0])
        corner = np.where(np.minimum(column_axis, 0) + np.minimum(row_axis, 0) < 0, size_mm, 0)
        corner[2] = 3.0 * s
        spacing = [0.4, 0.5] if transposed else [0.5, 0.4]
        made = dataset(
            np.ascontiguousarray(laid), tuple(corner), (*column_axis, *row_axis), sop_uid=f"1.{s}", PixelSpacing=spacing
        )
        pydicom.dcmwrite(tmp_path / f"{s}", made)
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.hu, patient - 1024)
    np.testing.assert_allclose(volume.affine, [[0, 0, 0.4, 0], [0, 0.5, 0, 0], [3, 0, 0, 0], [0, 0, 0, 1]], atol=1e-12)
    assert volume.spacing_mm == pytest.approx((3, 0.5, 0.4))
    is_straight = column_axis[0] == 1 and row_axis[1] == 1
    assert ("reoriented" in noted(volume)) == (not is_straight)


@pytest.mark.parametrize("degrees", [18.5, -16.5, 0.0])
def test_tilt_comes_from_the_geometry_with_its_sign(tmp_path, degrees):
    write_series(tmp_path, ramp(), orientation=tilted(degrees), GantryDetectorTilt=-99)
    volume = read_volume(tmp_path)
    assert volume.audit.tilt_deg == pytest.approx(degrees, abs=0.01)
    assert volume.spacing_mm[0] == pytest.approx(5 * np.cos(np.deg2rad(degrees)))
    assert ("tilt" in noted(volume)) == (degrees != 0)
    np.testing.assert_allclose(volume.affine[:3, 0], [0, 0, 5], atol=1e-9)


def test_an_oblique_box_is_no_tilt(tmp_path):
    orientation = tilted(20)
    normal = np.cross(orientation[:3], orientation[3:])
    for i, picture in enumerate(ramp()):
        pydicom.dcmwrite(tmp_path / f"{i}", dataset(picture, tuple(4.0 * i * normal), orientation, sop_uid=f"1.{i}"))
    volume = read_volume(tmp_path)
    assert volume.audit.tilt_deg == 0
    assert "20.0 degrees" in noted(volume)["oblique"]


@pytest.mark.parametrize(
    ("heights_mm", "missing", "is_uneven"),
    [
        ([0, 5, 10, 20], 1, True),
        ([0, 5, 20, 25, 30], 2, True),
        ([0, 5.01, 9.99, 15, 20.02], 0, False),
        ([0, 4, 8, 12, 13, 20, 27, 34], 0, True),  # 4 mm below and 7 mm above, overlapping
        ([0, 5, 10, 15, 25, 35, 45, 55], 0, True),  # 5 mm below and 10 mm above: a slab, not gaps
    ],
)
def test_gaps_are_counted_and_slabs_are_not_gaps(tmp_path, heights_mm, missing, is_uneven):
    write_series(tmp_path, ramp(len(heights_mm)), heights_mm=heights_mm)
    volume = read_volume(tmp_path)
    assert volume.audit.missing_slices == missing
    assert ("missing_slices" in noted(volume)) == (missing > 0)
    assert ("variable_spacing" in noted(volume)) == is_uneven
    np.testing.assert_allclose(volume.audit.steps_mm, np.diff(heights_mm) if is_uneven else [])


def test_a_thicker_slice_fills_its_gap(tmp_path):
    stored = ramp(4)
    for i, (z, thickness) in enumerate([(0, 5), (5, 5), (10, 10), (20, 10)]):
        pydicom.dcmwrite(tmp_path / f"{i}", dataset(stored[i], (0, 0, z), sop_uid=f"1.{i}", SliceThickness=thickness))
    assert read_volume(tmp_path).audit.missing_slices == 0


def test_copies_are_dropped_and_said(tmp_path):
    write_series(tmp_path, ramp(5)[[0, 1, 1, 2, 3]], heights_mm=[0, 5, 5, 10, 15])
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.hu, ramp(5)[:4] - 1024)
    assert noted(volume)["duplicates_dropped"] == "1 files hold a slice again"


def test_a_bent_stack_is_noticed(tmp_path):
    for i, (picture, y) in enumerate(zip(ramp(5), [0, 0, 4, 0, 0], strict=True)):
        pydicom.dcmwrite(tmp_path / f"{i}", dataset(picture, (0, y, 5.0 * i), sop_uid=f"1.{i}"))
    assert "4.0 mm" in noted(read_volume(tmp_path))["bent_stack"]


def test_wrapped_intercept_of_rsna_is_repaired(tmp_path):
    hu = np.array([[-1000, 0, 40, 2000, 3095, -1]], np.int32)
    # How such a file came about: values from 0 up at an intercept of -1000 lost 1000 and wrapped at 12 bits.
    stored = ((hu + 1000 - 1000) % 4096).astype(np.uint16)
    tags = {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0, "RescaleIntercept": 0}
    write_series(tmp_path, np.stack([stored, stored]), **tags)
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.hu[0], hu)
    assert "intercept_repaired" in noted(volume)


@pytest.mark.parametrize(
    "tags",
    [
        {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0, "RescaleIntercept": -1024},
        {"BitsStored": 16, "PixelRepresentation": 0, "RescaleIntercept": 0},
        {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 1, "RescaleIntercept": 0},
    ],
)
def test_right_intercepts_are_left_alone(tmp_path, tags):
    stored = np.full((2, 4, 4), 1064, np.uint16)
    write_series(tmp_path, stored, **tags)
    volume = read_volume(tmp_path)
    assert (volume.hu == 1064 + tags["RescaleIntercept"]).all()
    assert "intercept_repaired" not in noted(volume)


def test_padding_becomes_air(tmp_path):
    stored = ramp(2)
    stored[:, 0] = -2000
    write_series(tmp_path, stored, PixelPaddingValue=-2000)
    volume = read_volume(tmp_path)
    assert (volume.hu[:, 0] == -1024).all()
    assert "-3024" in noted(volume)["padding_repaired"]
    np.testing.assert_array_equal(volume.hu[:, 1:], ramp(2)[:, 1:] - 1024)


def test_padding_above_the_range_of_tissue_becomes_air_and_padding_in_it_stays(tmp_path):
    stored = ramp(2)
    stored[:, 0] = 30000
    write_series(tmp_path / "high", stored, PixelPaddingValue=30000)
    assert (read_volume(tmp_path / "high").hu[:, 0] == -1024).all()
    stored[:, 0] = 1024
    write_series(tmp_path / "water", stored, PixelPaddingValue=1024)
    volume = read_volume(tmp_path / "water")
    assert (volume.hu[:, 0] == 0).all()
    assert "padding_kept" in noted(volume)


def test_rescaling_is_done_wide_and_clipped_into_16_bits(tmp_path):
    stored = np.array([[[0, 1000, 40000, 65535]]] * 2, np.uint16)
    write_series(tmp_path / "wide", stored, RescaleIntercept=-1000)
    volume = read_volume(tmp_path / "wide")
    np.testing.assert_array_equal(volume.hu[0, 0], [-1000, 0, 32767, 32767])
    assert "hu_clipped" in noted(volume)
    write_series(tmp_path / "part", stored[..., :2], RescaleSlope="0.25", RescaleIntercept="-10.5")
    np.testing.assert_array_equal(read_volume(tmp_path / "part").hu[0, 0], np.rint([-10.5, 239.5]))


def test_slices_may_differ_in_their_rescaling(tmp_path):
    for i, intercept in enumerate([-1024, -1000]):
        pydicom.dcmwrite(
            tmp_path / f"{i}", dataset(ramp(1)[0], (0, 0, 5.0 * i), sop_uid=f"1.{i}", RescaleIntercept=intercept)
        )
    hu = read_volume(tmp_path).hu
    np.testing.assert_array_equal(hu[1] - hu[0], 24)


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ({"LossyImageCompression": "01"}, "lossy"),
        ({"RescaleType": None}, "rescale_type_absent"),
        ({"RescaleSlope": 4.5}, "steps_coarse"),
        ({"PixelSpacing": [0.5, 0.49]}, "pixels_not_square"),
    ],
)
def test_what_limits_the_values_is_noted(tmp_path, tags, code):
    write_series(tmp_path, ramp(), **tags)
    assert set(noted(read_volume(tmp_path))) == {code}


@pytest.mark.parametrize(
    ("tags", "named"),
    [
        ({"Modality": "MR"}, "Modality"),
        ({"ImagePositionPatient": None}, "4 of 4 slices lack a valid ImagePositionPatient"),
        ({"ImageOrientationPatient": None}, "ImageOrientationPatient"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "perpendicular"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, "coronal"),
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, "sagittal"),
        ({"PixelSpacing": None}, "PixelSpacing"),
        ({"PixelSpacing": [0, 0]}, "PixelSpacing"),
        ({"RescaleIntercept": None}, "RescaleIntercept"),
        ({"RescaleSlope": 0}, "RescaleSlope"),
        ({"Rows": 60000}, "Rows"),
        ({"Rows": 4000, "Columns": 4000}, "cut short"),
        ({"BitsAllocated": 64}, "BitsAllocated"),
        ({"BitsAllocated": 32, "BitsStored": 32}, "PixelData"),
    ],
)
def test_what_cannot_be_read_rightly_is_refused_by_name(tmp_path, tags, named):
    write_series(tmp_path, ramp(4, 40, 40), **tags)
    with pytest.raises(InputError, match=named) as caught:
        read_volume(tmp_path)
    assert caught.value.where.startswith(str(tmp_path))
    assert caught.value.fix


def test_one_slice_and_one_position_are_no_scan(tmp_path):
    write_series(tmp_path / "one", ramp(1))
    with pytest.raises(InputError, match="one slice"):
        read_volume(tmp_path / "one")
    write_series(tmp_path / "same", ramp(4), heights_mm=[5, 5, 5, 5])
    with pytest.raises(InputError, match="all 4 slices stand at one"):
        read_volume(tmp_path / "same")


def test_a_few_slices_without_position_refuse_the_whole_series(tmp_path):
    write_series(tmp_path, ramp())
    pydicom.dcmwrite(tmp_path / "zzz", dataset(ramp(1)[0], sop_uid="1.9", ImagePositionPatient=None))
    with pytest.raises(InputError, match="1 of 5 slices lack") as caught:
        read_volume(tmp_path)
    assert caught.value.where.endswith("zzz")


def test_truncated_pixels_name_their_file(tmp_path):
    files = write_series(tmp_path, ramp(4, 40, 40))
    files[2].write_bytes(files[2].read_bytes()[:-100])
    with pytest.raises(InputError, match="PixelData") as caught:
        read_volume(tmp_path)
    assert caught.value.where == str(files[2])


@settings(max_examples=300, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 12))
def test_mutated_bytes_give_a_volume_or_an_input_error(tmp_path_factory, seed, count):
    folder = tmp_path_factory.mktemp("fuzz")
    files = write_series(folder, ramp(2, 8, 8))
    source = random.Random(seed)
    data = bytearray(files[1].read_bytes())
    for _ in range(count):
        data[source.randrange(128, len(data))] = source.randrange(256)
    if source.random() < 0.2:
        del data[source.randrange(132, len(data)) :]
    files[1].write_bytes(data)
    try:
        report = inspect_found(find_scans(folder))
    except InputError as error:
        texts = [str(error)]
    else:
        texts = [warning for series in report["series"] for warning in series["warnings"]]
    assert all(text.isprintable() for text in texts)


def test_a_code_stream_that_disagrees_with_the_header_is_noted(tmp_path, real_data):
    """The real slice of that kind, three times, one above the other."""
    with quiet_pydicom():
        for i in range(3):
            made = pydicom.dcmread(real_data / "decoders" / "J2K_pixelrep_mismatch.dcm")
            made.ImagePositionPatient[2] = 5.0 * i
            made.SOPInstanceUID = f"1.2.{i}"
            made.save_as(tmp_path / f"{i}.dcm")
    assert "unsigned 13 bits, the header signed 13 bits" in noted(read_volume(tmp_path))["codestream_differs"]
