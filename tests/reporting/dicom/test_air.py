"""The clauses of IHE AI Results that docs/ihe-air.md lists, each on the objects of one small scan."""

import io
import re
from collections import Counter
from pathlib import Path

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
from ichformer.reporting.dicom.codes import SCHEME
from ichformer.reporting.dicom.objects import as_files, dicom_objects
from ichformer.reporting.dicom.source import open_source
from tests.reporting.dicom.readings import ORDER, made_of, not_scored, reading_of, write_one

PAGE = Path(__file__).parents[3] / "docs" / "ihe-air.md"
AIR_CLASSES = {
    "report.dcm": pydicom.uid.Comprehensive3DSRStorage,
    "bleeds.dcm": pydicom.uid.SegmentationStorage,
    "probabilities.dcm": pydicom.uid.SegmentationStorage,
    "explanation.dcm": pydicom.uid.ParametricMapStorage,
    "key_images.dcm": pydicom.uid.KeyObjectSelectionDocumentStorage,
}
IMAGES = ("bleeds.dcm", "probabilities.dcm", "explanation.dcm")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("enhanced")
    write_one(folder, is_enhanced=True)
    (series,) = find_series(folder).series
    return read_series(series), open_source(series)


@pytest.fixture(scope="module")
def objects(source):
    files = as_files(dicom_objects(made_of(source[1]), reading_of(source[0])))
    return {name: pydicom.dcmread(io.BytesIO(data)) for name, data in files.items()}


@pytest.fixture(scope="module")
def content(objects):
    return hd.sr.Comprehensive3DSR.from_dataset(objects["report.dcm"]).content


@pytest.fixture(scope="module")
def groups(content):
    """The groups of the scan by label (TID 1501), and those of segments (TID 1411)."""
    scan = {one.tracking_identifier: one for one in content.get_image_measurement_groups()}
    return scan, {one.tracking_identifier: one for one in content.get_volumetric_roi_measurement_groups()}


def said_of(group) -> dict[str, str]:
    return {one.name.meaning: one.value.meaning for one in group.get_qualitative_evaluations()}


def code_of(item: pydicom.Dataset) -> tuple[str, str]:
    return item.CodeValue, item.CodingSchemeDesignator


def test_each_kind_of_result_has_its_object(objects):
    assert {name: objects[name].SOPClassUID for name in AIR_CLASSES} == AIR_CLASSES


def test_results_belong_to_the_study_and_each_kind_to_a_series_of_its_own(objects, source):
    first = source[1].slices[0]
    for one in objects.values():
        assert (one.StudyInstanceUID, one.PatientID) == (first.StudyInstanceUID, first.PatientID)
        assert one.SeriesInstanceUID != first.SeriesInstanceUID
    by_series = {(one.SeriesInstanceUID, one.Modality, one.SeriesDescription) for one in objects.values()}
    assert len({uid for uid, _, _ in by_series}) == len(by_series)


def test_series_say_what_they_hold(objects):
    said = {name: one.SeriesDescription for name, one in objects.items()}
    assert said["bleeds.dcm"] == "ichformer bleeds, research use only"
    assert len({said[name] for name in AIR_CLASSES}) == len(AIR_CLASSES)


def test_every_object_names_the_model_as_contributing_equipment(objects):
    uids = set()
    for one in objects.values():
        model = one.ContributingEquipmentSequence[0]
        assert code_of(model.PurposeOfReferenceCodeSequence[0]) == ("109102", "DCM")
        assert (model.Manufacturer, model.ManufacturerModelName) == ("ichformer", "hybrid_nano")
        assert model.SoftwareVersions
        uids.add(model.DeviceUID)
    assert len(uids) == 1


def test_the_device_changes_with_the_parameters_of_the_model(source):
    made = made_of(source[1])
    other = type(made)(source=source[1], made_from="ab12", model="hybrid_nano", fingerprint="other")
    assert made.device_uid != other.device_uid
    assert made.contributor.DeviceUID == made.device_uid


def test_the_observer_is_the_device_that_contributed(objects, content):
    (uid,) = find_content_items(content[0], name=codes.DCM.DeviceObserverUID, recursive=True)
    assert objects["report.dcm"].ContributingEquipmentSequence[0].DeviceUID == uid.UID


