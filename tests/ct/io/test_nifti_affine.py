"""sform, qform and pixdim that say different things; numbers that no scan of a head has; slices along another axis."""

import gzip

import nibabel as nib
import numpy as np
import pytest

from ichformer.ct.io.nifti import open_nifti, read_nifti
from ichformer.errors import InputError
from tests.ct.builders import head_hu

RAS = np.diag([-0.5, -0.6, 5.0, 1.0])
HEAD = head_hu(4, 16)


def write(path, *, sform=None, qform=None, pixdim=None, **header):
    """A scan whose header says what is given and leaves the rest unset."""
    image = nib.Nifti1Image(HEAD.T, None)
    image.header.set_sform(sform, 1 if sform is not None else 0)
    image.header.set_qform(qform, 1 if qform is not None else 0)
    if pixdim is not None:
        image.header["pixdim"][1:4] = pixdim
    image.header.set_xyzt_units("mm")
    image.header["vox_offset"] = 352
    for name, value in header.items():
        image.header[name] = value
    path.write_bytes(image.header.binaryblock + bytes(4) + HEAD.tobytes())
    return path


def scaled(*factors):
    return RAS @ np.diag([*factors, 1.0])


def noted(volume) -> dict[str, str]:
    return {note.code: note.text for note in volume.audit.notes}


def test_an_sform_of_unit_length_gives_way_to_pixdim_and_qform(tmp_path):
    unit = np.diag([-1.0, -1.0, 1.0, 1.0])
    volume = read_nifti(write(tmp_path / "a.nii", sform=unit, qform=RAS))
    assert volume.spacing_mm == pytest.approx((5, 0.6, 0.5))
    assert "qform taken" in noted(volume)["affines_differ"]
    volume = read_nifti(write(tmp_path / "b.nii", sform=unit, pixdim=(0.5, 0.6, 5)))
    assert volume.spacing_mm == pytest.approx((5, 0.6, 0.5))
    assert "lengths of pixdim taken" in noted(volume)["affines_differ"]
    np.testing.assert_array_equal(volume.hu, HEAD)


def test_a_pixdim_of_one_gives_way_to_the_sform(tmp_path):
    volume = read_nifti(write(tmp_path / "a.nii", sform=RAS, pixdim=(1, 1, 1)))
    assert volume.spacing_mm == pytest.approx((5, 0.6, 0.5))
    assert "pixdim 1 x 1 x 1: sform taken" in noted(volume)["affines_differ"]


@pytest.mark.parametrize("factors", [(1, 1, 2), (2, 2, 1), (0.5, 0.5, 0.5), (1, 1, 10)])
def test_lengths_that_contradict_each_other_are_refused(tmp_path, factors):
    with pytest.raises(InputError, match=r"sform says .* between voxels, pixdim .* which is right is not known"):
        read_nifti(write(tmp_path / "a.nii", sform=scaled(*factors), qform=RAS))
    with pytest.raises(InputError, match="which is right is not known"):
        read_nifti(write(tmp_path / "b.nii", sform=scaled(*factors), pixdim=(0.5, 0.6, 5)))


def test_affines_that_mirror_each_other_are_refused(tmp_path):
    with pytest.raises(InputError, match="mirror each other"):
        read_nifti(write(tmp_path / "a.nii", sform=scaled(-1, 1, 1), qform=RAS))


def test_an_sform_that_is_no_number_gives_way_to_the_qform(tmp_path):
    path = write(tmp_path / "a.nii", sform=RAS, qform=RAS, srow_x=[np.nan] * 4)
    volume = read_nifti(path)
    assert volume.spacing_mm == pytest.approx((5, 0.6, 0.5))
    assert "sform is not invertible: qform taken" in noted(volume)["affines_differ"]
    with pytest.raises(InputError, match="not invertible"):
        read_nifti(write(tmp_path / "b.nii", sform=RAS, srow_x=[np.nan] * 4))


def test_voxels_that_would_begin_inside_the_header_are_refused(tmp_path):
    with pytest.raises(InputError, match="vox_offset is 0, inside the header"):
        read_nifti(write(tmp_path / "a.nii", sform=RAS, vox_offset=0))


def test_a_header_that_nobody_filled_in_is_said(tmp_path):
    assert {"orientation_assumed", "spacing_assumed"} <= noted(read_nifti(write(tmp_path / "a.nii"))).keys()


@pytest.mark.parametrize(
    ("affine", "words"),
    [
        (scaled(1e-3, 1e-3, 1e-3), "0.0005 x 0.0006 x 0.005 apart"),
        (scaled(1, 1, 100), "apart"),
        (scaled(1e12, 1e12, 1e12), "apart"),
        (RAS + np.array([[0, 0, 0, 1e15], *np.zeros((3, 4))]), "more than 10 m from the origin"),
        (RAS + np.array([*np.zeros((2, 4)), [0, 0, 0, -1e30], np.zeros(4)]), "10 m from the origin|not invertible"),
        (np.full((4, 4), 3e38), "not invertible"),
    ],
)
def test_numbers_that_no_head_has_are_refused_before_voxels_are_read(tmp_path, affine, words):
    path = write(tmp_path / "a.nii", sform=affine)
    with pytest.raises(InputError, match=words):
        open_nifti(path)


@pytest.mark.parametrize(("plane", "spacing"), [("coronal", (1.8, 7.3, 1.7)), ("sagittal", (5.0, 0.5, 0.6))])
def test_slices_along_another_axis_are_refused(tmp_path, plane, spacing):
    with pytest.raises(InputError, match=f"its slices are {plane}, {max(spacing):.1f} mm apart"):
        read_nifti(write(tmp_path / "a.nii", sform=np.diag([*spacing, 1.0])))


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.8, 1.8, 0.6), (0.5, 0.7, 0.5)])
def test_thin_slices_and_even_grids_are_no_other_plane(tmp_path, spacing):
    volume = read_nifti(write(tmp_path / "a.nii", sform=np.diag([*spacing, 1.0]), pixdim=spacing))
    assert volume.spacing_mm == pytest.approx(spacing[::-1])


def test_what_a_file_is_decides_its_content_and_not_its_name(tmp_path):
    data = write(tmp_path / "a.nii", sform=RAS, pixdim=(0.5, 0.6, 5)).read_bytes()
    for name, content in (("b.nii.gz", data), ("c.nii", gzip.compress(data)), ("D.NII.GZ", gzip.compress(data))):
        (tmp_path / name).write_bytes(content)
        np.testing.assert_array_equal(read_nifti(tmp_path / name).hu, HEAD)


def test_nifti_2_and_big_endian_are_read(tmp_path):
    nib.save(nib.Nifti2Image(HEAD.T, RAS), tmp_path / "two.nii.gz")
    np.testing.assert_array_equal(read_nifti(tmp_path / "two.nii.gz").hu, HEAD)
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(np.int16)
    nib.save(nib.Nifti1Image(HEAD.T, RAS, header), tmp_path / "big.nii")
    np.testing.assert_array_equal(read_nifti(tmp_path / "big.nii").hu, HEAD)


def test_a_bomb_in_gzip_is_refused_before_memory_is_taken(tmp_path):
    image = nib.Nifti1Image(HEAD.T, RAS)
    image.header.set_data_shape((512, 512, 1024))
    image.header["vox_offset"] = 352
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(image.header.binaryblock + bytes(1 << 20)) + bytes(1 << 20))
    with pytest.raises(InputError, match="would unpack to 512 MiB, which is over 200 times its own size"):
        open_nifti(path)
