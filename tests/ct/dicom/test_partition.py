"""Several scans under one SeriesInstanceUID, and one scan that looks like several."""

import random
import shutil

import numpy as np
import pydicom
import pytest

from ichformer.ct.io.dicom.series import Series, find_series
from ichformer.ct.io.scans import read_volume
from ichformer.ct.selection import choices, reason_against, select_series
from ichformer.errors import InputError
from tests.ct.builders import even, tilted, write_stack

N = 12
ONE, TWO = {"PatientID": "ANN", "StudyInstanceUID": "1.1"}, {"PatientID": "BOB", "StudyInstanceUID": "1.2"}


def hu_of(folder) -> list[np.ndarray]:
    return [read_volume(series).hu for series in find_series(folder).series]


def assert_told_apart(folder, *expected: np.ndarray) -> tuple[Series, ...]:
    """Each expected scan is found, whole and unmixed, and says in its audit what it was told apart by."""
    series = find_series(folder).series
    volumes = [read_volume(one) for one in series]
    assert len(volumes) == len(expected)
    for hu in expected:
        assert sum(np.array_equal(volume.hu, hu) for volume in volumes) == 1
    for volume in volumes:
        notes = {note.code: note.text for note in volume.audit.notes}
        assert "holds several stacks" in notes["series_divided"]
        assert "ANN" not in str(notes)
        assert "BOB" not in str(notes)
    return series


@pytest.mark.parametrize("shift_mm", [0.0, 1.7, 2.5, 60.0])
def test_two_patients_are_two_series_wherever_their_slices_stand(tmp_path, shift_mm):
    """At the same positions, in each other unevenly and evenly, and one on top of the other."""
    a = write_stack(tmp_path, even(N), seed=1, **ONE)
    b = write_stack(tmp_path, even(N, first_mm=shift_mm), seed=2, **TWO)
    assert_told_apart(tmp_path, a, b)


@pytest.mark.parametrize("tag", ["PatientID", "StudyInstanceUID"])
def test_one_of_both_tags_is_enough(tmp_path, tag):
    a = write_stack(tmp_path, even(N), seed=1, **ONE)
    b = write_stack(tmp_path, even(N), seed=2, **(ONE | {tag: TWO[tag]}))
    assert_told_apart(tmp_path, a, b)


def test_a_patient_without_an_id_is_not_the_other_one(tmp_path):
    a = write_stack(tmp_path, even(N), seed=1, **ONE)
    b = write_stack(tmp_path, even(N), seed=2)
    assert_told_apart(tmp_path, a, b)


def test_each_patient_of_one_study_uid_has_a_chosen_series(tmp_path):
    write_stack(tmp_path, even(20), seed=1, PatientID="ANN")
    write_stack(tmp_path, even(20), seed=2, PatientID="BOB")
    assert [said.split(":")[0] for said in choices(find_series(tmp_path)).values()] == ["chosen", "chosen"]


def test_one_file_of_another_study(tmp_path):
    a = write_stack(tmp_path, even(N), seed=1, **ONE)
    write_stack(tmp_path, [25.0], seed=2, **TWO)
    main, stray = sorted(find_series(tmp_path).series, key=lambda one: -len(one.headers))
    np.testing.assert_array_equal(read_volume(main).hu, a)
    assert len(stray.headers) == 1
    with pytest.raises(InputError, match="one slice"):
        read_volume(stray)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}),
        ({"AcquisitionUID": "1.5.1"}, {"AcquisitionUID": "1.5.2"}),
        ({"AcquisitionTime": "120000"}, {"AcquisitionTime": "120130.5"}),
        ({"AcquisitionDateTime": "20260101120000"}, {"AcquisitionDateTime": "20260101120400"}),
        ({"KVP": "80"}, {"KVP": "140"}),
        ({"ConvolutionKernel": "H31s"}, {"ConvolutionKernel": "H60s"}),
        ({"ConvolutionKernel": "H31s"}, {}),
        ({"SliceThickness": 5}, {"SliceThickness": 2.5}),
        ({"SliceThickness": 5}, {"SliceThickness": None}),
        ({"ContrastBolusAgent": "OMNIPAQUE"}, {}),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"]}, {"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "VNC"]}),
        ({"TriggerTime": "0"}, {"TriggerTime": "500"}),
        ({"SeriesDescription": "Head"}, {"SeriesDescription": "Head repeat"}),
        ({"PatientSex": "F"}, {"PatientSex": "M"}),
        ({"FrameOfReferenceUID": "1.6.1"}, {"FrameOfReferenceUID": "1.6.2"}),
    ],
    ids=str,
)
def test_two_scans_at_the_same_positions_are_told_apart_by_what_differs(tmp_path, first, second):
    a = write_stack(tmp_path, even(N), seed=1, **first)
    b = write_stack(tmp_path, even(N), seed=2, **second)
    assert_told_apart(tmp_path, a, b)