def test_the_procedure_reported_is_that_of_the_scan(content):
    (procedure,) = find_content_items(content[0], name=codes.DCM.ProcedureReported)
    assert code_of(procedure.ConceptCodeSequence[0]) == (codes.LN.HeadCT.value, "LN")


def test_nobody_has_verified_the_report(objects):
    report = objects["report.dcm"]
    assert (report.VerificationFlag, report.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    assert objects["explanation.dcm"].ContentQualification == "RESEARCH"


def test_the_root_is_a_measurement_report(objects):
    report = objects["report.dcm"]
    template = report.ContentTemplateSequence[0]
    assert (template.MappingResource, template.TemplateIdentifier) == ("DCMR", "1500")


def test_the_report_lists_all_results_and_all_images(objects, source):
    (study,) = objects["report.dcm"].CurrentRequestedProcedureEvidenceSequence
    series = study.ReferencedSeriesSequence
    named = Counter(image.ReferencedSOPInstanceUID for one in series for image in one.ReferencedSOPSequence)
    others = [one.SOPInstanceUID for name, one in objects.items() if name != "report.dcm"]
    assert named == Counter([source[1].images[0].SOPInstanceUID, *others])


def test_qualitative_findings_are_coded(groups):
    for label, group in groups[0].items():
        assert group.finding_type.scheme_designator in ("SCT", SCHEME)
        assert len(group.finding_sites) == 1
        assert "Score reaches the frozen threshold" in said_of(group), label


def test_measurements_have_a_name_a_number_and_a_unit(groups):
    units = {}
    for group in [*groups[0].values(), *groups[1].values()]:
        for one in group.get_measurements():
            assert np.isfinite(one.value)
            units[one.name.meaning] = one.unit.value
    assert units["Probability"] == "1"
    assert units["Volume"] == "ml"
    assert units["Largest axial diameter of a bleed"] == "mm"


def test_regions_are_segments_that_measurements_name(objects, groups):
    bleeds = objects["bleeds.dcm"]
    numbers = {one.TrackingID: one.SegmentNumber for one in bleeds.SegmentSequence}
    assert set(groups[1]) == set(numbers) == {"any", "subdural"}
    for label, group in groups[1].items():
        (item,) = find_content_items(group[0], name=codes.DCM.ReferencedSegment, value_type="IMAGE")
        (region,) = item.ReferencedSOPSequence
        named = (region.ReferencedSOPInstanceUID, region.ReferencedSegmentNumber)
        assert named == (bleeds.SOPInstanceUID, numbers[label])


def test_segments_say_what_they_are_and_what_drew_them(objects):
    for name in ("bleeds.dcm", "probabilities.dcm"):
        for segment in objects[name].SegmentSequence:
            assert segment.SegmentAlgorithmType == "AUTOMATIC"
            (algorithm,) = segment.SegmentationAlgorithmIdentificationSequence
            assert (algorithm.AlgorithmName, algorithm.AlgorithmSource) == ("hybrid_nano", "ichformer")
            assert segment.AnatomicRegionSequence
            assert segment.SegmentedPropertyTypeCodeSequence


def test_maps_and_segments_lie_on_the_pixels_of_the_scan(objects, source):
    first = source[1].slices[0]
    for name in IMAGES:
        one = objects[name]
        assert one.FrameOfReferenceUID == first.FrameOfReferenceUID
        assert (one.Rows, one.Columns) == (first.Rows, first.Columns)
        shared = one.SharedFunctionalGroupsSequence[0]
        assert [float(mm) for mm in shared.PixelMeasuresSequence[0].PixelSpacing] == [5.0, 5.0]


def test_results_refer_to_the_frames_of_an_enhanced_scan(objects):
    for name in IMAGES:
        for group in objects[name].PerFrameFunctionalGroupsSequence:
            image = group.DerivationImageSequence[0].SourceImageSequence[0]
            z = float(group.PlanePositionSequence[0].ImagePositionPatient[2])
            assert z == 5.0 * ORDER[image.ReferencedFrameNumber - 1]


def test_a_parametric_map_says_what_its_values_mean(objects):
    shared = objects["explanation.dcm"].SharedFunctionalGroupsSequence[0]
    (mapping,) = shared.RealWorldValueMappingSequence
    assert code_of(mapping.MeasurementUnitsCodeSequence[0]) == ("1", "UCUM")
    (quantity,) = mapping.QuantityDefinitionSequence
    assert code_of(quantity.ConceptCodeSequence[0]) == ("explanation", SCHEME)
    assert (mapping.DoubleFloatRealWorldValueFirstValueMapped, mapping.RealWorldValueSlope) == (0.0, 1.0)


def test_what_is_said_of_one_thing_has_one_tracking_uid(objects, groups):
    segments = {one.TrackingID: one.TrackingUID for one in objects["bleeds.dcm"].SegmentSequence}
    for label, uid in segments.items():
        assert groups[0][label].tracking_uid == groups[1][label].tracking_uid == uid
    uids = [group.tracking_uid for group in groups[0].values()]
    assert len(set(uids)) == len(uids)


def test_each_group_names_the_algorithm_and_its_version(groups):
    for group in [*groups[0].values(), *groups[1].values()]:
        items = {one.ConceptNameCodeSequence[0].CodeMeaning: one for one in group[0].ContentSequence}
        assert items["Algorithm Name"].TextValue == "hybrid_nano"
        assert "c0ffee" in items["Algorithm Version"].TextValue
        assert items["Algorithm Parameters"].TextValue.startswith("threshold: ")


def test_a_finding_names_the_images_that_show_it(groups):
    for label, group in groups[0].items():
        images = group.source_images
        assert len(images) == {"any": 2, "subdural": 1}.get(label, 0), label
        assert all(len(one.referenced_frame_numbers) == 1 for one in images)


def test_key_images_are_selected_with_a_reason(objects):
    key = objects["key_images.dcm"]
    assert code_of(key.ConceptNameCodeSequence[0]) == (codes.DCM.OfInterest.value, "DCM")
    images = [one for one in key.ContentSequence if one.ValueType == "IMAGE"]
    assert len(images) == 2
    said = [one.TextValue for one in key.ContentSequence if one.ValueType == "TEXT"]
    assert any(text.startswith("Slices with the highest scores of any.") for text in said)


def test_a_score_says_how_sure_the_model_is(groups):
    for group in groups[0].values():
        (score,) = (one.value for one in group.get_measurements() if one.name == codes.DCM.Probability)
        assert 0 <= score <= 1


def test_no_finding_is_said_and_not_left_out(groups):
    assert set(groups[0]) == set(LABELS)
    assert said_of(groups[0]["epidural"])["Score reaches the frozen threshold"] == "No"


@pytest.mark.slow
def test_a_scan_that_was_not_analysed_says_why(source):
    found = dicom_objects(made_of(source[1]), not_scored(source[0]))
    content = hd.sr.Comprehensive3DSR.from_dataset(found["report.dcm"]).content
    for group in content.get_image_measurement_groups():
        assert said_of(group)["Why no score is given"] == NO_BRAIN.text
        assert codes.DCM.Probability not in [one.name for one in group.get_measurements()]


def test_codes_of_our_own_are_introduced(objects):
    for one in objects.values():
        used = {item.value for item in one.iterall() if item.keyword == "CodingSchemeDesignator"}
        introduced = {item.CodingSchemeDesignator for item in one.CodingSchemeIdentificationSequence}
        assert {scheme for scheme in used if scheme.startswith("99")} <= introduced


def test_uids_are_new_for_new_results_and_the_same_for_the_same(objects, source):
    def uids(made_from: str) -> set[str]:
        made = type(base)(source=source[1], made_from=made_from, model=base.model, fingerprint=base.fingerprint)
        return {made.uid("REPORT", 1), made.uid("REPORT", "series")}

    base = made_of(source[1])
    assert uids("ab12") == {objects["report.dcm"].SOPInstanceUID, objects["report.dcm"].SeriesInstanceUID}
    assert not uids("ab12") & uids("cd34")
    assert len({one.SOPInstanceUID for one in objects.values()}) == len(objects)


def test_the_page_names_every_test_of_this_file_and_no_other():
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    named = [name for row in rows for name in re.findall(r"`(test_\w+)`", row[-1])]
    assert {*named, "test_the_page_names_every_test_of_this_file_and_no_other"} == {
        name for name in globals() if name.startswith("test_")
    }
    for row in rows:
        assert row[1] in ("met", "partly", "not met", "not used"), row
        assert ("`test_" in row[-1]) == (row[1] in ("met", "partly")), row
