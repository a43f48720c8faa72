"""Where results refer to: our grids on the pixels of the source, legal UIDs, and names as they stand there."""

import numpy as np
import pydicom
import pytest
from highdicom.sr import CodedConcept
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ichformer.ct.io.dicom.dicom_file import quiet_pydicom
from ichformer.ct.io.dicom.reader import read_series
from ichformer.ct.io.dicom.series import find_series
from ichformer.errors import InputError
from ichformer.lesions.grid import Grid
from ichformer.reporting.dicom.codes import finding
from ichformer.reporting.dicom.multi_frame import check_frames
from ichformer.reporting.dicom.source import on_source, open_source
from ichformer.reporting.dicom.uids import is_uid
from tests.ct.builders import dataset, ramp, tilted, write_series
from tests.ct.enhanced import PLANE, at, write_enhanced


def opened(folder):
    (series,) = find_series(folder).series
    return read_series(series), open_source(series)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    is_enhanced=st.booleans(),
    is_turned=st.booleans(),
    signs=st.tuples(*[st.sampled_from((-1, 1))] * 2),
    tilt_deg=st.sampled_from((0.0, 12.0, -20.0)),
    steps_mm=st.lists(st.sampled_from((2.5, 5.0, 7.5)), min_size=2, max_size=4),
    order=st.randoms(use_true_random=False),
)
def test_each_slice_of_the_source_gets_its_own_pixels_back(
    tmp_path_factory, is_enhanced, is_turned, signs, tilt_deg, steps_mm, order
):
    folder = tmp_path_factory.mktemp("series")
    cosines = np.reshape(tilted(tilt_deg), (2, 3))
    x, y = (cosines[::-1] if is_turned else cosines) * np.array(signs)[:, None]
    stored = ramp(len(steps_mm) + 1)
    places = [(-10.0, -20.0, float(z)) for z in np.cumsum([0.0, *steps_mm])]
    numbers = [*range(len(stored))]
    order.shuffle(numbers)
    if is_enhanced:
        own = [{"PlanePositionSequence": {"ImagePositionPatient": [*places[s]]}} for s in numbers]
        plane = PLANE | {"PlaneOrientationSequence": {"ImageOrientationPatient": [f"{v:.9f}" for v in (*x, *y)]}}
        write_enhanced(folder / "e.dcm", stored[numbers], own, plane)
    for s, picture in enumerate([] if is_enhanced else stored):
        made = dataset(picture, places[s], (*x, *y), sop_uid=f"1.2.3.{s + 1}", PixelSpacing=[0.5, 0.75])
        pydicom.dcmwrite(folder / f"{numbers[s]}.dcm", made)
    volume, source = opened(folder)
    laid = on_source(volume.hu, Grid.of(volume), source)
    np.testing.assert_allclose(laid, stored - 1024.0, atol=0.05)  # interpolation in float32, of up to 2000 HU
    uids = [one.SOPInstanceUID for one in source.slices]
    if not is_enhanced:
        assert uids == [f"1.2.3.{s + 1}" for s in range(len(stored))]
        assert source.images == source.slices
        return
    assert (set(uids), source.minted) == ({"1.2.3.1"}, ("FrameOfReferenceUID",))
    assert [numbers[frame - 1] for frame in source.frames] == [*range(len(stored))]
    np.testing.assert_array_equal(source.as_stored(stored), stored[numbers])
    for groups, s in zip(source.images[0].PerFrameFunctionalGroupsSequence, numbers, strict=True):
        assert tuple(groups.PlanePositionSequence[0].ImagePositionPatient) == places[s]


def test_a_coarser_grid_is_laid_over_the_same_place(tmp_path):
    write_series(tmp_path, ramp(3, 16, 16))
    volume, source = opened(tmp_path)
    values = np.zeros((3, 4, 4), np.float32)
    values[1, 2, 1] = 1.0
    laid = on_source(values, Grid.of(volume, (4, 4)), source)
    assert np.argwhere(laid > 0.7).tolist() == [[1, y, x] for y in (9, 10) for x in (5, 6)]


