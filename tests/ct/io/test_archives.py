import gc
import io
import re
import tarfile
import warnings
import zipfile

import numpy as np
import pydicom
import pytest
from pydicom.fileset import FileSet

from ichformer.ct.inspect import inspect_found
from ichformer.ct.io.archives import is_archive, list_archive, open_file
from ichformer.ct.io.dicom.dicom_file import quiet_pydicom
from ichformer.ct.io.dicom.series import find_series
from ichformer.ct.io.members import MAX_MEMBER_BYTES
from ichformer.ct.io.scans import find_scans, read_volume
from ichformer.errors import InputError
from tests.ct.builders import ramp, write_series


def pack(folder, archive) -> None:
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            for path in sorted(folder.rglob("*")):
                file.write(path, path.relative_to(folder))
    else:
        mode = {".tar": "w", ".gz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}[archive.suffix]
        with tarfile.open(archive, mode) as file:
            file.add(folder, ".")


@pytest.fixture
def study(tmp_path):
    write_series(tmp_path / "study" / "a", ramp(), ConvolutionKernel="H31s")
    write_series(tmp_path / "study" / "b", ramp(5), series_uid="1.2.4")
    (tmp_path / "study" / "notes.txt").write_text("nothing")
    return tmp_path / "study"


@pytest.mark.parametrize("name", ["s.zip", "s.tar", "s.tar.gz", "s.tar.bz2", "s.tar.xz", "no_suffix.zip"])
def test_an_archive_is_read_like_its_folder(study, tmp_path, name):
    archive = tmp_path / name
    pack(study, archive)
    if name.startswith("no_suffix"):
        archive = archive.rename(tmp_path / "no_suffix")
    plain, packed = inspect_found(find_scans(study)), inspect_found(find_scans(archive))
    for one, other in zip(plain["series"], packed["series"], strict=True):
        assert other.pop("path") == one.pop("path").replace(str(study), str(archive))
        assert one == other
    assert [file["reason"] for file in packed["set_aside"]] == [file["reason"] for file in plain["set_aside"]]
    np.testing.assert_array_equal(read_volume(archive / "a").hu, read_volume(study / "a").hu)


def test_a_part_of_an_archive_is_named_like_a_part_of_a_folder(study, tmp_path):
    pack(study, tmp_path / "s.zip")
    assert len(find_series(tmp_path / "s.zip" / "b").series[0].files) == 5
    with pytest.raises(InputError, match="holds nothing called c"):
        find_series(tmp_path / "s.zip" / "c")
    with pytest.raises(InputError, match="does not exist"):
        find_series(tmp_path / "t.zip" / "c")


def test_an_archive_in_a_folder_is_set_aside_and_named(study, tmp_path):
    pack(study / "a", study / "more.zip")
    reasons = {file.path.name: file.code for file in find_series(study).set_aside}
    assert reasons == {"more.zip": "archive", "notes.txt": "not_dicom"}


def test_names_that_lead_out_of_an_archive_are_never_followed(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("mine")
    archive = tmp_path / "evil.tar"
    with tarfile.open(archive, "w") as file:
        for name in ("../secret", "/etc/passwd", "a/../../secret"):
            member = tarfile.TarInfo(name)
            member.size = 4
            file.addfile(member, io.BytesIO(b"evil"))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        file.addfile(link)
    files, left_out = list_archive(archive)
    assert files == []
    assert [name for name, *_ in left_out] == ["../secret", "/etc/passwd", "a/../../secret", "link"]
    assert [file.code for file in find_series(archive).set_aside] == ["unsafe_name"] * 3 + ["broken_link"]
    with pytest.raises(InputError, match="no CT series among 4 files"):
        inspect_found(find_scans(archive))


@pytest.mark.slow
def test_a_bomb_is_refused_before_memory_is_taken(tmp_path):
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file, file.open("big.dcm", "w") as member:
        for _ in range(MAX_MEMBER_BYTES // (1 << 24) + 1):
            member.write(bytes(1 << 24))
    (aside,) = find_series(archive).set_aside
    assert aside.code == "unreadable"
    assert "bytes inside its archive" in aside.text


def test_broken_and_encrypted_archives_are_refused(study, tmp_path):
    pack(study, tmp_path / "s.tar.gz")
    whole = (tmp_path / "s.tar.gz").read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="the archive cannot be read"):
        find_series(tmp_path / "cut.tar.gz")
    pack(study, tmp_path / "s.zip")
    data = bytearray((tmp_path / "s.zip").read_bytes())
    for entry in re.finditer(rb"PK\x01\x02", bytes(data)):
        data[entry.start() + 8] |= 1  # every member says that it is encrypted
    (tmp_path / "locked.zip").write_bytes(data)
    codes = [file.code for file in find_series(tmp_path / "locked.zip").set_aside]
    assert set(codes) == {"unreadable"}
    (tmp_path / "head.gz").write_bytes(whole[:2] + b"no gzip")
    assert not is_archive(tmp_path / "head.gz")


def test_members_are_bytes_of_the_files(study, tmp_path):
    pack(study, tmp_path / "s.tar.xz")
    for file in list_archive(tmp_path / "s.tar.xz")[0]:
        with open_file(file) as packed:
            assert packed.read() == (study / file.relative_to(tmp_path / "s.tar.xz")).read_bytes()


@pytest.fixture
def disc(study, tmp_path):
    """A file set as pydicom writes it: DICOMDIR and files in folders of its own."""
    files = FileSet()
    for path in sorted(study.rglob("*.dcm")):
        dataset = pydicom.dcmread(path)
        dataset.PatientID, dataset.PatientName = "1", "None"
        dataset.StudyDate, dataset.StudyTime, dataset.StudyID = "20200101", "120000", "1"
        dataset.SeriesNumber, dataset.InstanceNumber = len(dataset.SeriesInstanceUID), 1
        files.add(dataset)
    files.write(tmp_path / "disc")
    with warnings.catch_warnings(action="ignore"):  # pydicom leaves its own temporary folder to the collector
        del files
        gc.collect()
    (tmp_path / "disc" / "STRAY").write_bytes((study / "a" / "000.dcm").read_bytes())
    return tmp_path / "disc"


def test_a_dicomdir_gives_the_files_that_it_lists(disc):
    found = find_series(disc / "DICOMDIR")
    assert sorted(len(series.files) for series in found.series) == [4, 5]
    assert all(file.name != "STRAY" for series in found.series for file in series.files)
    assert not found.set_aside


def test_a_dicomdir_whose_files_changed_case_or_are_gone(disc, tmp_path):
    names = sorted(path for path in disc.rglob("*") if path.is_file() and path.name not in ("DICOMDIR", "STRAY"))
    names[0].unlink()
    names[1].rename(names[1].with_name(names[1].name.lower()))
    found = find_series(disc / "DICOMDIR")
    assert sum(len(series.files) for series in found.series) == 8
    assert [file.code for file in found.set_aside] == ["missing_file"]


def test_a_dicomdir_cannot_lead_out_of_its_folder(disc, tmp_path):
    with quiet_pydicom():
        directory = pydicom.dcmread(disc / "DICOMDIR")
        for record in directory.DirectoryRecordSequence:
            if "ReferencedFileID" in record:
                record.ReferencedFileID = ["..", "study", "a", "000.dcm"]
        directory.save_as(disc / "DICOMDIR")
    found = find_series(disc / "DICOMDIR")
    assert not found.series
    assert {file.code for file in found.set_aside} == {"missing_file"}


def test_a_disc_in_an_archive(disc, tmp_path):
    pack(disc, tmp_path / "disc.zip")
    found = find_series(tmp_path / "disc.zip" / "DICOMDIR")
    assert sorted(len(series.files) for series in found.series) == [4, 5]


def test_philips_dicomdir(real_data):
    """The real disc's folders were moved when it was published, so all its files are missing: said, not followed."""
    found = [find_series(path) for path in sorted((real_data / "dcm_qa_ct" / "Philips").rglob("DICOMDIR"))]
    assert all(one.series or {file.code for file in one.set_aside} == {"missing_file"} for one in found)
