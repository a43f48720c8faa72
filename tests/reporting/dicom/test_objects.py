"""The DICOM objects about a scan, read again by the libraries and programs of others."""

import io
import json
import shutil
import subprocess
from dataclasses import replace

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes

from ichformer import LABELS
from ichformer.ct.io.dicom.reader import read_series
from ichformer.ct.io.dicom.series import find_series
from ichformer.evaluation.scorable import NO_BRAIN
from ichformer.reporting.dicom.objects import as_files, dicom_objects
from ichformer.reporting.dicom.source import open_source
from tests.ct.builders import head_hu, write_series
from tests.reporting.dicom.readings import ANY, SIDE, SLICES, made_of, not_scored, reading_of


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("series")
    stored = (head_hu(SLICES, SIDE) + 1024).astype(np.int16)
    write_series(folder, stored, PixelSpacing=[5.0, 5.0], PatientName="Doe^Jane", PatientID="7", StudyID="3")
    (series,) = find_series(folder).series
    return read_series(series), open_source(series)


@pytest.fixture(scope="module")
def objects(scan):
    volume, source = scan
    files = as_files(dicom_objects(made_of(source), reading_of(volume)))
    return {name: pydicom.dcmread(io.BytesIO(data)) for name, data in files.items()}


def groups_of(report: pydicom.Dataset) -> dict[str, list]:
    content = hd.sr.Comprehensive3DSR.from_dataset(report).content
    return {
        "scan": content.get_image_measurement_groups(),
        "segments": content.get_volumetric_roi_measurement_groups(),
    }


def values_of(group) -> dict[str, float]:
    return {one.name.meaning: one.value for one in group.get_measurements()}


def said_of(group) -> dict[str, str]:
    return {one.name.meaning: one.value.meaning for one in group.get_qualitative_evaluations()}


def test_the_report_says_what_the_model_said(objects, scan):
    groups = groups_of(objects["report.dcm"])
    assert groups["scan"][0].finding_type == codes.SCT.IntracranialHemorrhage
    by_label = {group.tracking_identifier: group for group in groups["scan"]}
    assert set(by_label) == set(LABELS)
    main = values_of(by_label["any"])
    assert (main["Probability"], main["Threshold Value"]) == (0.95, 0.5)
    assert main["Midline shift, positive to the left of the patient"] == 2.5
    assert main["Validation scans that are more like the training"] == 40.0
    raised = {label: said_of(group)["Score reaches the frozen threshold"] for label, group in by_label.items()}
    assert {label for label, said in raised.items() if said == "Yes"} == {"any", "subdural"}
    assert raised["epidural"] == "No"
    assert raised["subarachnoid"] == "No threshold was frozen for this label"
    images = [one.referenced_sop_instance_uid for one in by_label["any"].source_images]
    assert images == [scan[1].slices[s].SOPInstanceUID for s in (2, 1)]


def test_the_report_measures_the_segments_that_it_names(objects, scan):
    segments = {group.tracking_identifier: group for group in groups_of(objects["report.dcm"])["segments"]}
    assert set(segments) == {"any", "subdural"}
    voxel_ml = 5.0 * 5.0 * 5.0 / 1000
    for group in segments.values():
        assert values_of(group)["Volume"] == pytest.approx(2 * 36 * voxel_ml)
    bleeds = hd.seg.Segmentation.from_dataset(objects["bleeds.dcm"])
    number = bleeds.get_segment_numbers(segment_label="Subdural haemorrhage")[0]
    assert segments["subdural"].tracking_uid == bleeds.get_segment_description(number).tracking_uid
    uids = [one.SOPInstanceUID for one in scan[1].slices]
    mask = bleeds.get_pixels_by_source_instance(uids, segment_numbers=[number], assert_missing_frames_are_empty=True)
    expected = np.zeros((SLICES, SIDE, SIDE), bool)
    expected[1:3, 8:14, 20:26] = True
    np.testing.assert_array_equal(mask[..., 0] > 0, expected)


