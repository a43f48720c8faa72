"""Where results refer to: our grids on the pixels of the source, legal UIDs, and names as they stand there."""

from dataclasses import replace

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
from ichformer.reporting.dicom.source import on_source, open_source
from ichformer.reporting.dicom.uids import is_uid
from tests.ct.builders import dataset, ramp, tilted, write_series


def opened(folder):
    (series,) = find_series(folder).series
    return read_series(series), open_source(series)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    is_turned=st.booleans(),
    signs=st.tuples(*[st.sampled_from((-1, 1))] * 2),
    tilt_deg=st.sampled_from((0.0, 12.0, -20.0)),
    steps_mm=st.lists(st.sampled_from((2.5, 5.0, 7.5)), min_size=2, max_size=4),
    order=st.randoms(use_true_random=False),
)
def test_each_slice_of_the_source_gets_its_own_pixels_back(
    tmp_path_factory, is_turned, signs, tilt_deg, steps_mm, order
):
    folder = tmp_path_factory.mktemp("series")
    cosines = np.reshape(tilted(tilt_deg), (2, 3))
    x, y = (cosines[::-1] if is_turned else cosines) * np.array(signs)[:, None]
    stored = ramp(len(steps_mm) + 1)
    heights_mm = np.cumsum([0.0, *steps_mm])
    names = [*range(len(stored))]
    order.shuffle(names)
    for s, (picture, z) in enumerate(zip(stored, heights_mm, strict=True)):
        made = dataset(
            picture,
            position_mm=(-10.0, -20.0, float(z)),
            orientation=(*x, *y),
            sop_uid=f"1.2.3.{s + 1}",
            PixelSpacing=[0.5, 0.75],
        )
        pydicom.dcmwrite(folder / f"{names[s]}.dcm", made)
    volume, source = opened(folder)
    assert [one.SOPInstanceUID for one in source.slices] == [f"1.2.3.{s + 1}" for s in range(len(stored))]
    laid = on_source(volume.hu, Grid.of(volume), source)
    np.testing.assert_allclose(laid, stored - 1024.0, atol=0.05)  # interpolation in float32, of up to 2000 HU


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


def test_frames_of_one_file_are_refused(tmp_path):
    write_series(tmp_path, ramp(3))
    (series,) = find_series(tmp_path).series
    frames = type(series)(uid=series.uid, headers=tuple(replace(header, frames=3) for header in series.headers))
    with pytest.raises(InputError, match="no DICOM results are written"):
        open_source(frames)
