"""The DICOM objects about a scan, read again by the libraries and programs of others."""

import copy
import io
import json
import shutil
import subprocess
from dataclasses import replace

import highdicom as hd
import numpy as np
import pydicom
import pytest
from highdicom.sr.utils import find_content_items
from pydicom.sr.codedict import codes

from ichformer import LABELS
from ichformer.ct.io.dicom.reader import read_series
from ichformer.ct.io.dicom.series import find_series
from ichformer.evaluation.scorable import NO_BRAIN
from ichformer.reporting.dicom.objects import as_files, dicom_objects
from ichformer.reporting.dicom.source import open_source
from tests.reporting.dicom.readings import ANY, ORDER, SIDE, SLICES, made_of, not_scored, reading_of, write_one


def opened(folder, is_enhanced):
    write_one(folder, is_enhanced)
    (series,) = find_series(folder).series
    return read_series(series), open_source(series)


def objects_of(scan):
    volume, source = scan
    files = as_files(dicom_objects(made_of(source), reading_of(volume)))
    return {name: pydicom.dcmread(io.BytesIO(data)) for name, data in files.items()}


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    return opened(tmp_path_factory.mktemp("series"), is_enhanced=False)


@pytest.fixture(scope="module")
def objects(scan):
    return objects_of(scan)


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """Objects about an enhanced CT."""
    return objects_of(opened(tmp_path_factory.mktemp("enhanced"), is_enhanced=True))


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


def test_results_of_an_enhanced_ct_refer_to_its_frames(frames, objects):
    uid, number_of = "1.2.3.1", {s: number for number, s in enumerate(ORDER, 1)}
    key = frames["key_images.dcm"].ContentSequence
    references = [one.ReferencedSOPSequence[0] for one in key if one.ValueType == "IMAGE"]
    assert [(one.ReferencedSOPInstanceUID, one.ReferencedFrameNumber) for one in references] == [
        (uid, number_of[2]),
        (uid, number_of[1]),
    ]
    groups = groups_of(frames["report.dcm"])
    (of_any,) = (group for group in groups["scan"] if group.tracking_identifier == "any")
    named = [(one.referenced_sop_instance_uid, one.referenced_frame_numbers) for one in of_any.source_images]
    assert named == [(uid, [number_of[2]]), (uid, [number_of[1]])]
    (region, *_) = (group.referenced_segment for group in groups["segments"])
    (images,) = region.source_images_for_segmentation
    assert sorted(images.referenced_frame_numbers) == sorted((number_of[1], number_of[2]))
    content = hd.sr.Comprehensive3DSR.from_dataset(frames["report.dcm"]).content
    (library,) = find_content_items(content[0], name=codes.DCM.ImageLibrary, recursive=True)
    entries = find_content_items(library, value_type="IMAGE", recursive=True)
    assert [one.ReferencedSOPSequence[0].ReferencedFrameNumber for one in entries] == [number_of[s] for s in range(6)]
    (shown,) = frames["presentation.dcm"].ReferencedSeriesSequence
    assert [one.ReferencedSOPInstanceUID for one in shown.ReferencedImageSequence] == [uid]
    assert frames.keys() == objects.keys()


def test_pixels_of_results_lie_on_the_frames_of_an_enhanced_ct(frames, objects):
    for name in ("bleeds.dcm", "probabilities.dcm"):
        of_frames, of_files = (hd.seg.Segmentation.from_dataset(made[name]) for made in (frames, objects))
        given = {"segment_numbers": [2], "assert_missing_frames_are_empty": True}
        found = of_frames.get_pixels_by_source_frame("1.2.3.1", [*range(1, SLICES + 1)], **given)
        assert found.any()
        uids = [f"1.2.3.{s + 1}" for s in ORDER]
        np.testing.assert_array_equal(found, of_files.get_pixels_by_source_instance(uids, **given))
    pictures = {}
    for kind, made in (("frames", frames["explanation.dcm"]), ("files", objects["explanation.dcm"])):
        values = np.frombuffer(made.FloatPixelData, np.float32).reshape(SLICES, SIDE, SIDE)
        for value, group in zip(values, made.PerFrameFunctionalGroupsSequence, strict=True):
            image = group.DerivationImageSequence[0].SourceImageSequence[0]
            at = int(image.ReferencedSOPInstanceUID.rpartition(".")[2]) - 1
            pictures[kind, ORDER[image.ReferencedFrameNumber - 1] if kind == "frames" else at] = value
    for s in range(SLICES):
        np.testing.assert_array_equal(pictures["frames", s], pictures["files", s])


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
def test_slices_that_are_rescaled_differently_have_no_presentation_state(scan):
    # One presentation state gives all images that it shows the same rescaling.
    volume, source = scan
    slices = [copy.copy(one) for one in source.slices]
    slices[0].RescaleSlope = 2.0
    found = dicom_objects(made_of(replace(source, slices=tuple(slices))), not_scored(volume))
    assert set(found) == {"report.dcm"}


def test_a_bleed_of_one_label_in_one_slice_is_reported(scan):
    """highdicom puts what all frames share elsewhere, also where there is one frame, and its reports do not find it."""
    volume, source = scan
    objects = dicom_objects(made_of(source), reading_of(volume, bleeds=slice(2, 3), of=[ANY]))
    bleeds = objects["bleeds.dcm"]
    assert bleeds.NumberOfFrames == 1
    assert bleeds.PerFrameFunctionalGroupsSequence[0].SegmentIdentificationSequence[0].ReferencedSegmentNumber == 1
    referred = [one for one in objects["report.dcm"].iterall() if one.keyword == "ReferencedSegmentNumber"]
    assert [one.value for one in referred] == [1]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="needs dicom3tools")
@pytest.mark.parametrize("about", ["objects", "frames"])
def test_dicom3tools_find_no_error(about, request, tmp_path):
    for name, one in request.getfixturevalue(about).items():
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
