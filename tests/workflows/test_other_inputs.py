"""One head, however its file says it lies and encodes it, gives the same features and scores, or is refused."""

import dataclasses
import itertools

import nibabel as nib
import numpy as np
import pydicom
import pytest

import ichformer as ich
from ichformer.cohorts.index import read_index
from ichformer.errors import InputError
from tests.ct.builders import dataset

TURNS = list(itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)))
LPS_TO_RAS = np.diag([-1.0, -1, 1, 1])


@pytest.fixture(scope="module")
def run(tiny_run):
    return ich.open_run(tiny_run)


@pytest.fixture(scope="module")
def volume(tiny_store):
    """Of 64 x 64 pixels, with level slices and no gaps."""
    index = read_index(tiny_store.parent / "cohort" / "studies.csv")
    volume = ich.read_volume(index.loc[index["site"] == "tiny-a", "path"].iloc[0])
    assert volume.audit.tilt_deg == 0
    return volume


def turned(volume: ich.Volume, order, signs) -> tuple[np.ndarray, np.ndarray]:
    """The voxels with other axes, and the affine (RAS) that says so."""
    grid, turn = volume.hu.transpose(order), np.eye(4)
    turn[:3, :3] = np.eye(3)[:, order]
    for axis, sign in enumerate(signs):
        if sign < 0:
            grid = np.flip(grid, axis)
            turn[order[axis], 3] = grid.shape[axis] - 1
            turn[order[axis], axis] = -1
    return grid, LPS_TO_RAS @ volume.affine @ turn


def write(path, grid, affine, *, units="mm", dtype=np.int16, slope=1.0, inter=0.0) -> ich.Volume:
    """A file that holds ``(grid - inter) / slope`` as ``dtype``, and says so."""
    image = nib.Nifti1Image(((grid - inter) / slope).astype(dtype), affine)
    image.header.set_xyzt_units(units)
    image.header.set_slope_inter(slope, inter)
    nib.save(image, path)
    return ich.read_volume(path)


def outputs(run: ich.TrainedModel, volume: ich.Volume) -> np.ndarray:
    prediction = run.predict(volume)
    assert prediction.not_scored is None
    slices = [values for _, values in sorted(prediction.slice_scores.items())]
    return np.concatenate([run.features(volume), [v for _, v in sorted(prediction.scan_scores.items())], *slices])


@pytest.mark.slow
def test_however_its_axes_run(run, volume, tmp_path):
    expected = outputs(run, write(tmp_path / "level.nii", *turned(volume, (2, 1, 0), (1, 1, 1))))
    for order, signs in TURNS:
        found = write(tmp_path / "a.nii", *turned(volume, order, signs))
        np.testing.assert_array_equal(found.hu, volume.hu)
        np.testing.assert_array_equal(outputs(run, found), expected)


@pytest.mark.parametrize(
    "encoding",
    [
        {"dtype": np.uint16, "inter": -1024.0},
        {"dtype": np.int16, "slope": 0.5, "inter": 100.0},
        {"dtype": np.int32, "inter": -32768.0},
        {"dtype": np.float32},
    ],
    ids=["unsigned with an intercept", "half steps", "32 bits", "float"],
)
def test_however_its_values_are_stored(run, volume, tmp_path, encoding):
    grid, affine = turned(volume, (2, 1, 0), (1, 1, 1))
    found = write(tmp_path / "a.nii", grid, affine, **encoding)
    assert nib.load(tmp_path / "a.nii").get_data_dtype() == encoding["dtype"]
    np.testing.assert_array_equal(found.hu, volume.hu)
    np.testing.assert_array_equal(outputs(run, found), outputs(run, write(tmp_path / "b.nii", grid, affine)))


@pytest.mark.parametrize(("units", "per_mm"), [("meter", 1e-3), ("micron", 1e3)])
def test_whatever_its_lengths_are_given_in(run, volume, tmp_path, units, per_mm):
    grid, affine = turned(volume, (2, 1, 0), (1, 1, 1))
    found = write(tmp_path / "a.nii", grid, np.diag([per_mm] * 3 + [1]) @ affine, units=units)
    assert found.spacing_mm == pytest.approx(volume.spacing_mm, rel=1e-6)
    expected = outputs(run, write(tmp_path / "b.nii", grid, affine))
    np.testing.assert_allclose(outputs(run, found), expected, atol=1e-5)


