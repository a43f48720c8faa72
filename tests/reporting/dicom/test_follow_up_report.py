"""The structured report of a follow-up, read again by highdicom."""

import io

import highdicom as hd
import numpy as np
import pydicom
import pytest

from ichformer.ct.io.dicom.series import find_series
from ichformer.reporting.dicom.follow_up_report import follow_up_report
from ichformer.reporting.dicom.objects import as_files
from ichformer.reporting.dicom.source import open_source
from tests.ct.builders import head_hu, write_series
from tests.reporting.dicom.readings import SIDE, SLICES, made_of
from tests.reporting.follow_ups import compared_of


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> pydicom.Dataset:
    stored = (head_hu(SLICES, SIDE) + 1024).astype(np.int16)
    sources = []
    for study in ("1.2.3.8", "1.2.3.9"):
        folder = tmp_path_factory.mktemp("series")
        tags = {"PixelSpacing": [5.0, 5.0], "PatientName": "Doe^Jane", "PatientID": "7"}
        write_series(folder, stored, series_uid=f"{study}.1", StudyInstanceUID=study, **tags)
        (series,) = find_series(folder).series
        sources.append(open_source(series))
    made = follow_up_report(made_of(sources[0]), made_of(sources[1]), compared_of())
    return pydicom.dcmread(io.BytesIO(as_files({"follow_up.dcm": made})["follow_up.dcm"]))


def test_it_belongs_to_the_later_study_and_refers_to_both(report):
    assert (report.StudyInstanceUID, report.PatientID) == ("1.2.3.9", "7")
    (current,), (other,) = report.CurrentRequestedProcedureEvidenceSequence, report.PertinentOtherEvidenceSequence
    assert (current.StudyInstanceUID, other.StudyInstanceUID) == ("1.2.3.9", "1.2.3.8")
    for study in (current, other):
        assert len(study.ReferencedSeriesSequence[0].ReferencedSOPSequence) == SLICES


def test_it_has_the_volumes_at_both_times_the_growth_and_every_bleed(report):
    groups = {
        group.tracking_identifier: group
        for group in hd.sr.Comprehensive3DSR.from_dataset(report).content.get_image_measurement_groups()
    }
    values = {name: {one.name.meaning: one.value for one in group.get_measurements()} for name, group in groups.items()}
    said = {
        name: {one.name.meaning: one.value.meaning for one in group.get_qualitative_evaluations()}
        for name, group in groups.items()
    }
    volumes = [values[f"subdural, {which}"]["Volume"] for which in ("earlier", "later")]
    growth = values["subdural, growth"]
    assert growth["Growth of the volume between two scans"] == pytest.approx(volumes[1] - volumes[0], abs=1e-4)
    assert growth["Time between the scans"] == 20.5
    low, high = (growth[f"{end} end of the interval of the growth"] for end in ("Low", "High"))
    assert low < growth["Growth of the volume between two scans"] < high
    assert said["bleed 1"]["What became of a bleed between two scans"] == "in both scans"
    assert said["bleed 2"]["What became of a bleed between two scans"] == "new"
    assert all("Research use only. Not for diagnosis." in one.values() for one in said.values())