def test_illegal_uids_are_replaced_the_same_way_each_time_and_told(tmp_path):
    tags = {"StudyInstanceUID": "ID_0a1b", "PatientSex": "X", "StudyDate": "someday"}
    with quiet_pydicom():
        for i, picture in enumerate(ramp(3)):
            made = dataset(picture, (0.0, 0.0, 5.0 * i), series_uid="ID_77", sop_uid=f"ID_{i}", **tags)
            pydicom.dcmwrite(tmp_path / f"{i}.dcm", made)
    _, source = opened(tmp_path)
    assert source.minted == ("FrameOfReferenceUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
    uids = {one.SOPInstanceUID for one in source.slices}
    assert len(uids) == 3
    assert all(is_uid(uid) for uid in uids)
    assert len({one.StudyInstanceUID for one in source.slices}) == 1
    assert (source.slices[0].PatientSex, source.slices[0].StudyDate) == (None, None)
    assert [one.SOPInstanceUID for one in opened(tmp_path)[1].slices] == [one.SOPInstanceUID for one in source.slices]


@pytest.mark.parametrize(
    ("charset", "name"),
    [("ISO_IR 100", "Müller^Jürgen"), ("ISO_IR 144", "Люксембург"), (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎")],
)
def test_names_stay_what_they_are_whatever_their_characters(tmp_path, charset, name):
    write_series(tmp_path, ramp(3), SpecificCharacterSet=charset, PatientName=name, PatientID="7")
    _, source = opened(tmp_path)
    assert str(source.slices[0].PatientName) == name
    assert source.slices[0].PatientID == "7"


def test_long_labels_that_begin_alike_have_codes_of_their_own():
    codes = [CodedConcept(*finding(f"intraparenchymal_{side}")[:3]) for side in ("left", "right")]
    assert [one.value for one in codes] == ["intraparenchymal_left", "intraparenchymal_right"]


def test_slices_have_one_orientation_and_one_frame_of_reference(tmp_path):
    write_series(tmp_path, ramp(3))
    for s, file in enumerate(sorted(tmp_path.iterdir())):
        made = pydicom.dcmread(file)
        made.ImageOrientationPatient = [1, s * 1e-5, 0, 0, 1, 0]
        made.FrameOfReferenceUID = f"1.2.{s}"
        made.save_as(file)
    _, source = opened(tmp_path)
    assert len({tuple(one.ImageOrientationPatient) for one in source.slices}) == 1
    assert len({one.FrameOfReferenceUID for one in source.slices}) == 1
    assert source.minted == ("FrameOfReferenceUID",)


LOCALIZER = {"CTImageFrameTypeSequence": {"FrameType": ["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]}}
TIMES = [{"FrameContentSequence": {"TemporalPositionIndex": t}} for t in (1, 2, 3)]
TILTED = {"PlaneOrientationSequence": {"ImageOrientationPatient": [*tilted(12.0)]}}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([[at(0), at(5), at(10, **LOCALIZER)]], "2 of 3 frames in 1 files"),
        ([[at(5.0 * s, **(TILTED if s > 2 else {})) for s in range(6)]], "3 of 6 frames in 1 files"),
        ([[at(5.0 * s, **TIMES[t]) for t in (0, 1, 2) for s in range(10)]], "10 of 30 frames in 1 files"),
        ([[at(0), at(5)], [at(10), at(15)]], "4 of 4 frames in 2 files"),
    ],
)
def test_an_enhanced_ct_that_is_no_stack_of_one_file_is_refused_in_one_line(tmp_path, files, said):
    for number, own in enumerate(files):
        shared = {name: macro for name, macro in PLANE.items() if name not in own[-1]}
        own = [{name: PLANE[name] for name in PLANE if name not in shared} | one for one in own]
        write_enhanced(tmp_path / f"{number}.dcm", ramp(len(own)), own, shared, sop_uid=f"1.2.3.{number}")
    series = find_series(tmp_path).series[0]
    with pytest.raises(InputError, match=f"{said}.*where one file holds the frames of one stack"):
        check_frames(series)
