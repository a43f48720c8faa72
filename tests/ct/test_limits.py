"""Numbers at the edge of floats: read rightly with a note, or refused in one line before memory is taken."""

import resource
import warnings
from dataclasses import replace

import nibabel as nib
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ichformer.ct.anatomy.brain import brain_mask
from ichformer.ct.contact_sheet import contact_sheet
from ichformer.ct.geometry.regrid import frame_head, remove_tilt
from ichformer.ct.geometry.spacing import even_slices
from ichformer.ct.inspect import inspect_found
from ichformer.ct.io.dicom.series import find_series
from ichformer.ct.io.scans import find_scans, read_volume
from ichformer.ct.limits import MAX_SIDE, check_extent, check_grid
from ichformer.ct.selection import choices
from ichformer.errors import InputError
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.preparation.recipe import prepare_volume
from tests.ct.builders import dataset, head_hu, ramp, tilted, write_series
from tests.ct.dicom.test_enhanced import PLANE, at, write_enhanced

EDGE = ["1e15", "-1e15", "1e300", "-1e308", "1e999", "nan", "inf", "9" * 5000, "1_0", "\u0663"]


def write_raw(folder, keyword, text, which=range(4), **options):
    """A series in which some slices say ``text`` in a decimal tag, whatever it is."""
    files = write_series(folder, ramp(), **options)
    for i in which:
        slice_ = pydicom.dcmread(files[i])
        raw = pydicom.dataelem.RawDataElement(pydicom.tag.Tag(keyword), "DS", len(text), text.encode(), 0, False, True)
        slice_._dict[raw.tag] = raw
        pydicom.dcmwrite(files[i], slice_)
    return folder


@pytest.mark.parametrize("text", EDGE)
def test_positions_that_no_scanner_writes(tmp_path, text):
    write_raw(tmp_path, "ImagePositionPatient", f"0\\0\\{text}", which=[2])
    with pytest.raises(
        InputError, match=r"002\.dcm: 1 of 4 slices lack a valid ImagePositionPatient .*3 numbers from -10000 to"
    ):
        read_volume(tmp_path)


@pytest.mark.parametrize("keyword", ["PixelSpacing", "ImageOrientationPatient"])
@pytest.mark.parametrize("text", [*EDGE, "-1"])
def test_spacing_and_orientation_that_no_scanner_writes(tmp_path, keyword, text):
    count = 2 if keyword == "PixelSpacing" else 6
    write_raw(tmp_path, keyword, "\\".join([text] * count))
    with pytest.raises(InputError, match=f"lack a valid {keyword} .* numbers from|is no pair of perpendicular"):
        read_volume(tmp_path)


@pytest.mark.parametrize("text", ["0.001", "0", "1e-300", "50.1"])
def test_pixels_that_no_scanner_has(tmp_path, text):
    with pytest.raises(InputError, match=r"lack a valid PixelSpacing .* where 2 numbers from 0.02 to 50 should stand"):
        read_volume(write_raw(tmp_path, "PixelSpacing", f"{text}\\{text}"))


@pytest.mark.parametrize("text", [*EDGE, "1e308", "1e-300", "0", "-5", "abc"])
def test_a_thickness_that_none_can_be_is_not_used(tmp_path, text):
    volume = read_volume(write_raw(tmp_path, "SliceThickness", text))
    np.testing.assert_array_equal(volume.hu, ramp() - 1024)
    assert np.isnan(volume.audit.thickness_mm)
    (note,) = volume.audit.notes
    assert note.code == "thickness_unknown"
    assert "a number from 0.02 to 50 should stand in 4 of 4 slices" in note.text


def test_one_wild_thickness_leaves_the_others(tmp_path):
    volume = read_volume(write_raw(tmp_path, "SliceThickness", "1e308", which=[1]))
    assert (volume.audit.thickness_mm, volume.audit.missing_slices) == (5, 0)


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
@pytest.mark.parametrize("text", EDGE)
def test_rescaling_at_the_edge_of_floats(tmp_path, keyword, text):
    with pytest.raises(
        InputError, match=rf"{keyword} \(0028,105.\) is .*, where a number from .* so the values are not"
    ):
        read_volume(write_raw(tmp_path, keyword, text))


