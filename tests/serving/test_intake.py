"""What comes is on the disk and in the queue, or refused; no name of it leads anywhere."""

from contextlib import closing

import pytest

from ichformer.serving.queue.keeping import is_kept
from ichformer.serving.queue.scoring import claim, not_scored
from ichformer.serving.settings import StudySettings
from tests.serving.studies import Parts, study

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
WHEN = StudySettings(quiet_s=1e-3, cut_short_s=1e-3)


@pytest.fixture
def parts(tmp_path):
    with closing(Parts(tmp_path / "node")) as made:
        yield made


def test_an_image_comes_once(parts):
    image = study()[0]
    assert [parts.take(image), parts.take(image)] == ["new", "known"]
    assert len(parts.files()) == 1
    image.SeriesDescription = "changed"
    assert parts.take(image) == "other"
    assert len(parts.files()) == 1


@pytest.mark.parametrize(
    "uid", ["../../../etc/passwd", "/etc/passwd", "..", "1.2/3", "a\\b", "<script>alert(1)</script>", "ID_0a1b2c"]
)
def test_a_uid_is_no_path(parts, uid):
    image = study(StudyInstanceUID=uid)[0]
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = uid
    assert parts.take(image) == "new"
    (file,) = parts.files()
    assert len(file) == 24 + len(".dcm")
    names = {one.name for one in parts.folder.path.iterdir()}
    assert names >= {"images", "results"}
    assert uid not in " ".join(str(one) for one in parts.folder.path.rglob("*"))


@pytest.mark.parametrize("data", [b"", b"DICM", b"\x00" * 128 + b"DICM", b"PK\x03\x04" + b"\x00" * 500, b"\xff" * 5000])
def test_bytes_that_are_no_image_are_refused(parts, data):
    assert parts.take(data) == "unreadable"
    assert not parts.files()


@pytest.mark.parametrize(
    "tags", [{"StudyInstanceUID": None}, {"StudyInstanceUID": ""}, {"StudyInstanceUID": "1" * 10_000}]
)
def test_an_image_without_a_usable_uid_is_refused(parts, tags):
    assert parts.take(study(**tags)[0]) == "unreadable"


def test_an_image_that_is_not_the_announced_one_is_refused(parts):
    assert parts.take(study()[0], sop_uid="1.2.3.4") == "another"
    assert not parts.files()


def test_a_long_name_and_markup_are_taken_as_they_are(parts):
    assert parts.take(study(PatientName="<script>" + "x" * 10_000)[0]) == "new"


def test_what_is_refused_leaves_nothing(parts):
    object.__setattr__(parts.limits, "study_instances", 1)
    first, second, *_ = study()
    assert [parts.take(first), parts.take(second)] == ["new", "study_full"]
    assert len(parts.files()) == 1
    assert not [*parts.folder.temporary.iterdir()]


def test_nothing_is_taken_where_the_disk_is_full(parts):
    object.__setattr__(parts.limits, "free_disk_mb", 10**9)
    assert parts.take(study()[0]) == "disk_full"
    assert not parts.files()


def test_files_of_ended_studies_are_deleted_and_strays_too(parts):
    parts.take(study(1)[0])
    parts.take(study(2)[0])
    of = claim(parts.queue, at=1e12, when=WHEN)
    not_scored(parts.queue, of, "unreadable", at=10)
    assert parts.intake.delete_ended(before=9) == []
    assert parts.intake.delete_ended(before=11) == [of.study]
    assert len(parts.files()) == 1
    assert not is_kept(parts.queue, of.study)
    stray = parts.folder.images("f" * 24)
    stray.mkdir()
    parts.intake.delete_strays()
    assert not stray.exists()
    assert len(parts.files()) == 1


def test_nobody_else_may_read_what_came(parts):
    parts.take(study()[0])
    for one in ("images", "results", "temporary"):
        assert (parts.folder.path / one).stat().st_mode & 0o077 == 0
    for one in ("queue.sqlite", "queue.sqlite-wal", "secret.key", "audit.jsonl"):
        assert (parts.folder.path / one).stat().st_mode & 0o077 == 0


def test_the_queue_knows_nobody(parts):
    images = study(7, AccessionNumber="ACC-4711", StudyDate="20260102")
    for image in images:
        parts.take(image)
    parts.queue.close()
    data = b"".join(file.read_bytes() for file in parts.folder.path.glob("queue.sqlite*"))
    data += parts.folder.audit_log.read_bytes()
    for said in ("Doe", "patient-7", "1.2.826.0.1.7", "ACC-4711", "20260102"):
        assert said.encode() not in data
