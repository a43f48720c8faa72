import pathlib

import pydicom
import pytest

from ichformer.ct.inspect import inspect_found
from ichformer.ct.io.dicom.series import find_series
from ichformer.ct.io.scans import find_scans
from ichformer.errors import InputError
from tests.ct.builders import dataset, ramp, tilted, write_series


def codes(found) -> dict[str, str]:
    return {file.path.name: file.code for file in found.set_aside}


def test_series_and_orientations_and_sizes_in_one_folder_are_told_apart(tmp_path):
    write_series(tmp_path, ramp(), names=["a", "b", "c", "d"])
    write_series(tmp_path, ramp(3), names=["e", "f", "g"], series_uid="1.2.4")
    write_series(tmp_path, ramp(2), names=["h", "i"], series_uid="1.2.4", orientation=tilted(20))
    write_series(tmp_path, ramp(2, 8, 8), names=["j", "k"], series_uid="1.2.4")
    found = find_series(tmp_path)
    assert ["".join(file.name for file in series.files) for series in found.series] == ["abcd", "efg", "hi", "jk"]
    assert not found.set_aside


def test_files_without_extension_preamble_or_meta_header_are_read(tmp_path):
    for i, picture in enumerate(ramp(3)):
        made = dataset(picture, position_mm=(0, 0, 5.0 * i))
        del made.file_meta
        made.preamble = None
        made.save_as(tmp_path / f"IM{i}", implicit_vr=True, little_endian=True, enforce_file_format=False)
    assert (tmp_path / "IM0").read_bytes()[128:132] != b"DICM"
    (series,) = find_series(tmp_path).series
    assert len(series.files) == 3


def test_what_is_no_slice_of_a_head_is_set_aside_with_a_reason(tmp_path):
    grey = ramp(1)[0]
    rgb = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    for name, tags in {
        "localizer": {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
        "dose": rgb,
        "capture": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"},
        "frames": {"NumberOfFrames": 2},
        "map": {"ImageType": ["DERIVED", "PRIMARY", "PERFUSION", "MTT"]},
        "seconds": {"RescaleType": "S"},
        "report": {"Rows": None, "Columns": None, "Modality": "SR"},
    }.items():
        pydicom.dcmwrite(tmp_path / name, dataset(grey, **tags))
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "broken").write_bytes((tmp_path / "map").read_bytes()[:200])
    found = find_series(tmp_path)
    assert not found.series
    assert codes(found) == {
        "localizer": "localizer",
        "dose": "colour",
        "capture": "secondary_capture",
        "frames": "multi_frame",
        "map": "not_hu",
        "seconds": "not_hu",
        "report": "no_picture",
        "notes.txt": "not_dicom",
        "empty": "not_dicom",
        "broken": codes(found)["broken"],
    }
    assert codes(found)["broken"] in {"unreadable", "no_picture"}
    with pytest.raises(InputError, match="no CT series among 10 files"):
        inspect_found(find_scans(tmp_path))


def test_a_path_that_is_not_there_and_an_empty_folder_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        find_series(tmp_path / "none")
    with pytest.raises(InputError, match="holds no files"):
        inspect_found(find_scans(tmp_path))


def test_a_file_that_cannot_be_opened_is_set_aside(tmp_path, monkeypatch):
    (file, *_) = write_series(tmp_path, ramp())

    def refuse(path, *_args):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(pathlib.Path, "open", refuse)
    found = find_series(file)
    assert codes(found) == {file.name: "unreadable"}
    assert "Permission denied" in found.set_aside[0].text


def test_hostile_text_becomes_printable(tmp_path):
    hostile = {"SeriesDescription": "a\x1b[31mred\u202e", "ConvolutionKernel": "H\n31"}
    write_series(tmp_path, ramp(), SpecificCharacterSet="ISO_IR 192", **hostile)
    (report,) = inspect_found(find_scans(tmp_path))["series"]
    assert report["description"].isprintable()
    assert report["kernel"] == "H\\n31"


def test_series_without_uid_are_told_apart_by_study_and_folder(tmp_path):
    write_series(tmp_path / "one", ramp(), SeriesInstanceUID=None)
    write_series(tmp_path / "two", ramp(), SeriesInstanceUID=None)
    assert [series.path.name for series in find_series(tmp_path).series] == ["one", "two"]


def test_philips_folder(real_data):
    found = find_series(real_data / "dcm_qa_ct" / "Philips")
    assert [len(series.files) for series in found.series] == [28, 54, 58]
    reasons = [file.code for file in found.set_aside]
    assert {code: reasons.count(code) for code in reasons} == {
        "dicomdir": 6,
        "localizer": 2,
        "secondary_capture": 3,
        "colour": 3,
    }


def test_kernels_and_overlapping_thicknesses_of_one_uid_are_told_apart(tmp_path):
    write_series(tmp_path / "soft", ramp(), ConvolutionKernel="H31s")
    write_series(tmp_path / "bone", ramp(), ConvolutionKernel="H60s")
    write_series(
        tmp_path / "thin", ramp(16), [1.25 * i for i in range(16)], ConvolutionKernel="H31s", SliceThickness=1.25
    )
    assert [series.path.name for series in find_series(tmp_path).series] == ["bone", "soft", "thin"]


def test_thin_slices_below_and_thick_ones_above_are_one_series(tmp_path):
    write_series(tmp_path / "a", ramp(4), [0, 4, 8, 12], SliceThickness=4)
    write_series(tmp_path / "b", ramp(4), [18, 25, 32, 39], SliceThickness=7)
    assert [len(series.files) for series in find_series(tmp_path).series] == [8]
