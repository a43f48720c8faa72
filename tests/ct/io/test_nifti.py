import gzip
import itertools

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ichformer.ct.io.nifti import open_nifti, read_nifti
from ichformer.errors import InputError

RAS = np.diag([0.5, 0.5, 5.0, 1.0])


def head(shape=(6, 5, 4)) -> np.ndarray:
    """Values that differ in every voxel, with air among them."""
    return (np.arange(np.prod(shape)).reshape(shape) * 7 - 600).astype(np.int16)


def write(path, grid, affine=RAS, **header) -> None:
    image = nib.Nifti1Image(grid, affine)
    image.header.set_xyzt_units("mm")
    for name, value in header.items():
        image.header[name] = value
    nib.save(image, path)


def noted(volume) -> dict[str, str]:
    return {note.code: note.text for note in volume.audit.notes}


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", list(itertools.product((1, -1), repeat=3)))
def test_every_layout_is_turned_as_nibabel_turns_it(tmp_path, order, signs):
    affine = np.eye(4)
    affine[:3, :3] = (np.diag(signs) * [0.5, 0.6, 5.0])[:, order]
    affine[:3, 3] = (-10, 20, 30)
    write(tmp_path / "a.nii", head(), affine)
    canonical = nib.as_closest_canonical(nib.load(tmp_path / "a.nii"))  # left to right, posterior to anterior, up
    volume = read_nifti(tmp_path / "a.nii")
    np.testing.assert_array_equal(volume.hu, np.asarray(canonical.dataobj)[::-1, ::-1].T)
    assert volume.spacing_mm == pytest.approx((5.0, 0.6, 0.5))
    # Any voxel stays at its place: LPS is RAS with x and y negated.
    index = np.array([1, 2, 3, 1])
    ras = canonical.affine @ [volume.hu.shape[2] - 1 - 3, volume.hu.shape[1] - 1 - 2, 1, 1]
    np.testing.assert_allclose((volume.affine @ index)[:3], ras[:3] * [-1, -1, 1], atol=1e-6)


def test_slices_are_named_by_their_number_in_the_file(tmp_path):
    write(tmp_path / "049.nii", head())
    assert read_nifti(tmp_path / "049.nii").source == ("049.nii#1", "049.nii#2", "049.nii#3", "049.nii#4")
    write(tmp_path / "down.nii.gz", head(), np.diag([0.5, 0.5, -5.0, 1.0]))
    volume = read_nifti(tmp_path / "down.nii.gz")
    assert volume.source[0] == "down.nii.gz#4"
    np.testing.assert_array_equal(volume.hu[0], head()[::-1, ::-1, 3].T)