def test_two_folders_are_enough_where_all_tags_are_the_same(tmp_path):
    a = write_stack(tmp_path / "a", even(N), seed=1)
    b = write_stack(tmp_path / "b", even(N), seed=2)
    assert [one.path.name for one in assert_told_apart(tmp_path, a, b)] == ["a", "b"]


def test_two_passes_are_told_apart_by_times_and_numbers_that_change_with_every_slice(tmp_path):
    for name, tags in {
        "time": lambda i, run: {"AcquisitionTime": f"12{run:02d}{i:02d}"},
        "number": lambda i, run: {"AcquisitionNumber": N * run + i},
        "instance": lambda i, run: {"InstanceNumber": N * run + i},
    }.items():
        a = write_stack(tmp_path / name, even(N), seed=1, each=lambda i, tags=tags: tags(i, 0))
        b = write_stack(tmp_path / name, even(N), seed=2, each=lambda i, tags=tags: tags(i, 1))
        assert_told_apart(tmp_path / name, a, b)


def test_two_acquisitions_of_four_slices_at_a_time(tmp_path):
    """AcquisitionNumber changes every four slices in both: pieces of a stack are no scans."""
    a = write_stack(tmp_path, even(N), seed=1, each=lambda i: {"AcquisitionNumber": i // 4})
    b = write_stack(tmp_path, even(N), seed=2, each=lambda i: {"AcquisitionNumber": 10 + i // 4})
    assert_told_apart(tmp_path, a, b)


def test_two_kernels_of_two_acquisitions_are_four_scans(tmp_path):
    scans = [
        write_stack(tmp_path, even(N), seed=i, AcquisitionNumber=i % 2, ConvolutionKernel=("H31s", "H60s")[i // 2])
        for i in range(4)
    ]
    assert_told_apart(tmp_path, *scans)


def test_two_acquisitions_in_each_other_that_look_like_one_even_stack(tmp_path):
    """Slices of 5 mm every 2.5 mm: each acquisition covers the head by itself, so they are two."""
    a = write_stack(tmp_path, even(N), seed=1, AcquisitionNumber=1)
    b = write_stack(tmp_path, even(N, first_mm=2.5), seed=2, AcquisitionNumber=2)
    assert_told_apart(tmp_path, a, b)


def test_one_slice_that_was_made_again(tmp_path):
    a = write_stack(tmp_path, even(N), seed=1, each=lambda i: {"InstanceNumber": i})
    write_stack(tmp_path, [25.0], seed=2, InstanceNumber=99)
    main = max(find_series(tmp_path).series, key=lambda one: len(one.headers))
    np.testing.assert_array_equal(read_volume(main).hu, a)


def test_pictures_of_air_that_are_the_same_in_both_scans_stay_in_both(tmp_path):
    for seed in (1, 2):
        write_stack(tmp_path, even(N), seed=seed, AcquisitionNumber=seed)
        file = tmp_path / f"011-{seed}.dcm"
        air = pydicom.dcmread(file)
        air.PixelData = bytes(32)
        pydicom.dcmwrite(file, air)
    assert [hu.shape for hu in hu_of(tmp_path)] == [(N, 4, 4)] * 2


@pytest.mark.parametrize("shift_mm", [0.0, 1.7])
def test_what_nothing_tells_apart_is_refused_and_not_chosen(tmp_path, shift_mm):
    write_stack(tmp_path, even(20), seed=1)
    write_stack(tmp_path, even(20, first_mm=shift_mm), seed=2)
    (series,) = find_series(tmp_path).series
    with pytest.raises(InputError, match="no study, patient, acquisition, voltage, time") as caught:
        read_volume(series)
    assert "folder" in caught.value.fix
    assert (reason_against(series) or "").startswith("mixed: ")


def test_a_dynamic_series_is_told_and_never_chosen(tmp_path):
    scans = [write_stack(tmp_path, even(20), seed=t, AcquisitionTime=f"1200{t:02d}") for t in range(4)]
    plain = write_stack(tmp_path / "plain", even(20), seed=9, series_uid="1.2.4")
    found = find_series(tmp_path)
    assert [series.time_points for series in found.series] == [4] * 4 + [1]
    said = choices(found)
    assert [said[series].split(":")[0] for series in found.series] == ["dynamic"] * 4 + ["chosen"]
    np.testing.assert_array_equal(read_volume(select_series(found).series).hu, plain)
    for series, hu in zip(found.series, scans, strict=False):
        volume = read_volume(series)
        np.testing.assert_array_equal(volume.hu, hu)
        assert "dynamic: one of 4 volumes of a time series" in map(str, volume.audit.notes)


def test_a_shuttle_whose_slices_all_have_times_of_their_own_is_dynamic(tmp_path):
    for t in range(3):
        heights_mm = even(20) if t % 2 == 0 else even(20)[::-1]
        write_stack(tmp_path, heights_mm, seed=t, each=lambda i, t=t: {"ContentTime": f"12{t:02d}{i:02d}"})
    assert [series.time_points for series in find_series(tmp_path).series] == [3] * 3


# What is one scan, whatever its tags say.
@pytest.mark.parametrize(
    "each",
    [
        lambda i: {"AcquisitionNumber": i},
        lambda i: {"AcquisitionNumber": i % 2},
        lambda i: {"AcquisitionNumber": i // 4, "AcquisitionTime": f"1200{i // 4:02d}"},
        lambda i: {"SliceThickness": (5, 4.98)[i % 2]},
        lambda i: {"SliceThickness": (5, None)[i % 2]},
        lambda i: {"ConvolutionKernel": ("H31s", None)[i % 2]},
        lambda i: {"ConvolutionKernel": ("H31s", "H40s")[i // 6]},
        lambda i: {"StudyInstanceUID": ("1.1", None)[i % 2]},
        lambda i: {"PatientID": f"anon{i}"},
        lambda i: {"StudyInstanceUID": f"1.7.{i}"},
        lambda i: {"PixelSpacing": ([0.5, 0.4], [0.501, 0.4])[i % 2]},
        lambda i: {"orientation": tilted(0.15 * (i % 2))},
        lambda i: {"KVP": (120, None)[i % 2]},
        lambda i: {"ContentTime": f"1200{i:02d}"},
        lambda i: {"ImageType": (["ORIGINAL", "PRIMARY", "AXIAL"], ["ORIGINAL", "PRIMARY"])[i % 2]},
    ],
)
def test_one_even_stack_is_one_series(tmp_path, each):
    hu = write_stack(tmp_path, even(N), each=each)
    (read,) = hu_of(tmp_path)
    np.testing.assert_array_equal(read, hu)


def test_angles_that_waver_are_noted_and_the_median_is_taken(tmp_path):
    write_stack(tmp_path, even(N + 1), each=lambda i: {"orientation": tilted(18.5 + 0.15 * (i % 2))})
    volume = read_volume(tmp_path)
    assert volume.audit.tilt_deg == pytest.approx(18.5, abs=1e-6)
    assert "orientation varies by 0.15 degrees" in {n.code: n.text for n in volume.audit.notes}["geometry_varies"]


def test_a_kernel_that_changes_within_a_stack_is_noted(tmp_path):
    write_stack(tmp_path, even(N), each=lambda i: {"ConvolutionKernel": ("H31s", "H40s")[i // 6]})
    assert "H31s, H40s" in {n.code: n.text for n in read_volume(tmp_path).audit.notes}["kernel_varies"]


def test_parts_that_are_joined_show_the_gap_between_them(tmp_path):
    """10 mm of nothing between the half with one thickness and the half with another, 4.98 mm."""
    write_stack(tmp_path, even(6), seed=1, SliceThickness=5)
    write_stack(tmp_path, even(6, first_mm=40.0), seed=2, SliceThickness=4.98)
    volume = read_volume(tmp_path)
    assert volume.audit.missing_slices == 2
    with pytest.raises(InputError, match="2 slices are missing"):
        read_volume(tmp_path, missing="refuse")


def test_thin_and_thick_reconstructions_of_one_stretch_stay_apart(tmp_path):
    thick = write_stack(tmp_path, even(N), seed=1, SliceThickness=5)
    thin = write_stack(tmp_path, even(4 * N, 1.25), seed=2, SliceThickness=1.25)
    assert_told_apart(tmp_path, thick, thin)


def test_copies_of_every_file_are_dropped_with_a_note(tmp_path):
    hu = write_stack(tmp_path / "a", even(N))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    for file in (tmp_path / "b").iterdir():  # a second copy got new UIDs when it was sent
        made = pydicom.dcmread(file)
        made.SOPInstanceUID += ".7"
        pydicom.dcmwrite(tmp_path / "b" / f"again-{file.name}", made)
    (series,) = find_series(tmp_path).series
    volume = read_volume(series)
    np.testing.assert_array_equal(volume.hu, hu)
    assert "duplicates_dropped: 24 files hold a slice again" in map(str, volume.audit.notes)


def test_copies_of_two_acquisitions(tmp_path):
    a = write_stack(tmp_path / "a", even(N), seed=1, AcquisitionNumber=1)
    b = write_stack(tmp_path / "a", even(N), seed=2, AcquisitionNumber=2)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert_told_apart(tmp_path, a, b)


def test_the_whole_copy_is_read_and_the_broken_one_is_named(tmp_path):
    hu = write_stack(tmp_path, even(N))
    whole = (tmp_path / "003-0.dcm").read_bytes()
    (tmp_path / "003-0 (1).dcm").write_bytes(whole)
    (tmp_path / "003-0.dcm").write_bytes(whole[:-10])
    found = find_series(tmp_path)
    np.testing.assert_array_equal(read_volume(found).hu, hu)
    (aside,) = found.set_aside
    assert (aside.path.name, aside.code) == ("003-0.dcm", "broken_copy")
    assert aside.text == "cannot be read; 003-0 (1).dcm is read"


def test_a_broken_copy_of_a_compressed_slice(tmp_path):
    hu = write_stack(tmp_path, even(N))
    for file in tmp_path.iterdir():
        made = pydicom.dcmread(file)
        made.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
        pydicom.dcmwrite(file, made)
    made = pydicom.dcmread(tmp_path / "003-0.dcm")
    made.PixelData = pydicom.encaps.encapsulate([b"\1" + bytes(70)])
    pydicom.dcmwrite(tmp_path / "a.dcm", made)
    found = find_series(tmp_path)
    np.testing.assert_array_equal(read_volume(found).hu, hu)
    assert [(aside.path.name, aside.code) for aside in found.set_aside] == [("a.dcm", "broken_copy")]


def test_the_order_of_files_changes_nothing(tmp_path):
    a = write_stack(tmp_path / "in", even(N), seed=1, AcquisitionNumber=1)
    b = write_stack(tmp_path / "in", even(N), seed=2, AcquisitionNumber=2)
    names = list(range(2 * N))
    random.Random(0).shuffle(names)
    for name, file in zip(names, sorted((tmp_path / "in").iterdir()), strict=True):
        file.rename(tmp_path / "in" / f"x{name}")
    assert_told_apart(tmp_path / "in", a, b)
