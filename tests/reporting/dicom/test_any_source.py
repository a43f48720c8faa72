"""Whatever a series holds: objects about it are written, have no error, and say what the model said."""

import json
import shutil
import subprocess
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ichformer import LABELS
from ichformer.ct.io.dicom.dicom_file import quiet_pydicom
from ichformer.ct.io.dicom.reader import read_series
from ichformer.ct.io.dicom.series import find_series
from ichformer.reporting.dicom.objects import as_files, dicom_objects
from ichformer.reporting.dicom.source import open_source
from tests.ct.builders import dataset, head_hu, tilted
from tests.ct.enhanced import PLANE, write_enhanced
from tests.reporting.dicom.readings import SIDE, SLICES, made_of, not_scored, reading_of

TEXTS = st.sampled_from(
    [None, "", "Doe^Jane", "Müller^Jürgen", "<script>alert(1)</script>", "x" * 70, "a\\b", "王^小東", "\n"]
)
DATES = st.sampled_from([None, "", "20240229", "2024-02-29", "someday", "00000000"])
UIDS = st.sampled_from([None, "1.2.840.1", "ID_0a1b", "1.02.3", "1." * 40 + "1"])


@st.composite
def headers(draw):
    """Tags of a series, some absent or illegal, and where its slices lie."""
    tags = {
        "PatientName": draw(TEXTS),
        "PatientID": draw(TEXTS),
        "PatientSex": draw(st.sampled_from([None, "", "F", "M", "O", "U", "female"])),
        "PatientBirthDate": draw(DATES),
        "StudyDate": draw(DATES),
        "StudyTime": draw(st.sampled_from([None, "", "101500", "10:15", "late"])),
        "StudyID": draw(TEXTS),
        "AccessionNumber": draw(TEXTS),
        "ReferringPhysicianName": draw(TEXTS),
        "StudyDescription": draw(TEXTS),
        "StudyInstanceUID": draw(UIDS),
        "FrameOfReferenceUID": draw(UIDS),
        "SliceThickness": draw(st.sampled_from([None, 5, 0])),
        "SpecificCharacterSet": draw(st.sampled_from([None, "ISO_IR 192", "ISO_IR 100"])),
    }
    steps_mm = draw(st.lists(st.sampled_from((2.5, 5.0, 10.0)), min_size=SLICES - 1, max_size=SLICES - 1))
    return tags, draw(UIDS), draw(st.sampled_from((0.0, 15.0, -22.0))), np.cumsum([0.0, *steps_mm])


def write_frames(file, given_headers) -> None:
    """The slices as frames of an enhanced CT, from superior to inferior."""
    tags, series_uid, tilt_deg, heights_mm = given_headers
    thickness = {} if tags["SliceThickness"] is None else {"SliceThickness": tags["SliceThickness"]}
    plane = PLANE | {
        "PlaneOrientationSequence": {"ImageOrientationPatient": [f"{v:.9f}" for v in tilted(tilt_deg)]},
        "PixelMeasuresSequence": {"PixelSpacing": [5.0, 5.0]} | thickness,
    }
    own = [{"PlanePositionSequence": {"ImagePositionPatient": [-80.0, -80.0, float(z)]}} for z in heights_mm[::-1]]
    stored = (head_hu(SLICES, SIDE)[::-1] + 1024).astype(np.int16)
    write_enhanced(file, stored, own, plane, **tags | {"SliceThickness": None, "SeriesInstanceUID": series_uid})


def check(folder, given_headers, is_scored: bool, is_enhanced: bool) -> None:
    tags, series_uid, tilt_deg, heights_mm = given_headers
    with quiet_pydicom():
        if is_enhanced:
            write_frames(folder / "e.dcm", given_headers)
        slices = [] if is_enhanced else zip(head_hu(SLICES, SIDE), heights_mm, strict=True)
        for s, (picture, z) in enumerate(slices):
            place = {
                "position_mm": (-80.0, -80.0, float(z)),
                "orientation": tilted(tilt_deg),
                "PixelSpacing": [5.0, 5.0],
            }
            made = dataset((picture + 1024).astype(np.int16), sop_uid=f"1.2.3.{s + 1}", **place, **tags)
            if series_uid is None:
                del made.SeriesInstanceUID
            else:
                made.SeriesInstanceUID = series_uid
            pydicom.dcmwrite(folder / f"{s}.dcm", made)
    (series,) = find_series(folder).series
    source = open_source(series)
    volume = read_series(series)
    reading = reading_of(volume) if is_scored else not_scored(volume)
    for name, data in as_files(dicom_objects(made_of(source), reading)).items():
        (folder / name).write_bytes(data)
        done = subprocess.run(
            ["dciodvfy", folder / name], capture_output=True, text=True, timeout=600, errors="replace"
        )
        assert [line for line in done.stderr.splitlines() if line.startswith("Error")] == [], (name, given_headers)
    read_by_others(folder / "report.dcm", is_scored=is_scored)
    content = hd.sr.Comprehensive3DSR.from_dataset(pydicom.dcmread(folder / "report.dcm")).content
    groups = {group.tracking_identifier: group for group in content.get_image_measurement_groups()}
    assert set(groups) == set(LABELS)
    scores = [one.value for one in groups["any"].get_measurements() if one.name.meaning == "Probability"]
    assert scores == ([0.95] if is_scored else [])


def read_by_others(report: Path, *, is_scored: bool) -> None:
    """DCMTK and dcmqi read the report without an error, where they are installed: both are for .ci/full."""
    if program := shutil.which("dsrdump"):
        done = subprocess.run([program, report], capture_output=True, text=True, timeout=600, errors="replace")
        assert done.returncode == 0, done.stderr
        assert not [line for line in done.stderr.splitlines() if line.startswith(("E:", "F:"))], done.stderr
        assert ("Probability" in done.stdout) == is_scored
    if program := shutil.which("tid1500reader"):
        found = report.with_suffix(".json")
        arguments = ["--inputDICOM", report, "--outputMetadata", found]
        subprocess.run([program, *arguments], check=True, capture_output=True, timeout=600)
        groups = json.loads(found.read_text(errors="replace"))["Measurements"]
        assert {group["TrackingIdentifier"] for group in groups} == set(LABELS)


EXAMPLES = [
    pytest.param(20, marks=pytest.mark.slow),
    pytest.param(500, marks=pytest.mark.full(minutes=30)),
]


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="needs dicom3tools")
@pytest.mark.parametrize("examples", EXAMPLES)
def test_dicom3tools_find_no_error_whatever_the_headers_hold(examples, tmp_path_factory) -> None:
    # Each example takes half a second, so that a failing one is not made smaller.
    phases = [Phase.explicit, Phase.reuse, Phase.generate]

    @settings(max_examples=examples, phases=phases, deadline=None, suppress_health_check=[*HealthCheck])
    @given(headers(), st.booleans(), st.booleans())
    def each(given_headers, is_scored, is_enhanced):
        check(tmp_path_factory.mktemp("series"), given_headers, is_scored, is_enhanced)

    each()
