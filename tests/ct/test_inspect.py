import json

import pytest

from ichformer.ct.inspect import format_inspection, inspect_found
from ichformer.ct.io.scans import find_scans
from ichformer.errors import InputError
from tests.ct.builders import ramp, write_series

KEYS = {
    *("path", "modality", "n_slices", "shape", "spacing_mm", "tilt_deg", "missing_slices"),
    *("hu_min", "hu_max", "kernel", "description", "warnings", "choice"),
}


def test_a_series_is_reported_with_every_key_as_plain_json(tmp_path):
    write_series(tmp_path, ramp(), ConvolutionKernel="H31s", SeriesDescription="Head 5.0", RescaleType=None)
    report = inspect_found(find_scans(tmp_path))
    assert json.loads(json.dumps(report)) == report
    assert report.keys() == {"series", "set_aside"}
    (series,) = report["series"]
    assert series == {
        "path": str(tmp_path),
        "modality": "CT",
        "n_slices": 4,
        "shape": [4, 12, 10],
        "spacing_mm": [5, 0.5, 0.5],
        "tilt_deg": 0,
        "missing_slices": 0,
        "hu_min": -1000,
        "hu_max": 1874,
        "kernel": "H31s",
        "description": "Head 5.0",
        "warnings": ["rescale_type_absent: RescaleType absent, taken as HU"],
        "choice": "few_slices: 4",
    }


def test_a_broken_series_does_not_stop_the_others(tmp_path):
    write_series(tmp_path / "good", ramp())
    write_series(tmp_path / "mr", ramp(), series_uid="1.2.4", Modality="MR")
    (tmp_path / "notes.txt").write_text("hello")
    report = inspect_found(find_scans(tmp_path))
    good, broken = report["series"]
    assert good["warnings"] == []
    assert broken.keys() == KEYS
    assert broken["warnings"][0].startswith("unreadable: ")
    assert "Modality" in broken["warnings"][0]
    assert broken["shape"] is None
    assert report["set_aside"] == [{"path": str(tmp_path / "notes.txt"), "reason": "not_dicom: is not a DICOM file"}]


def test_the_text_shows_what_the_values_say(tmp_path):
    write_series(tmp_path / "good", ramp(), heights_mm=[0, 5, 10, 20])
    write_series(tmp_path / "mr", ramp(), series_uid="1.2.4", Modality="MR")
    (tmp_path / "notes.txt").write_text("hello")
    text = format_inspection(inspect_found(find_scans(tmp_path)))
    for shown in ("4 slices of 12 x 10", "5.000 mm between", "1 slices", "missing_slices: 1 missing", "unreadable:"):
        assert shown in text
    assert "not_dicom" in text
    assert all(line.isprintable() and line == line.rstrip() for line in text.splitlines())


def test_where_nothing_can_be_read_the_error_says_why(tmp_path):
    write_series(tmp_path / "mr", ramp(), Modality="MR")
    with pytest.raises(InputError, match="Modality"):
        inspect_found(find_scans(tmp_path))
    write_series(tmp_path / "one", ramp(1), series_uid="1.2.4")
    with pytest.raises(InputError, match="none of 2 series can be read"):
        inspect_found(find_scans(tmp_path))


@pytest.mark.slow
def test_real_folders(real_data):
    report = inspect_found(find_scans(real_data / "dcm_qa_ct"))
    assert [series["n_slices"] for series in report["series"]] == [28, 28, 54, 58]
    assert [abs(series["tilt_deg"]) for series in report["series"]] == pytest.approx([18.5, 0, 18.5, 16.5], abs=0.01)
    assert [series["description"] for series in report["series"]][1:] == ["STD BRAIN 5MM", "STEREOTAXIS", "STEREOTAXIS"]
    scrambled = inspect_found(find_scans(real_data / "geometry_scrambled"))
    assert [series["missing_slices"] for series in scrambled["series"]] == [0, None, 1, 1]
    assert len(scrambled["set_aside"]) == 2
