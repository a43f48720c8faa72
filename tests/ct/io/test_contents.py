"""What a path holds: symbolic and hard links, files of a Mac, formats that are not read, names that are no UTF-8."""

import errno
import gzip
import io
import os
import stat
import tarfile
import zipfile

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from ichformer.cohorts.folder.adapter import load
from ichformer.cohorts.index import read_index
from ichformer.cohorts.reading import places, read_place
from ichformer.cohorts.tables import write_table
from ichformer.ct.inspect import inspect_found
from ichformer.ct.io.contents import list_files
from ichformer.ct.io.scans import find_scans, read_volume
from ichformer.errors import InputError
from tests.ct.builders import head_hu, ramp, write_series

FORK = bytes.fromhex("0005160700020000") + b"Mac OS X        " + bytes(100)
HEAD = head_hu(4, 16)


def nifti(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(HEAD.T, np.diag([-0.5, -0.5, 5, 1])), path)
    return path


def asides(path) -> dict[str, str]:
    return {aside.path.name: aside.code for aside in find_scans(path).set_aside}


@pytest.fixture
def elsewhere(tmp_path):
    """Two patients outside the folder that is read."""
    for name in ("p1", "p2"):
        write_series(tmp_path / "elsewhere" / name, ramp(), series_uid=f"1.{name[1]}")
    (tmp_path / "in").mkdir()
    return tmp_path / "elsewhere"


def test_links_to_folders_and_files_are_followed_once(tmp_path, elsewhere):
    inside = tmp_path / "in"
    write_series(inside / "p0", ramp(), series_uid="1.0")
    for name in ("p1", "p2"):
        (inside / name).symlink_to(elsewhere / name)
    (inside / "again").symlink_to(elsewhere)
    (inside / "p3").symlink_to(inside / "p0")
    (inside / "slice.dcm").symlink_to(elsewhere / "p1" / "000.dcm")
    found = find_scans(inside)
    assert sorted((series.uid, len(series.files)) for series in found.series) == [("1.0", 4), ("1.1", 4), ("1.2", 4)]
    assert inside / "p0" in {series.path for series in found.series}  # by its own name, not by a link's
    assert not found.set_aside


@pytest.mark.parametrize("target", [".", "..", "../..", "loop"])
def test_links_that_lead_in_a_circle_are_cut_and_said(tmp_path, elsewhere, target):
    inside = tmp_path / "in"
    (inside / "p1").symlink_to(elsewhere / "p1")
    (inside / "loop").symlink_to(target, target_is_directory=True)
    found = find_scans(inside)
    assert [len(series.files) for series in found.series] == [4]
    assert asides(inside) == {"loop": "broken_link" if target == "loop" else "link_loop"}


def test_links_in_a_circle_outside_are_cut(tmp_path, elsewhere):
    (elsewhere / "p1" / "back").symlink_to(elsewhere)
    (tmp_path / "in" / "all").symlink_to(elsewhere)
    files, left_out = list_files(tmp_path / "in")
    assert len(files) == 8
    assert not left_out