def test_plain_and_compressed_are_the_same(tmp_path):
    write(tmp_path / "a.nii", head())
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress((tmp_path / "a.nii").read_bytes()))
    plain, packed = read_nifti(tmp_path / "a.nii"), read_nifti(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(plain.hu, packed.hu)


@settings(max_examples=25, deadline=None)
@given(slope=st.sampled_from([1.0, 2.0, 0.5]), inter=st.sampled_from([0.0, -1024.0, 3.0]))
def test_scaling_is_applied(tmp_path_factory, slope, inter):
    path = tmp_path_factory.mktemp("scaled") / "a.nii"
    image = nib.Nifti1Image(head(), RAS)
    image.header.set_slope_inter(slope, inter)
    image.to_filename(path)
    # nibabel divides what it writes by the slope, so the stored values are what is compared with.
    expected = np.asarray(nib.load(path).dataobj)[::-1, ::-1].T
    np.testing.assert_array_equal(read_nifti(path).hu, np.maximum(np.rint(expected), -1024).astype(np.int16))


def test_what_is_no_number_or_no_hu_is_repaired_and_said(tmp_path):
    grid = head().astype(np.float32)
    grid[0, 0, :3] = (np.nan, -3024, 50000)
    grid[1, 1, 1] = 40.4
    write(tmp_path / "a.nii", grid)
    volume = read_nifti(tmp_path / "a.nii")
    assert [volume.hu[s, -1, -1] for s in range(3)] == [-1024, -1024, 32767]
    assert volume.hu[1, -2, -2] == 40
    assert noted(volume).keys() == {"reoriented", "hu_rounded", "padding_repaired", "hu_clipped"}
    assert "2 voxels" in noted(volume)["padding_repaired"]


def test_what_the_header_leaves_open_is_said(tmp_path):
    image = nib.Nifti1Image(head(), RAS)
    image.set_sform(None, 0)
    image.set_qform(None, 0)
    nib.save(image, tmp_path / "unset.nii")
    assert "orientation_assumed" in noted(read_nifti(tmp_path / "unset.nii"))
    image.set_sform(RAS, 1)
    image.set_qform(np.diag([0.5, 0.5, 6.0, 1.0]), 1)
    nib.save(image, tmp_path / "differ.nii")
    volume = read_nifti(tmp_path / "differ.nii")
    assert "4.0 mm at the corners" in noted(volume)["affines_differ"]
    assert volume.spacing_mm[0] == pytest.approx(5)
    image = nib.Nifti1Image(head(), np.diag([5e-4, 5e-4, 5e-3, 1.0]))
    image.header.set_xyzt_units("meter")
    nib.save(image, tmp_path / "metres.nii")
    volume = read_nifti(tmp_path / "metres.nii")
    assert volume.spacing_mm == pytest.approx((5, 0.5, 0.5))
    assert "units_converted" in noted(volume)


def test_tilt_is_seen_in_a_sheared_affine(tmp_path):
    affine = RAS.copy()
    affine[1, 2] = 5.0 * np.tan(np.deg2rad(15))
    write(tmp_path / "a.nii", head(), affine)
    volume = read_nifti(tmp_path / "a.nii")
    # The slices are level, the stack leans: the step along the normal stays 5 mm.
    assert abs(volume.audit.tilt_deg) == pytest.approx(15, abs=0.01)
    assert volume.spacing_mm[0] == pytest.approx(5)
    assert "tilt" in noted(volume)


def test_values_without_air_are_doubted(tmp_path):
    write(tmp_path / "a.nii", np.maximum(head(), 0))
    assert "no air" in noted(read_nifti(tmp_path / "a.nii"))["range_suspicious"]


def test_time_axes_of_one_are_dropped_and_others_refused(tmp_path):
    write(tmp_path / "one.nii", head()[..., None])
    assert read_nifti(tmp_path / "one.nii").hu.shape == (4, 5, 6)
    write(tmp_path / "two.nii", np.stack([head(), head()], -1))
    with pytest.raises(InputError, match=r"shape of \[6, 5, 4, 2\]"):
        read_nifti(tmp_path / "two.nii")


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ((head() > 0).astype(np.uint8), "2 different values, like a mask"),
        ((head() % 6).astype(np.uint8), "6 different values, like a mask"),
        (np.linspace(0, 1, 120, dtype=np.float32).reshape(6, 5, 4), "scaled, not HU"),
        (np.zeros((6, 5, 4), np.int16), "the value 0 only"),
        (head().astype(np.complex64), "not numbers"),
        (head((6, 5, 1)), "no scan"),
    ],
)
def test_what_is_no_scan_is_refused(tmp_path, grid, message):
    write(tmp_path / "a.nii", grid)
    with pytest.raises(InputError, match=message):
        read_nifti(tmp_path / "a.nii")


def test_broken_files_are_refused(tmp_path):
    path = tmp_path / "a.nii"
    with pytest.raises(InputError, match="does not exist"):
        read_nifti(path)
    path.write_bytes(b"no NIfTI at all" * 40)
    with pytest.raises(InputError, match="cannot be read as NIfTI"):
        read_nifti(path)
    write(path, head())
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(InputError, match="cut short"):
        read_nifti(path)
    packed = tmp_path / "b.nii.gz"
    packed.write_bytes(gzip.compress(whole)[:-30])
    with pytest.raises(InputError, match="cannot be read"):
        read_nifti(packed)
    write(path, head(), np.array([[1.0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 5, 0], [0, 0, 0, 1]]))
    with pytest.raises(InputError, match="not invertible"):
        read_nifti(path)


def test_sizes_are_checked_before_memory_is_taken(tmp_path):
    path = tmp_path / "a.nii.gz"
    image = nib.Nifti1Image(head(), RAS)
    image.header.set_data_shape((30000, 30000, 1000))
    path.write_bytes(gzip.compress(image.header.binaryblock + b"\0" * 400))
    with pytest.raises(InputError, match="claims"):
        open_nifti(path)


def test_template(real_data):
    """The average head comes in Cormack units, which hold no air: read, and doubted."""
    volume = read_nifti(real_data / "ct_template" / "scct.nii")
    assert volume.hu.shape == (91, 109, 91)
    assert volume.spacing_mm == pytest.approx((2, 2, 2))
    assert "range_suspicious" in noted(volume)
    with pytest.raises(InputError, match="scaled, not HU"):
        read_nifti(real_data / "ct_template" / "scgrey.nii")