def test_probabilities_and_the_explanation_are_those_of_the_reading(objects, scan):
    uids = [one.SOPInstanceUID for one in scan[1].slices]
    maps = hd.seg.Segmentation.from_dataset(objects["probabilities.dcm"])
    found = maps.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True)
    assert found.shape[-1] == 2
    np.testing.assert_allclose(found[2, 10, 22], 0.9, atol=1 / 255)
    explanation = objects["explanation.dcm"]
    values = np.frombuffer(explanation.FloatPixelData, np.float32).reshape(SLICES, SIDE, SIDE)
    of_frame = [
        group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        for group in explanation.PerFrameFunctionalGroupsSequence
    ]
    first, last = (values[of_frame.index(uid)] for uid in (uids[0], uids[-1]))
    assert (first[0, 0], last[-1, -1]) == (0.0, 1.0)


def test_key_images_are_the_slices_with_the_highest_scores(objects, scan):
    items = objects["key_images.dcm"].CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    named = {one.ReferencedSOPInstanceUID for one in items.ReferencedSOPSequence}
    assert named == {scan[1].slices[s].SOPInstanceUID for s in (1, 2)}
    assert objects["key_image_1.dcm"].Rows > SIDE  # words stand below the picture
    assert "key_image_3.dcm" not in objects


def test_every_object_is_of_the_patient_and_the_study_and_says_what_it_is_for(objects):
    for name, one in objects.items():
        assert (str(one.PatientName), one.PatientID, one.StudyInstanceUID, one.StudyID) == ("Doe^Jane", "7", "1.2", "3")
        assert "research use only" in one.SeriesDescription, name
        assert one.DeviceSerialNumber.startswith("c0ffee")


def test_the_same_again_has_the_same_uids(objects, scan):
    volume, source = scan
    again = dicom_objects(made_of(source), reading_of(volume))
    other = dicom_objects(replace(made_of(source), made_from="cd34"), reading_of(volume))

    def uids(made):
        return {name: [e.value for e in one.iterall() if e.VR == "UI"] for name, one in made.items()}

    assert uids(again) == uids(objects)
    assert all(uids(other)[name] != found for name, found in uids(objects).items())


def test_a_scan_that_was_not_scored_says_why(scan):
    volume, source = scan
    found = dicom_objects(made_of(source), not_scored(volume))
    assert set(found) == {"report.dcm", "presentation.dcm"}
    for group in groups_of(found["report.dcm"])["scan"]:
        assert "Probability" not in values_of(group)
        assert said_of(group)["Why no score is given"] == NO_BRAIN.text


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="needs dicom3tools")
def test_a_bleed_of_one_label_in_one_slice_is_reported(scan):
    """highdicom puts what all frames share elsewhere, also where there is one frame, and its reports do not find it."""
    volume, source = scan
    objects = dicom_objects(made_of(source), reading_of(volume, bleeds=slice(2, 3), of=[ANY]))
    bleeds = objects["bleeds.dcm"]
    assert bleeds.NumberOfFrames == 1
    assert bleeds.PerFrameFunctionalGroupsSequence[0].SegmentIdentificationSequence[0].ReferencedSegmentNumber == 1
    referred = [one for one in objects["report.dcm"].iterall() if one.keyword == "ReferencedSegmentNumber"]
    assert [one.value for one in referred] == [1]


def test_dicom3tools_find_no_error(objects, tmp_path):
    for name, one in objects.items():
        one.save_as(tmp_path / name)
        done = subprocess.run(["dciodvfy", tmp_path / name], capture_output=True, text=True, timeout=600)
        assert [line for line in done.stderr.splitlines() if line.startswith("Error")] == [], name
        assert any(line.strip() in _CLASSES for line in done.stderr.splitlines()), done.stderr


_CLASSES = (
    *("Comprehensive3DSR", "Segmentation", "ParametricMap", "KeyObjectSelectionDocument", "SCImage"),
    "GrayscaleSoftcopyPresentationState",
)


@pytest.mark.full
def test_dcmqi_reads_the_measurements(objects, tmp_path):
    if (program := shutil.which("tid1500reader")) is None:
        pytest.skip("needs dcmqi")
    objects["report.dcm"].save_as(tmp_path / "report.dcm")
    given = ["--inputDICOM", tmp_path / "report.dcm", "--outputMetadata", tmp_path / "found.json"]
    subprocess.run([program, *given], check=True, capture_output=True, timeout=600)
    found = json.loads((tmp_path / "found.json").read_text())["Measurements"]
    read = {
        item["quantity"]["CodeMeaning"]: float(item["value"])
        for group in found
        if group["TrackingIdentifier"] == "any"
        for item in group["measurementItems"]
    }
    assert (read["Probability"], read["Volume"]) == (0.95, 9.0)