def test_links_to_nothing_and_folders_that_cannot_be_opened_are_said(tmp_path, elsewhere, monkeypatch):
    (elsewhere / "gone.dcm").symlink_to(tmp_path / "nowhere")
    (elsewhere / "locked").mkdir()
    whole = os.scandir

    def scandir(folder):
        if str(folder).endswith("locked"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return whole(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    assert asides(elsewhere) == {"gone.dcm": "broken_link", "locked": "unreadable"}


def pack(source, archive, links):
    """A tar or zip of a folder, and ``links``: name -> (kind, target)."""
    if archive.suffix == ".tar":
        with tarfile.open(archive, "w") as file:
            file.add(source, "s")
            for name, (kind, target) in links.items():
                info = tarfile.TarInfo(name)
                info.type, info.linkname = kind, target
                file.addfile(info)
    else:
        with zipfile.ZipFile(archive, "w") as file:
            for path in sorted(source.iterdir()):
                file.write(path, f"s/{path.name}")
            for name, (_, target) in links.items():
                info = zipfile.ZipInfo(name)
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
                file.writestr(info, target)


@pytest.mark.parametrize(
    ("suffix", "kind", "up"), [("tar", tarfile.LNKTYPE, ""), ("tar", tarfile.SYMTYPE, "../"), ("zip", None, "../")]
)
def test_links_inside_archives_are_followed_or_said(tmp_path, elsewhere, suffix, kind, up):
    archive = tmp_path / f"a.{suffix}"
    links = {f"t/{i}.dcm": (kind, f"{up}s/{i:03d}.dcm") for i in range(4)}
    links |= {"t/gone.dcm": (kind, f"{up}s/9.dcm"), "t/out.dcm": (kind, "../../elsewhere/p1/000.dcm")}
    pack(elsewhere / "p1", archive, links)
    np.testing.assert_array_equal(read_volume(archive / "t").hu, ramp() - 1024)
    assert [aside.code for aside in find_scans(archive).set_aside] == ["broken_link"] * 2


@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz"])
def test_nifti_and_pictures_in_archives_are_read(tmp_path, suffix):
    scan = nifti(tmp_path / "in" / "case" / "CT.nii.gz")
    (scan.parent / "._CT.nii.gz").write_bytes(FORK)
    Image.fromarray(np.full((64, 64), 90, np.uint8)).save(tmp_path / "in" / "p.png")
    archive = tmp_path / f"data.{suffix}"
    if suffix == "zip":
        with zipfile.ZipFile(archive, "w") as file:
            for path in sorted((tmp_path / "in").rglob("*.*")):
                file.write(path, path.relative_to(tmp_path / "in"))
    else:
        with tarfile.open(archive, "w:gz" if suffix.endswith("gz") else "w") as file:
            file.add(tmp_path / "in", ".")
    found = find_scans(archive)
    np.testing.assert_array_equal(read_volume(found.series[0]).hu, HEAD)
    np.testing.assert_array_equal(read_volume(archive / "case" / "CT.nii.gz").hu, HEAD)
    assert read_volume(found.series[1]).hu.shape == (1, 64, 64)
    assert [aside.code for aside in found.set_aside] == ["resource_fork"]


def test_what_a_mac_leaves_beside_files_is_set_aside(tmp_path):
    nifti(tmp_path / "a" / "ct.nii.gz")
    (tmp_path / "a" / "._ct.nii.gz").write_bytes(FORK)
    (tmp_path / "a" / "._ct.png").write_bytes(FORK)
    (tmp_path / "a" / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    assert asides(tmp_path) == {"._ct.nii.gz": "resource_fork", "._ct.png": "resource_fork", ".DS_Store": "not_dicom"}
    assert len(load(tmp_path, cache=tmp_path).index) == 1


def test_names_that_begin_with_a_dot_are_read_in_archives(tmp_path):
    write_series(tmp_path / "s", ramp())
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for path in sorted((tmp_path / "s").iterdir()):
            file.write(path, f".hidden/.{path.name}")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.zip" / ".hidden").hu, ramp() - 1024)


def test_a_broken_file_does_not_stop_the_others_of_a_folder(tmp_path):
    path = nifti(tmp_path / "b" / "ct.nii.gz")
    path.write_bytes(path.read_bytes()[:-40])
    nifti(tmp_path / "c" / "ct.nii.gz").write_bytes(b"\x1f\x8b\x08\0" + b"\xff" * 500)
    nifti(tmp_path / "a" / "ct.nii.gz")
    whole, *broken = places(load(tmp_path, cache=tmp_path).index)
    np.testing.assert_array_equal(read_place(whole).hu, HEAD)
    for place in broken:
        with pytest.raises(InputError, match="cannot be read"):
            read_place(place)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("ct.mha", b"ObjectType = Image\nNDims = 3\n", "a MetaImage file: convert it to NIfTI"),
        ("ct.nrrd", b"NRRD0004\n", "an NRRD file: convert it to NIfTI"),
        ("CT.NRRD", b"cut", "an NRRD file"),
        ("ct", b"NRRD0005\n", "an NRRD file"),
        ("ct.mgz", gzip.compress(bytes(400), mtime=0), "a FreeSurfer file: convert it to NIfTI with mri_convert"),
        ("ct.npy", b"\x93NUMPY\1\0", "a NumPy file, which has no geometry"),
        ("ct.hdr", (348).to_bytes(4, "little") + bytes(344), "one half of a .hdr and .img pair"),
        ("IM1.dcm.gz", gzip.compress(bytes(128) + b"DICM" + bytes(400), mtime=0), "a packed file"),
        ("ct.rar", b"Rar!\x1a\x07", "a RAR archive: unpack it"),
        ("p.webp", b"RIFF", "a picture in a format that is not read: save it as PNG"),
        ("p.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "a picture in a format that is not read"),
        ("broken.nii.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + b"\xff" * 99, "cannot be read as NIfTI"),
        ("broken.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + b"\xff" * 99, "damaged: copy it again"),
    ],
)
def test_other_formats_are_refused_in_one_line_that_says_what_to_do(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(InputError, match=words):
            inspect_found(find_scans(path))


def test_misnamed_files_are_read_as_what_they_are(tmp_path):
    write_series(tmp_path / "d", ramp(), names=[f"{i}.nii" for i in range(4)])
    np.testing.assert_array_equal(read_volume(tmp_path / "d").hu, ramp() - 1024)
    nifti(tmp_path / "n" / "a.nii").rename(tmp_path / "n" / "a.png")
    np.testing.assert_array_equal(read_volume(tmp_path / "n").hu, HEAD)
    (tmp_path / "p").mkdir()
    Image.fromarray(np.full((64, 64), 90, np.uint8)).save(tmp_path / "p" / "a", "PNG")
    assert read_volume(tmp_path / "p" / "a").hu.shape == (1, 64, 64)


def test_archives_in_archives_are_said(tmp_path):
    write_series(tmp_path / "s", ramp())
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as file:
        file.write(tmp_path / "s" / "000.dcm", "0.dcm")
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w:gz") as file:
        file.add(tmp_path / "s", "s")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as file:
        file.writestr("patient0.zip", inner.getvalue())
        file.writestr("patient1.tgz", tar.getvalue())
    assert asides(tmp_path / "all.zip") == {"patient0.zip": "archive", "patient1.tgz": "archive"}
    with pytest.raises(InputError, match="an archive inside an archive: unpack the outer one"):
        inspect_found(find_scans(tmp_path / "all.zip"))


@pytest.mark.parametrize("kind", ["dicom", "dicom without UIDs", "NIfTI", "pictures"])
def test_file_names_that_are_no_utf_8_are_found_again_through_an_index(tmp_path, kind):
    folder = tmp_path / os.fsdecode(b"Sch\xe4del")
    name = os.fsdecode(b"\xe4")
    if kind == "NIfTI":
        nifti(folder / f"{name}.nii.gz")
    elif kind == "pictures":
        folder.mkdir()
        Image.fromarray(np.full((64, 64), 90, np.uint8)).save(folder / f"{name}.png")
    else:
        uids = {"SOPInstanceUID": None} if kind.endswith("UIDs") else {}
        write_series(folder, ramp(), names=[f"{name}{i}" for i in range(4)], **uids)
    expected = read_volume(folder)
    write_table(load(tmp_path, cache=tmp_path).index, tmp_path / "index.csv")
    (place,) = places(read_index(tmp_path / "index.csv"))
    volume = read_place(place)
    np.testing.assert_array_equal(volume.hu, expected.hu)
    assert volume.source == expected.source
    "".join(volume.source).encode()


def test_a_path_of_a_thousand_characters(tmp_path):
    folder = tmp_path.joinpath(*(f"CT 头部 100% #🧠 {'x' * 60}{i}" for i in range(12)))
    write_series(folder, ramp())
    np.testing.assert_array_equal(read_volume(tmp_path).hu, ramp() - 1024)