def write_slices(folder, volume: ich.Volume, order, signs, **tags) -> ich.Volume:
    """A DICOM series whose files come in another order, with rows and columns exchanged or flipped."""
    folder.mkdir()
    (down, across), flips = order, signs
    hu, affine = volume.hu.transpose(0, 1 + down, 1 + across), volume.affine[:, [0, 1 + down, 1 + across, 3]].copy()
    for axis, sign in zip((1, 2), flips, strict=True):
        if sign < 0:
            hu = np.flip(hu, axis)
            affine[:, 3] += affine[:, axis] * (hu.shape[axis] - 1)
            affine[:, axis] *= -1
    rows, columns = affine[:3, 1], affine[:3, 2]
    row_mm, column_mm = np.linalg.norm(rows), np.linalg.norm(columns)
    for s, stored in enumerate(hu + 1024):
        slice_tags = {
            "position_mm": tuple(affine[:3, 3] + s * affine[:3, 0]),
            "orientation": (*(columns / column_mm), *(rows / row_mm)),
            "sop_uid": f"1.2.3.{s + 1}",
            "PixelSpacing": [row_mm, column_mm],
            "SliceThickness": volume.spacing_mm[0],
        }
        made = dataset(np.ascontiguousarray(stored), **slice_tags, **tags)
        pydicom.dcmwrite(folder / f"{(7 * s) % 97:02d}.dcm", made)
    return ich.read_volume(folder)


@pytest.mark.slow
def test_however_the_slices_of_a_series_lie(run, volume, tmp_path):
    expected = outputs(run, write_slices(tmp_path / "level", volume, (0, 1), (1, 1)))
    turns = [((0, 1), (-1, 1)), ((1, 0), (1, 1)), ((1, 0), (-1, -1))]
    for number, (order, signs) in enumerate(turns):
        found = write_slices(tmp_path / str(number), volume, order, signs)
        np.testing.assert_array_equal(found.hu, volume.hu)
        np.testing.assert_array_equal(outputs(run, found), expected)


def test_a_series_and_a_file_are_the_same_head(run, volume, tmp_path):
    from_file = write(tmp_path / "a.nii", *turned(volume, (0, 1, 2), (-1, 1, 1)))
    np.testing.assert_allclose(outputs(run, from_file), outputs(run, volume), atol=1e-5)


def as_picture(hu: np.ndarray) -> np.ndarray:
    return (np.clip(hu, 0, 80) * (255 / 80)).astype(np.int16)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda v: {"hu": as_picture(v.hu)}, "a picture of a window, not HU"),
        (lambda v: {"hu": (v.hu.astype(np.int32) + 1024).astype(np.int16)}, "the intercept is wrong"),
        (lambda v: {"hu": v.hu - 2000}, "no HU lie below -1024; set them to -1024 if they are padding"),
        (lambda v: {"affine": LPS_TO_RAS @ v.affine}, "rows to anterior and columns to right, where a Volume has"),
        (lambda v: {"affine": v.affine[:, [2, 1, 0, 3]]}, "slices run to left, rows to posterior and columns to super"),
        (lambda v: {"affine": v.affine * [-1, 1, 1, 1]}, "slices run to inferior"),
        (lambda v: {"affine": np.zeros((4, 4))}, "cannot be inverted"),
        (
            lambda v: {"spacing_mm": tuple(mm / 10 for mm in v.spacing_mm)},
            "spacing_mm is 1.4 x 0.3672 x 0.3672, and its",
        ),
        (lambda v: {"hu": v.hu[:0], "source": ()}, "has no voxels"),
    ],
)
def test_a_volume_of_something_else_is_refused(run, volume, change, said):
    wrong = dataclasses.replace(volume, **change(volume))
    for use in (run.predict, run.features):
        with pytest.raises(InputError, match=said):
            use(wrong)
