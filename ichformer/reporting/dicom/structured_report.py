"""What a model says of a scan as a structured report: Comprehensive 3D SR by template TID 1500 (PS3.16)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import highdicom as hd
import numpy as np
from highdicom.sr.utils import find_content_items
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from ichformer.lesions.measures import LabelMeasures
from ichformer.reporting.dicom.codes import ANYWHERE, SIDES, SITES, finding, own_code
from ichformer.reporting.dicom.content import measured_as, research_only, said_as, volume_as
from ichformer.reporting.dicom.made import Kind, Made
from ichformer.reporting.dicom.multi_frame import number_frames
from ichformer.reporting.scan.reading import Reading

_RAISED = own_code("raised", "Score reaches the frozen threshold")
_NOT_SCORED = own_code("not_scored", "Why no score is given")
_NOT_MEASURED = own_code("not_measured", "Why the midline shift was not measured")
_SHIFT = own_code("midline_shift", "Midline shift, positive to the left of the patient")
_LARGEST = own_code("largest_diameter", "Largest axial diameter of a bleed")
_FAMILIARITY = own_code("familiarity", "Validation scans that are more like the training")
_UNTRAINED = own_code("untrained", "The model was not trained for this label")
_NO_THRESHOLD = own_code("no_threshold", "No threshold was frozen for this label")


@dataclass(frozen=True, kw_only=True, eq=False)
class Reported:
    """What the report is made from.

    Attributes:
      made: what all objects have in common.
      reading: what the model said.
      slices_of: label -> slices of the source that it was found in, from 0.
      segments: the segmentation; None where nothing is segmented.
      segment_of: label -> number of its segment.
      others: the other objects about the scan, which the report lists as evidence.
    """

    made: Made
    reading: Reading
    slices_of: Mapping[str, Sequence[int]]
    segments: Dataset | None
    segment_of: Mapping[str, int]
    others: Sequence[Dataset]


def structured_report(reported: Reported) -> hd.sr.Comprehensive3DSR:
    """A group for the scan and each label (TID 1501), and one for each segment with its volume and side (TID 1411)."""
    made = reported.made
    content = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=made.device),
        procedure_reported=codes.LN.HeadCT,
        imaging_measurements=[*_of_scan(reported), *_of_segments(reported)],
        title=codes.DCM.ImagingMeasurementReport,
        referenced_images=[*made.source.slices],
    )
    (library,) = find_content_items(content[0], name=codes.DCM.ImageLibrary)
    number_frames(find_content_items(library, value_type="IMAGE", recursive=True), made.source.frames)
    return hd.sr.Comprehensive3DSR(
        evidence=[*made.source.images, *reported.others],
        content=content,
        is_complete=True,
        is_final=False,
        **made.arguments(Kind.REPORT),
    )


def _of_scan(reported: Reported) -> list[hd.sr.MeasurementsAndQualitativeEvaluations]:
    reading, made = reported.reading, reported.made
    groups = []
    scores = zip(reading.label_set.names, reading.scan_scores.tolist(), strict=True)
    for label, score in sorted(scores, key=lambda pair: pair[0] != reading.label_set.main):
        threshold = reading.thresholds.get(label)
        measured, said = [], [research_only()]
        if np.isnan(score):
            why = _UNTRAINED
            if reading.not_scored is not None:
                why = own_code(reading.not_scored.code, reading.not_scored.text)
            said.append(said_as(_NOT_SCORED, why))
        else:
            measured.append(measured_as(codes.DCM.Probability, score, codes.UCUM.NoUnits))
            if threshold is not None:
                measured.append(measured_as(codes.DCM.ThresholdValue, threshold, codes.UCUM.NoUnits))
            raised = _NO_THRESHOLD if threshold is None else codes.SCT.Yes if score >= threshold else codes.SCT.No
            said.append(said_as(_RAISED, raised))
        if label == reading.label_set.main:
            more = _about_scan(reading)
            measured, said = measured + more[0], said + more[1]
        images = [_source_image(made, s) for s in reported.slices_of.get(label, ())]
        groups.append(
            hd.sr.MeasurementsAndQualitativeEvaluations(
                tracking_identifier=_tracking(made, label),
                finding_type=finding(label),
                finding_sites=[hd.sr.FindingSite(SITES.get(label, ANYWHERE))],
                algorithm_id=_algorithm(reported),
                measurements=measured or None,
                qualitative_evaluations=said,
                source_images=images or None,
            )
        )
    return groups


def _about_scan(
    reading: Reading,
) -> tuple[list[hd.sr.Measurement], list[hd.sr.QualitativeEvaluation]]:
    """What belongs to no label: the shift of the midline, and how familiar the scan is."""
    measured, said = [], []
    if reading.familiarity is not None:
        measured.append(measured_as(_FAMILIARITY, reading.familiarity.percentile, codes.UCUM.Percent))
    if reading.lesions is not None:
        shift = reading.lesions.shift
        if shift.shift_mm is None:
            said.append(said_as(_NOT_MEASURED, own_code("no_midline", shift.reason or "no reason is known")))
        else:
            measured.append(measured_as(_SHIFT, shift.shift_mm, codes.UCUM.Millimeter))
    return measured, said


def _of_segments(reported: Reported) -> list[hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations]:
    reading, segments = reported.reading, reported.segments
    if reading.lesions is None or segments is None:
        return []
    return [
        hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=_tracking(reported.made, one.label),
            referenced_segment=_segment(segments, reported.segment_of[one.label]),
            finding_type=finding(one.label),
            finding_sites=[hd.sr.FindingSite(SITES.get(one.label, ANYWHERE), laterality=SIDES.get(one.side or ""))],
            algorithm_id=_algorithm(reported),
            measurements=_measures(one),
            qualitative_evaluations=[research_only()],
        )
        for one in reading.lesions.labels
        if one.label in reported.segment_of
    ]


def _source_image(made: Made, s: int) -> hd.sr.SourceImageForMeasurementGroup:
    frames = made.source.frames_at([s]) or None
    return hd.sr.SourceImageForMeasurementGroup.from_source_image(made.source.slices[s], frames)


def _segment(segments: Dataset, number: int) -> hd.sr.ReferencedSegment:
    """A segment with the slices where it lies; highdicom itself would name one frame of a multi-frame image alone."""
    images: dict[tuple[str, str], list[int]] = {}
    for groups in segments.PerFrameFunctionalGroupsSequence:
        if groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber == number:
            image = groups.DerivationImageSequence[0].SourceImageSequence[0]
            frames = images.setdefault((image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID), [])
            frames += [image.ReferencedFrameNumber] if "ReferencedFrameNumber" in image else []
    return hd.sr.ReferencedSegment(
        sop_class_uid=segments.SOPClassUID,
        sop_instance_uid=segments.SOPInstanceUID,
        segment_number=number,
        source_images=[hd.sr.SourceImageForSegmentation(*uids, frames or None) for uids, frames in images.items()],
    )


def _measures(one: LabelMeasures) -> list[hd.sr.Measurement]:
    found = volume_as(one)
    if one.lesions:
        largest = max(each.diameter_mm for each in one.lesions)
        found.append(measured_as(_LARGEST, largest, codes.UCUM.Millimeter))
    return found


def _tracking(made: Made, label: str) -> hd.sr.TrackingIdentifier:
    return hd.sr.TrackingIdentifier(uid=made.uid("tracking", label), identifier=label[:64])


def _algorithm(reported: Reported) -> hd.sr.AlgorithmIdentification:
    rule = reported.reading.threshold_rule
    return reported.made.identification([f"threshold: {rule}"] if rule else None)