@pytest.mark.parametrize("text", ["1e-300", "-1e-308", "1e-8", "0.0"])
def test_a_slope_that_makes_all_values_one(tmp_path, text):
    with pytest.raises(InputError, match=r"RescaleSlope \(0028,1053\) is -?[01].*, so the values are not HU"):
        read_volume(write_raw(tmp_path, "RescaleSlope", text))


@pytest.mark.parametrize("intercept", ["4e9", "-4e9", "1e6"])
def test_an_intercept_that_moves_everything_away_is_no_hu_and_no_warning(tmp_path, intercept):
    write_series(tmp_path, head_hu() + 1024, RescaleIntercept=intercept)
    if float(intercept) > 0:
        with pytest.raises(InputError, match="denser than any bone"):
            read_volume(tmp_path)
    else:
        assert "range_suspicious" in {note.code for note in read_volume(tmp_path).audit.notes}


def test_a_slice_that_stands_apart(tmp_path):
    with pytest.raises(
        InputError, match=r"003\.dcm: it reaches over 5.01 m, where 3 m are the most; leave this file out"
    ):
        read_volume(write_series(tmp_path / "far", ramp(), [0, 5, 10, 5010]) and tmp_path / "far")
    with pytest.raises(InputError, match=r"000\.dcm: it reaches over 5.01 m"):
        read_volume(write_series(tmp_path / "low", ramp(), [-5000, 0, 5, 10]) and tmp_path / "low")
    with pytest.raises(InputError, match="its slices stand 400 mm apart"):
        read_volume(write_series(tmp_path / "wide", ramp(), [0, 400, 800, 1200]) and tmp_path / "wide")


def test_missing_slices_that_would_fill_gigabytes(tmp_path):
    stored = np.zeros((4, 700, 700), np.int16)
    files = write_series(tmp_path, stored, [0, 0.5, 1, 2900], SliceThickness=0.5, PixelSpacing=[0.3, 0.3])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(
        InputError, match=r"filling 579\d missing slices \(the longest step is 2899 mm\) would need a grid"
    ):
        read_volume(tmp_path, missing="interpolate")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 256 << 10  # KiB
    assert read_volume(tmp_path).audit.missing_slices > 5000
    files[3].unlink()
    assert read_volume(tmp_path, missing="interpolate").hu.shape == (3, 700, 700)


def test_a_picture_wider_than_a_table_is_long(tmp_path):
    write_series(tmp_path, ramp(rows=12, columns=100), PixelSpacing=[40, 40])
    with pytest.raises(InputError, match=r"it reaches over 4 m, where 3 m are the most"):
        read_volume(tmp_path)


@pytest.mark.parametrize("text", EDGE)
def test_frames_of_an_enhanced_object(tmp_path, text):
    own = [at(5.0 * i) for i in range(4)]
    made = write_enhanced(tmp_path / "e.dcm", ramp(), own, PLANE)
    item = made.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0]
    value = f"0\\0\\{text}".encode()
    tag = pydicom.tag.Tag("ImagePositionPatient")
    item._dict[tag] = pydicom.dataelem.RawDataElement(tag, "DS", len(value), value, 0, False, True)
    pydicom.dcmwrite(tmp_path / "e.dcm", made)
    with pytest.raises(InputError, match="1 of 4 slices lack a valid ImagePositionPatient"):
        read_volume(tmp_path)


@pytest.mark.parametrize("zoom", [1e-30, 1e-3, 60, 1e30])
def test_nifti_has_the_same_limits(tmp_path, zoom):
    image = nib.Nifti1Image(head_hu(), np.diag([zoom, zoom, zoom, 1]))
    nib.save(image, tmp_path / "a.nii")
    with pytest.raises(InputError, match=r"where 0.02 to 50 mm are possible|not invertible"):
        read_volume(tmp_path / "a.nii")


def test_a_nifti_file_that_is_longer_than_a_table(tmp_path):
    affine = np.diag([40.0, 40, 40, 1])
    affine[:3, 3] = -2000
    nib.save(nib.Nifti1Image(np.zeros((100, 20, 20), np.int16), affine), tmp_path / "a.nii")
    with pytest.raises(InputError, match="it reaches over 4 m"):
        read_volume(tmp_path / "a.nii")


def scan(tmp_path, **options):
    write_series(tmp_path / "scan", head_hu() + 1024, **options)
    return read_volume(tmp_path / "scan")


def test_a_shear_that_needs_gigabytes(tmp_path):
    heights = [float(z) for z in range(0, 240, 40)]
    write_series(tmp_path, head_hu() + 1024, heights, PixelSpacing=[0.02, 0.02], orientation=tilted(40))
    volume = read_volume(tmp_path)
    assert abs(volume.audit.tilt_deg) == 40
    with pytest.raises(
        InputError, match=r"undoing a lean of -?40.0 degrees over \d+ mm in pixels of 0.02 x 0.02 mm would need"
    ):
        remove_tilt(volume)


def test_what_a_user_asks_for_is_checked_too(tmp_path):
    volume = scan(tmp_path)
    with pytest.raises(InputError, match="6 slices of 100000 x 100000 pixels would need a grid"):
        frame_head(volume, size=100_000)
    with pytest.raises(InputError, match=r"field of view in mm: found 1e\+300"):
        frame_head(volume, size=64, field_of_view_mm=1e300)
    for spacing_mm in (1e-6, 1e-300):
        with pytest.raises(InputError, match=f"slices every {spacing_mm:g} mm over 25 mm would need a grid"):
            even_slices(volume, spacing_mm)
    for spacing_mm in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(InputError, match="slice spacing in mm: found"):
            even_slices(volume, spacing_mm)
    for wrong in (
        {"size": 10**9},
        {"field_of_view_mm": 1e300},
        {"slice_spacing_mm": 1e-300},
        {"field_of_view_mm": np.nan},
    ):
        with pytest.raises(InputError, match=r"give|take a finite number"):
            PrepareConfig(**wrong)
    with pytest.raises(InputError, match="a contact sheet of 6 slices with tiles of 100000 x"):
        contact_sheet(volume, tile_px=100_000)


def test_a_contact_sheet_of_pixels_that_are_lines(tmp_path):
    volume = scan(tmp_path, PixelSpacing=[40.0, 0.02])
    with pytest.raises(InputError, match="tiles of 192 x 384000 pixels"):
        contact_sheet(volume)


def test_the_finest_and_the_coarsest_voxels_are_prepared(tmp_path):
    """0.02 mm along each axis, and 40 mm: at both ends of what is read nothing takes long or much."""
    hu = head_hu(slices=4, side=64)
    for name, mm, step_mm in (("fine", 0.02, 0.03), ("coarse", 40.0, 40.0)):
        heights = [step_mm * i for i in range(4)]
        write_series(tmp_path / name, hu + 1024, heights, PixelSpacing=[mm, mm], SliceThickness=step_mm)
        volume = read_volume(tmp_path / name)
        assert volume.spacing_mm == pytest.approx((step_mm, mm, mm))
        prepared = prepare_volume(volume, PrepareConfig(size=32))
        assert prepared.hu.shape == (4, 32, 32)
        assert brain_mask(volume).shape == hu.shape


def test_cells_of_a_million_voxels_do_not_overflow():
    from ichformer.ct.anatomy.brain import _cells

    mean, top = _cells(np.full((150, 150, 150), 32767, np.int16), (140, 140, 140))
    np.testing.assert_array_equal(mean, np.float32(32767))
    np.testing.assert_array_equal(top, 32767)


def test_grids_and_extents():
    check_grid((64, MAX_SIDE, MAX_SIDE), what="", where="", fix="")
    for wrong in ((65, MAX_SIDE, MAX_SIDE), (1, 1, MAX_SIDE + 1), (1e300, 1, 1), (10**30, 2, 2)):
        with pytest.raises(InputError, match=r"this would need a grid of .* are the most; do that"):
            check_grid(wrong, what="this", where="here", fix="do that")
    check_extent(3000, where="", fix="")
    for wrong in (3001, np.inf, np.nan):
        with pytest.raises(InputError, match="it reaches over"):
            check_extent(wrong, where="here", fix="do that")


NUMBERS = st.sampled_from(
    ["0", "-0", "1", "-1", "0.02", "50", "1e-300", "1e308", "1e15", "9999", "-9999.5", "nan", "5,0", ""]
)
TAGS = {
    "ImagePositionPatient": 3,
    "ImageOrientationPatient": 6,
    "PixelSpacing": 2,
    "SliceThickness": 1,
    "RescaleSlope": 1,
}


@pytest.mark.slow
@settings(deadline=None)
@given(st.data())
def test_whatever_numbers_stand_there_it_is_read_or_refused_without_a_warning(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("scan")
    for i in range(4):
        slice_ = dataset(ramp()[i], (0, 0, 5.0 * i), sop_uid=f"1.{i}")
        for keyword, count in TAGS.items():
            if data.draw(st.booleans()):
                text = "\\".join(data.draw(NUMBERS) for _ in range(count)).encode()
                tag = pydicom.tag.Tag(keyword)
                slice_._dict[tag] = pydicom.dataelem.RawDataElement(tag, "DS", len(text), text, 0, False, True)
        pydicom.dcmwrite(folder / f"{i}.dcm", slice_)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = find_series(folder)
        choices(found)
        for series in found.series:
            try:
                volume = read_volume(series, missing="interpolate")
            except InputError:
                continue
            assert np.isfinite(volume.affine).all()
            assert max(np.array(volume.hu.shape) * volume.spacing_mm) < 3100


def test_inspect_goes_on_where_one_series_fails(tmp_path, monkeypatch):
    import ichformer.ct.inspect as module

    for name in "ab":
        write_series(tmp_path / name, ramp(), series_uid=f"1.{ord(name)}")
    read = module.read_volume

    def fails(series, **options):
        if series.path.name == "a":
            raise ZeroDivisionError("by\nnothing")
        return read(series, **options)

    monkeypatch.setattr(module, "read_volume", fails)
    first, second = inspect_found(find_scans(tmp_path))["series"]
    (warning,) = first["warnings"]
    assert warning.startswith("failed: ")
    assert "a fault of ichformer (ZeroDivisionError in ichformer/ct/inspect.py, line " in warning
    assert "by\\nnothing" in warning
    assert second["shape"] == [4, 12, 10]


def test_volumes_of_many_slices_do_not_make_endless_sheets(tmp_path):
    volume = scan(tmp_path)
    many = replace(
        volume,
        hu=np.broadcast_to(volume.hu[:1], (70_000, 64, 64)),
        source=("x",) * 70_000,
        audit=replace(volume.audit, steps_mm=()),
    )
    with pytest.raises(InputError, match="a contact sheet of 70000 slices"):
        contact_sheet(many)


def test_two_files_of_one_slice_that_are_gigabytes(tmp_path):
    """Copies are told by their pixels, which are not read where no slice can be so large."""
    files = write_series(tmp_path, ramp())
    for name in ("copy.dcm", "other.dcm"):
        (tmp_path / name).write_bytes(files[1].read_bytes())
        with (tmp_path / name).open("r+b") as file:
            file.truncate(3 << 30)  # a sparse file
    files[1].unlink()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match="has 3072 MiB, more than the 128 MiB of the largest slice"):
        read_volume(tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 256 << 10  # KiB
